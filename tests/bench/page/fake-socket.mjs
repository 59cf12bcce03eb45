/**
 * A WebSocket without a network, for measuring what a client itself costs: it opens when it is told to, takes everything
 * that is sent, and calls its handlers straight away with the events it is given. Nothing is measured here.
 */

export class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;

  /** The one made last: where frames are delivered. */
  static latest = undefined;
  static onMade = undefined;

  CONNECTING = 0;
  OPEN = 1;
  CLOSING = 2;
  CLOSED = 3;
  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  protocol = "";
  extensions = "";
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  sent = 0;
  last = "";
  /** Whether what is sent counts as held until somebody sets `bufferedAmount` back: a browser writes out between tasks. */
  holds = false;
  listeners = { open: [], message: [], error: [], close: [] };

  constructor(url) {
    this.url = String(url);
    FakeSocket.latest = this;
    FakeSocket.onMade?.(this);
  }

  addEventListener(type, listener) {
    this.listeners[type].push(listener);
  }

  removeEventListener(type, listener) {
    this.listeners[type] = this.listeners[type].filter((other) => other !== listener);
  }

  send(text) {
    this.sent++;
    this.last = text;
    if (this.holds) this.bufferedAmount += text.length;
  }

  close(code = 1000, reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.tell("close", new CloseEvent("close", { code, reason, wasClean: true }));
  }

  open() {
    this.readyState = 1;
    this.tell("open", new Event("open"));
  }

  /** The hot path: one prepared event. */
  deliver(event) {
    if (this.onmessage !== null) this.onmessage(event);
    const { message } = this.listeners;
    for (let i = 0; i < message.length; i++) message[i](event);
  }

  tell(type, event) {
    this[`on${type}`]?.(event);
    for (const listener of this.listeners[type]) listener(event);
  }
}
