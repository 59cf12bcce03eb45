# frozen_string_literal: true

# A real Rails Action Cable server for the tests: its channels, and over HTTP what a test may do to it. It needs no Gemfile, no
# database and no file beside this one. Nothing here imitates Action Cable: what it does wrong, the tests are to see.
#
#   ruby -e 'require "puma/cli"; Puma::CLI.new(ARGV).run' -- -b tcp://127.0.0.1:0 tests/rails/config.ru
#
# Puma prints `Listening on http://127.0.0.1:<port>` when it is ready. /cable is the WebSocket; its query is the application's:
# `user=NAME` names the connection, `refuse=1` is refused as unauthorized, `fail=1` raises an error in the connect callback.
#
#   CABLE_ADAPTER=inline   broadcasts in the thread that makes them (default: async, Rails' own)
#   CABLE_WORKERS=1        worker threads for commands (default: 4, Rails' own); with `inline` the order is strict
#   CABLE_LOG=1            Rails' log on the standard error output
#
# Control, JSON in and out, only with the header `X-Moorline-Control: 1`, which no foreign page may send:
#
#   GET  /control/state       versions, how many connections were asked for, and which are open with which subscriptions
#   POST /control/reset       pings on, any origin, no sessions
#   POST /control/restart     ActionCable.server.restart
#   POST /control/mute        {"on": true}   no more pings; data goes on
#   POST /control/origin      {"strict": true, "allowed": ["http://127.0.0.1:1234"]}
#   POST /control/disconnect  {"user": "ann"}   the remote disconnect
#   POST /control/close       {"reason": "full", "reconnect": false}   every connection, by the application
#   POST /control/broadcast   {"stream": "news", "messages": [1, 2]}   to those who subscribed to FeedChannel with that name

ENV["RAILS_ENV"] ||= "production"

require "action_controller/railtie"
require "action_cable/engine"
require "json"
require "securerandom"

class TestServer < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.secret_key_base = SecureRandom.hex(32)
  config.logger = Logger.new(ENV["CABLE_LOG"] ? $stderr : File::NULL)
  config.hosts.clear
  config.action_cable.cable = { "adapter" => ENV.fetch("CABLE_ADAPTER", "async") }
  config.action_cable.worker_pool_size = Integer(ENV.fetch("CABLE_WORKERS", "4"), 10)
  config.action_cable.disable_request_forgery_protection = true
end

# What /control changes, and what it counts.
module Controls
  class << self
    attr_accessor :muted
    attr_reader :asked
  end
  self.muted = false
  @asked = Concurrent::AtomicFixnum.new
end

# The agent's sessions, in memory: each a list of what was said.
module Sessions
  LOCK = Mutex.new
  Session = Struct.new(:id, :created_at, :messages)

  class << self
    def reset
      LOCK.synchronize { @all = {} }
    end

    def create
      LOCK.synchronize { add((@all.keys.max || 0) + 1) }
    end

    # A client may name a session that an earlier process knew.
    def at(id)
      LOCK.synchronize { @all[id] || add(id) }
    end

    def find(id)
      LOCK.synchronize { @all[id] }
    end

    def newest(limit)
      LOCK.synchronize { @all.values.reverse.first(limit).map { |session| session.dup.tap { |copy| copy.messages = session.messages.dup } } }
    end

    def say(id, message)
      LOCK.synchronize { (@all[id] || add(id)).messages << message }
    end

    def said(id)
      LOCK.synchronize { (@all[id] || add(id)).messages.dup }
    end

    private
      def add(id)
        @all[id] = Session.new(id, Time.now.utc, [])
      end
  end
  reset
end

module ApplicationCable
  class Connection < ActionCable::Connection::Base
    identified_by :user

    def connect
      self.user = request.params["user"] || SecureRandom.hex(4)
      raise "the connect callback was told to fail" if request.params["fail"]
      reject_unauthorized_connection if request.params["refuse"]
    end

    def process
      Controls.asked.increment
      super
    end

    def beat
      super unless Controls.muted
    end

    # Rails 6.1 keeps connections in its list that a restart has closed.
    def open?
      websocket.alive?
    end
  end

  class Channel < ActionCable::Channel::Base
  end
end

# An agent that answers: what is said goes to everyone in the session, and so does the answer.
class SessionChannel < ApplicationCable::Channel
  def subscribed
    id = params["session_id"]
    return reject unless id.nil? || (id.is_a?(Integer) && id.positive?)
    @session = id ? Sessions.at(id).id : (Sessions.newest(1).first || Sessions.create).id
    stream_from stream
    tell_history
  end

  def speak(data)
    text = data["content"].to_s
    [["user_message", text], ["agent_message", "echo: #{text}"]].each do |type, content|
      message = { type: type, content: content }
      Sessions.say(@session, message)
      ActionCable.server.broadcast(stream, message)
    end
  end

  def create_session(_data = nil)
    move_to(Sessions.create.id)
  end

  def switch_session(data)
    session = Sessions.find(data["session_id"])
    return transmit({ type: "error", message: "Session not found" }) unless session
    move_to(session.id)
    tell_history
  end

  def list_sessions(data)
    limit = data["limit"].is_a?(Integer) ? data["limit"].clamp(1, 100) : 10
    sessions = Sessions.newest(limit).map do |session|
      { id: session.id, message_count: session.messages.size, created_at: session.created_at.iso8601(3) }
    end
    transmit({ type: "sessions_list", sessions: sessions })
  end

  private
    def stream
      "session:#{@session}"
    end

    def move_to(id)
      stop_all_streams
      @session = id
      stream_from stream
      transmit({ type: "session_changed", session_id: id })
    end

    def tell_history
      Sessions.said(@session).each { |message| transmit(message) }
    end
end

# Gives back what it is given: any JSON value to the one who asked.
class EchoChannel < ApplicationCable::Channel
  def echo(data)
    transmit(data["value"])
  end

  # One action's transmissions keep their order whatever the workers do.
  def all(data)
    data["values"].each { |value| transmit(value) }
  end

  def receive(data)
    transmit({ received: data })
  end

  def trouble(_data)
    raise "the action was told to fail"
  end
end

class RejectingChannel < ApplicationCable::Channel
  def subscribed
    reject
  end
end

# History comes before the confirmation: `count` messages, and then the subscription is live.
class HistoryChannel < ApplicationCable::Channel
  def subscribed
    count = params["count"] || 3
    (1..count).each { |number| transmit({ type: "history", number: number }) }
  end

  def echo(data)
    transmit(data["value"])
  end
end

# Never confirmed and never rejected.
class FailingChannel < ApplicationCable::Channel
  def subscribed
    raise "the subscribed callback was told to fail"
  end
end

# Hears /control/broadcast.
class FeedChannel < ApplicationCable::Channel
  def subscribed
    params["name"].present? ? stream_from("feed:#{params["name"]}") : reject
  end
end

class ControlController < ActionController::Metal
  def state
    answer(
      rails: Rails.version, ruby: RUBY_VERSION, puma: Puma::Const::PUMA_VERSION, pid: Process.pid,
      adapter: ActionCable.server.config.cable["adapter"], workers: ActionCable.server.config.worker_pool_size,
      muted: Controls.muted, asked: Controls.asked.value,
      connections: open.map { |connection| { user: connection.user, subscriptions: connection.subscriptions.identifiers } }
    )
  end

  def reset
    Controls.muted = false
    origins(false, [])
    Sessions.reset
    state
  end

  def restart
    ActionCable.server.restart
    state
  end

  def mute
    Controls.muted = given["on"] != false
    state
  end

  def origin
    origins(given["strict"] != false, given["allowed"] || [])
    state
  end

  def disconnect
    ActionCable.server.remote_connections.where(user: given["user"]).disconnect
    state
  end

  def close
    open.each { |connection| connection.close(reason: given["reason"], reconnect: given["reconnect"] != false) }
    state
  end

  def broadcast
    given["messages"].each { |message| ActionCable.server.broadcast("feed:#{given["stream"]}", message) }
    state
  end

  private
    def process_action(*)
      return super if request.get_header("HTTP_X_MOORLINE_CONTROL") == "1"
      self.status = 403
      answer(error: "the header X-Moorline-Control is missing")
    rescue JSON::ParserError, TypeError, NoMethodError, ArgumentError => error
      self.status = 400
      answer(error: error.message.lines.first)
    end

    def given
      @given ||= JSON.parse(request.body.read.presence || "{}")
    end

    def answer(body)
      self.content_type = "application/json"
      self.response_body = JSON.generate(body)
    end

    def open
      ActionCable.server.connections.select(&:open?)
    end

    def origins(strict, allowed)
      ActionCable.server.config.disable_request_forgery_protection = !strict
      ActionCable.server.config.allowed_request_origins = allowed
    end
end

TestServer.initialize!

TestServer.routes.draw do
  get "/control/state", to: ControlController.action(:state)
  %i[reset restart mute origin disconnect close broadcast].each do |name|
    post "/control/#{name}", to: ControlController.action(name)
  end
end

run TestServer
