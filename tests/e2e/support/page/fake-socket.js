// A WebSocket without a wire, for tests that open thousands: it opens when told, greets, and counts what is alive.
export class FakeSocket {
  static live = new Set();
  static made = 0;
  static registry = new FinalizationRegistry(() => FakeSocket.collected++);
  static collected = 0;
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;

  readyState = 0;
  bufferedAmount = 0;
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  sent = [];

  constructor(url) {
    this.url = url;
    FakeSocket.made++;
    FakeSocket.live.add(this);
    FakeSocket.registry.register(this);
  }

  open() {
    this.readyState = 1;
    this.onopen?.({ type: "open" });
  }

  say(frame) {
    this.onmessage?.({ type: "message", data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  send(text) {
    this.sent.push(text);
  }

  close(code = 1000, reason = "") {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    queueMicrotask(() => this.end(code, reason, true));
  }

  end(code = 1006, reason = "", wasClean = false) {
    this.readyState = 3;
    FakeSocket.live.delete(this);
    this.onerror?.({ type: "error" });
    this.onclose?.({ type: "close", code, reason, wasClean });
  }

  get handlers() {
    return [this.onopen, this.onmessage, this.onclose, this.onerror].filter(Boolean).length;
  }

  // The newest one that is alive.
  static get last() {
    return [...FakeSocket.live].at(-1);
  }
}
