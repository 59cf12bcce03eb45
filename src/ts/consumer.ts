/**
 * The shape that pages of Rails know from @rails/actioncable: `createConsumer(url).subscriptions.create(params, callbacks)`.
 * What happens underneath is moorline's; only names and callbacks are kept.
 */
import { type CableSubscription, Moorline } from "./cable.js";
import type { MoorlineError } from "./error.js";

/** What may be mixed into a subscription; `this` is the subscription, and whatever else is given is its own as well. */
export interface Callbacks {
  /** Within `create`, before it returns. */
  initialized?(): void;
  /** The server has confirmed it; `reconnected` after the first time. */
  connected?(detail: { reconnected: boolean }): void;
  /** The line is down. */
  disconnected?(detail: { willAttemptReconnect: boolean }): void;
  /** The server will not have it; `error` also says where it never answered. It is off the list. */
  rejected?(error: MoorlineError): void;
  received?(message: any): void;
  [more: string]: any;
}

/** Where the log goes. The page's WebSocket is always the one that is used. */
export const adapters: { logger: { log(...messages: unknown[]): void } } = { logger: console };

/** With `enabled`, every callback is written down: for debugging. */
export const logger = {
  enabled: false,
  log(...messages: unknown[]): void {
    if (logger.enabled) adapters.logger.log("[ActionCable]", ...messages, Date.now());
  },
};

/** The content of `<meta name="action-cable-NAME">`. */
export function getConfig(name: string): string | undefined {
  return globalThis.document?.head.querySelector(`meta[name="action-cable-${name}"]`)?.getAttribute("content") ?? undefined;
}

/** The URL that a WebSocket takes: relative ones are the page's, and HTTP is a WebSocket's. */
export function createWebSocketURL(url: any): any {
  const given = typeof url === "function" ? url() : url;
  if (!given || /^wss?:/i.test(given)) return given;
  return new URL(given, globalThis.location?.href).href.replace(/^http/, "ws");
}

/** Nothing is dialled before the first subscription. */
export function createConsumer(url: string | URL | (() => string | URL) = getConfig("url") || INTERNAL.default_mount_path): Consumer {
  return new Consumer(url);
}

export const INTERNAL = {
  message_types: {
    welcome: "welcome",
    disconnect: "disconnect",
    ping: "ping",
    confirmation: "confirm_subscription",
    rejection: "reject_subscription",
  },
  disconnect_reasons: { unauthorized: "unauthorized", invalid_request: "invalid_request", server_restart: "server_restart", remote: "remote" },
  default_mount_path: "/cable",
  protocols: ["actioncable-v1-json", "actioncable-unsupported"],
};

export class Consumer {
  readonly #url: unknown;
  subprotocols: string[] = [];
  readonly subscriptions = new Subscriptions(this);
  readonly connection: Connection;
  /** The line itself, for all that Rails' client does not have. */
  readonly line: Moorline;

  constructor(url: unknown) {
    this.#url = url;
    // Called before every attempt: a function brings a fresh address each time.
    this.line = new Moorline(() => ({ url: this.url, protocols: this.subprotocols }), { target: null });
    this.connection = new Connection(this);
  }

  get url(): string {
    return createWebSocketURL(this.#url);
  }

  /** Whether the message went out: only while the connection is open. */
  send(data: object): boolean {
    return this.connection.send(data);
  }

  /** Whether an attempt was begun. Brings back every subscription after `disconnect`. */
  connect(): boolean {
    return this.connection.open();
  }

  /** Final until `connect` or the next subscription. */
  disconnect(): void {
    this.line.disconnect();
  }

  ensureActiveConnection(): void {
    this.connection.open();
  }

  addSubProtocol(name: string): void {
    this.subprotocols = [...this.subprotocols, name];
  }
}

export class Connection {
  readonly consumer: Consumer;

  constructor(consumer: Consumer) {
    this.consumer = consumer;
  }

  get subscriptions(): Subscriptions {
    return this.consumer.subscriptions;
  }

  isOpen(): boolean {
    return this.consumer.line.state === "connected";
  }

  /** Open, or on its way to be; not between two attempts. */
  isActive(): boolean {
    const { state, nextAttemptInMs } = this.consumer.line.stats();
    return state === "connecting" || state === "connected" || (state === "reconnecting" && nextAttemptInMs === undefined);
  }

  getState(): string | null {
    return this.consumer.line.state === "idle" ? null : this.isOpen() ? "open" : this.isActive() ? "connecting" : "closed";
  }

  isState(...states: string[]): boolean {
    return states.includes(this.getState()!);
  }

  open(): boolean {
    if (this.isActive()) return false;
    this.consumer.line.connect();
    return true;
  }

  close({ allowReconnect = true } = {}): void {
    this.consumer.line.disconnect();
    if (allowReconnect) this.consumer.line.connect();
  }

  reopen(): void {
    this.close();
  }

  send(data: object): boolean {
    if (!this.isOpen()) return false;
    this.consumer.line.send(data);
    return true;
  }
}

export class Subscriptions {
  readonly consumer: Consumer;
  subscriptions: Subscription[] = [];

  constructor(consumer: Consumer) {
    this.consumer = consumer;
  }

  create<More extends Callbacks>(channel: string | { channel: string; [param: string]: any }, mixin?: More & ThisType<Subscription & More>): Subscription & More {
    const params = typeof channel === "object" ? channel : { channel };
    return this.add(new Subscription(this.consumer, params, mixin)) as Subscription & More;
  }

  add(subscription: Subscription): Subscription {
    this.subscriptions = [...this.subscriptions, subscription];
    subscription.begin();
    this.consumer.ensureActiveConnection();
    this.notify(subscription, "initialized");
    return subscription;
  }

  remove(subscription: Subscription): Subscription {
    this.forget(subscription);
    subscription.end();
    return subscription;
  }

  forget(subscription: Subscription): Subscription {
    this.subscriptions = this.subscriptions.filter((other) => other !== subscription);
    return subscription;
  }

  findAll(identifier: string): Subscription[] {
    return this.subscriptions.filter((subscription) => subscription.identifier === identifier);
  }

  /** Calls a callback of one subscription, or of all with that identifier. */
  notify(which: Subscription | string, callback: string, ...given: unknown[]): unknown[] {
    const found = typeof which === "string" ? this.findAll(which) : [which];
    return found.map((subscription) => {
      const called = (subscription as any)[callback];
      return typeof called === "function" ? called.apply(subscription, given) : undefined;
    });
  }

  notifyAll(callback: string, ...given: unknown[]): unknown[] {
    return this.subscriptions.flatMap((subscription) => this.notify(subscription, callback, ...given));
  }
}

export class Subscription {
  readonly consumer: Consumer;
  readonly identifier: string;
  #line: CableSubscription | undefined;

  constructor(consumer: Consumer, params: object = {}, mixin?: object) {
    this.consumer = consumer;
    this.identifier = JSON.stringify(params);
    // What the mixin inherits comes along.
    for (const name in mixin) (this as any)[name] = (mixin as any)[name];
  }

  /** Calls the channel's method of that name, when the subscription is confirmed. Whether it was taken in. */
  perform(action: string, data: any = {}): boolean {
    data.action = action;
    return this.send(data);
  }

  /** As `perform`, for the channel's `receive`. */
  send(data: any): boolean {
    // Afterwards nobody hears of it but the server, which will not know the subscription.
    if (!this.#line || this.#line.state === "ended") return false;
    // Who wants to know what becomes of each uses the line; here it is only said.
    this.#line.send(data).catch((error) => console.warn(error));
    return true;
  }

  unsubscribe(): this {
    this.consumer.subscriptions.remove(this);
    return this;
  }

  /** @internal */
  begin(): void {
    const { subscriptions, line } = this.consumer;
    const heard = (this.#line = line.subscribe(this.identifier));
    const notify = (callback: string, detail: unknown) => {
      // One that was taken off the list hears nothing.
      if (this.#line !== heard) return;
      logger.log(callback, this.identifier, detail);
      subscriptions.notify(this, callback, detail);
    };
    heard.on("message", (message) => notify("received", message));
    heard.on("confirmed", (detail) => notify("connected", detail));
    heard.on("away", ({ willReturn }) => notify("disconnected", { willAttemptReconnect: willReturn }));
    heard.on("rejected", (error) => {
      if (error.code !== "subscription.rejected") console.warn(error);
      subscriptions.forget(this);
      notify("rejected", error);
    });
  }

  /** @internal */
  end(): void {
    this.#line?.unsubscribe();
    this.#line = undefined;
  }
}
