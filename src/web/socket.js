// The JavaScript half of socket.rs: the hot path in both directions. It lives here because a string that crosses into
// wasm costs more than everything else a frame needs; only numbers do. No policy: Rust is asked about every frame.

import { typeOf } from "./events.js";
import { BINARY, CLOSED, DELTA, NOT_JSON, OPENED, RESULT, SEND, TOO_LARGE } from "./rust.js";

export class Socket {
  constructor(events, env, maxFrameBytes, dialect) {
    this.events = events;
    this.dialect = dialect;
    this.env = env;
    this.maxFrameBytes = maxFrameBytes;
    // Rust's functions, for this line.
    this.rust = undefined;
    // The frame types of the route table: row n is route n + 1.
    this.types = [];
    // Which of them are deltas, and whose those of a topic are.
    this.deltas = [];
    this.topics = new Map();
    // The row of the frame before.
    this.latest = 0;
    this.offered = [];
    // Messages from id `base` on, in order: the text until the browser has written it out, the receipt until its fate
    // is final.
    this.base = 0;
    this.texts = [];
    this.receipts = [];
    // See receipt.ts.
    this.sentBefore = 0;
    this.asked = 0;
    // The gateway acknowledges: messages carry their numbers, and a frame's counts.
    this.numbered = false;
    this.ackedBefore = 0;
    this.ws = undefined;
    this.id = 0;
    // The socket before, while the next one takes over.
    this.trailing = undefined;
  }

  // A row of the table. The protocol's come first; the page's own change them or follow.
  route(type, event, delta = false) {
    let row = this.types.indexOf(type);
    if (row < 0) row = this.types.push(type) - 1;
    this.events.names[row] = event || null;
    this.deltas[row] = delta;
  }

  offer(subprotocol) {
    this.offered.push(subprotocol);
  }

  number(on) {
    this.numbered = this.events.numbered = on;
  }

  bind(topic, handle) {
    if (handle) this.topics.set(topic, handle);
    else this.topics.delete(topic);
  }

  open(id, address, beside) {
    if (this.ws && !beside) this.abandon("");
    const { rust } = this;
    let ws;
    try {
      ws = new WebSocket(address ? within(this.env.url, address) : this.env.url, [...this.offered, ...this.env.protocols]);
    } catch {
      return false;
    }
    if (beside) this.trailing = { ws: this.ws, id: this.id };
    this.ws = ws;
    this.id = id;
    ws.onopen = () => rust.say([ws.protocol], OPENED, id);
    ws.onmessage = (event) => {
      this.receive(event.data, id, rust);
      this.env.notice(event);
    };
    // `error` says nothing that `close` does not say better, and always comes before it.
    ws.onclose = (event) => {
      const held = ws.bufferedAmount;
      this.forget(ws);
      rust.say([event.reason], CLOSED, id, event.code + (event.wasClean ? 65536 : 0), held);
    };
    return true;
  }

  transmit(id, text) {
    this.named(id)?.send(text);
  }

  named(id) {
    const { trailing } = this;
    return id === this.id ? this.ws : id === trailing?.id ? trailing.ws : undefined;
  }

  buffered() {
    return this.ws ? this.ws.bufferedAmount : -1;
  }

  close(id, code, reason, givenUp) {
    const ws = this.named(id);
    if (!ws) return;
    if (givenUp || ws.readyState === 0) this.abandon(reason, ws, code);
    else ws.close(code, reason);
  }

  // What it still says is nobody's business. Chromium opens one socket at a time to a server, so one that hangs in
  // connecting has to be closed for the next to be tried; WebKit breaks by that, and has it closed once it has opened.
  abandon(reason, ws = this.ws, code = 4000) {
    this.forget(ws);
    if (ws.readyState === 0 && WEBKIT) ws.onopen = () => ws.close();
    else ws.close(code, reason);
  }

  forget(ws) {
    ws.onopen = ws.onmessage = ws.onclose = null;
    const { trailing } = this;
    if (trailing?.ws === ws) this.trailing = undefined;
    if (this.ws !== ws) return;
    this.ws = undefined;
    if (trailing) Object.assign(this, trailing, { trailing: undefined });
  }

  receive(text, id, rust) {
    const max = this.maxFrameBytes;
    if (typeof text !== "string") return rust.tell(BINARY, id);
    if (text.length * 3 > max && byteLength(text) > max) return rust.tell(TOO_LARGE, id);
    const { dialect } = this;
    let frame;
    try {
      frame = dialect?.parse ? dialect.parse(text) : JSON.parse(text);
    } catch {
      return rust.tell(NOT_JSON, id);
    }
    if (!dialect?.parse) this.sort(frame, id, rust);
    else for (const one of frame) this.sort(one, id, rust);
  }

  sort(frame, id, rust) {
    const { dialect, types } = this;
    const type = typeOf(frame, dialect);
    let route = 0;
    if (typeof type === "string") {
      // A scan with === is faster than a Map: a string fresh from JSON.parse has no hash yet. A stream says the same again.
      if (types[this.latest] === type) route = this.latest + 1;
      else {
        route = types.indexOf(type) + 1;
        if (route !== 0) this.latest = route - 1;
      }
      if (route === 0 && this.events.hasWildcard(type)) route = types.length + 1;
    }
    const order = route === 0 ? NaN : this.numbered ? numberOf(frame) : (dialect?.order?.(frame) ?? NaN);
    // What goes to a handle is a delta of whoever has its topic, or, where there are no topics, the result of the call whose
    // handle is its number.
    const handed = dialect !== undefined && this.deltas[route - 1];
    const handle = handed && dialect.topic ? this.topics.get(dialect.topic(frame)) : order;
    if (route !== 0 && handle !== undefined && rust.admit(id, route, order)) {
      if (!handed) this.events.deliver(route, frame, type);
      else this.events.hand(handle, dialect.topic ? DELTA : RESULT, frame);
    } else this.events.show(frame, (key) => rust.received(id, route, key, frame));
  }

  // Keeps a message before Rust decides on it, for it may be sent at once; its id follows from its place. Answers 0, or
  // Rust's number for why it was not taken.
  send(text, receipt, bytes, delivery, key, ttlMs) {
    receipt.place(this, (this.base + this.texts.length) >>> 0);
    this.texts.push(text);
    this.receipts.push(receipt);
    const refused = key ? this.rust.say([key], SEND, bytes, delivery, ttlMs ?? NaN) : this.rust.tell(SEND, bytes, delivery, ttlMs ?? NaN);
    if (refused !== 0) {
      this.texts.pop();
      this.receipts.pop();
    }
    return refused;
  }

  // Hands over messages in order until one is refused or the browser holds `limit` bytes; answers how many were taken.
  handOver(id, from, count, limit) {
    const { ws, texts } = this;
    if (!ws || id !== this.id) return 0;
    const start = (from - this.base) >>> 0;
    const end = start + count;
    let at = start;
    try {
      // A socket that is not open discards in silence what it is given.
      while (at < end && ws.readyState === 1) {
        ws.send(this.numbered ? withNumber(texts[at], this.base + at + 1) : texts[at]);
        if ((++at & 15) === 0 && ws.bufferedAmount >= limit) break;
      }
    } catch {
      // The message that was refused, and those behind it, stay.
    }
    return at - start;
  }

  settle(from, count, fate) {
    const start = (from - this.base) >>> 0;
    const end = start + count;
    if (fate > 1 || !this.numbered) this.texts.fill(undefined, start, end);
    // Messages are sent, and acknowledged, in order: one number says it to all receipts that nobody waits for.
    if (fate < 3) {
      if (fate === 1) this.sentBefore = (from + count) >>> 0;
      else this.ackedBefore = (from + count) >>> 0;
      if (this.asked === 0) return;
    }
    for (let at = start; at < end; at++) this.receipts[at]?.settle(fate);
  }

  // Of a message that has no fate of its own.
  fate(id) {
    const before = (end) => ((end - id) | 0) > 0;
    return before(this.ackedBefore) ? 2 : +before(this.sentBefore);
  }

  release(before) {
    const count = (before - this.base) >>> 0;
    // Moving the arrays for every single message would cost more than keeping a few settled ones.
    if (count < 64 && count < this.texts.length) return;
    this.texts = this.texts.slice(count);
    this.receipts = this.receipts.slice(count);
    this.base = before;
  }

  waiting() {
    return this.texts.filter((text) => text !== undefined).map((text) => JSON.parse(text));
  }
}

// What an unnumbered frame has is no number; what is none, Rust reads by itself.
function numberOf(frame) {
  const number = frame.$seq;
  return number === undefined ? NaN : typeof number === "number" ? number : -1;
}

// As text, for JSON keeps the last of two fields of one name; what is no object travels in one.
function withNumber(text, number) {
  if (text[0] !== "{" || /"\$(seq|data)"/.test(text)) text = `{"$data":${text}}`;
  return `${text.slice(0, -1)}${text === "{}" ? "" : ","}"$seq":${number >>> 0}}`;
}

const WEBKIT = /AppleWebKit(?!.*Chrom)/.test(globalThis.navigator?.userAgent);

// A URL with another path, or with more in its query.
function within(given, address) {
  const [path, query] = address.split("?");
  const url = new URL(path, given);
  url.search = [new URL(given).search.slice(1), query].filter(Boolean).join("&");
  return url.href;
}

// Length in UTF-8 bytes.
function byteLength(text) {
  let bytes = text.length;
  // Most texts are ASCII, and a regular expression sees that faster than a loop.
  if (!/[^\x00-\x7f]/.test(text)) return bytes;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7ff) bytes += 2;
    else if (unit > 0x7f) bytes += 1;
    // A pair is four bytes; a lone half becomes U+FFFD, three.
    if (unit >= 0xd800 && unit < 0xdc00) {
      const next = text.charCodeAt(i + 1);
      if (next >= 0xdc00 && next < 0xe000) i++;
    }
  }
  return bytes;
}
