// How the original ws-client.js behaves, re-stated from the facts of its protocol page: what a drop-in is compared with.
// Its defects are left in.
const STORAGE_KEY = "hermes-session";

export class ReferenceClient {
  constructor(url) {
    this.url = url;
    this.ws = null;
    this.connected = false;
    this.session = null;
    this.messageQueue = [];
    this.reconnectAttempts = 0;
    this.maxReconnectAttempts = 10;
    this.reconnectBaseDelay = 1000;
    this.maxReconnectDelay = 30_000;
  }

  connect() {
    if (this.ws && this.ws.readyState <= WebSocket.OPEN) return;
    this.ws = new WebSocket(this.url);
    this.ws.onopen = () => {
      this.connected = true;
      this.reconnectAttempts = 0;
      this.session = this.loadSession();
      if (this.session?.token) this.ws.send(JSON.stringify({ type: "session-resume", token: this.session.token }));
      for (const message of this.messageQueue) this.ws.send(JSON.stringify(message));
      this.messageQueue = [];
      dispatch("ws-connected", { url: this.url });
    };
    this.ws.onmessage = ({ data }) => {
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return console.warn("not JSON");
      }
      this.route(frame);
    };
    this.ws.onclose = ({ code }) => {
      this.connected = false;
      this.ws = null;
      dispatch("ws-disconnected", { code });
      this.scheduleReconnect();
    };
  }

  route(frame) {
    switch (frame.type) {
      case "session-init":
        if (frame.token) this.saveSession({ token: frame.token, clientId: frame.clientId });
        return dispatch("session-init", frame);
      case "chat":
      case "chat-message":
        return dispatch("chat-message", frame);
      case "status-update":
      case "pr-notification":
      case "player-joined":
      case "player-left":
        return dispatch(frame.type, frame);
      default:
        console.debug("unknown type", frame.type);
    }
  }

  scheduleReconnect() {
    if (this.reconnectAttempts >= this.maxReconnectAttempts) return dispatch("ws-failed", {});
    const delay = Math.min(this.reconnectBaseDelay * 2 ** this.reconnectAttempts, this.maxReconnectDelay);
    this.reconnectAttempts++;
    setTimeout(() => this.connect(), delay);
  }

  send(frame) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(frame));
    else this.messageQueue.push(frame);
  }

  disconnect() {
    this.maxReconnectAttempts = 0;
    this.ws?.close();
  }

  saveSession(data) {
    this.session = { ...data, savedAt: Date.now() };
    localStorage.setItem(STORAGE_KEY, JSON.stringify(this.session));
  }

  loadSession() {
    const text = localStorage.getItem(STORAGE_KEY);
    return text === null ? null : JSON.parse(text);
  }

  clearSession() {
    this.session = null;
    localStorage.removeItem(STORAGE_KEY);
  }
}

function dispatch(type, detail) {
  window.dispatchEvent(new CustomEvent(type, { detail }));
}
