// Rust's functions for one line, and what a call to `tell` means: mod.rs reads the same list.

export const CONNECT = 0;
export const DISPOSE = 1;
export const RING = 2;
/** a: socket; text: the subprotocol that the server chose */
export const OPENED = 3;
/** a: socket */
export const BINARY = 4;
/** a: socket */
export const TOO_LARGE = 5;
/** a: socket */
export const NOT_JSON = 6;
/** a: ticket */
export const UNRESOLVED = 7;
export const NOTHING_STORED = 8;
export const CORRUPT = 9;
export const RESTORE_DENIED = 10;
export const WRITE_DENIED = 11;
export const ONLINE = 12;
export const OFFLINE = 13;
/** a: 1 where nobody sees the page */
export const VISIBLE = 14;
export const BACK = 15;
export const THAWED = 16;
export const PUT_AWAY = 17;
/** a: bytes, b: delivery (0 queue, 1 drop, 2 latest), x: ttlMs or NaN; text: key */
export const SEND = 18;
/** a: socket, b: close code, 65536 more where it was clean, x: bytes still held; text: reason */
export const CLOSED = 19;
/** a: close code; text: reason */
export const DISCONNECT = 20;
/** a: ticket; text: token */
export const RESOLVED = 21;
/** x: age in milliseconds or NaN; texts: token, client id, epoch; a, b: the low and high half of the newest number in it */
export const RESTORED = 22;
/** texts: token, client id */
export const SESSION = 23;
/** a: close code, b: whether to retry */
export const POLICY = 24;
/** a, b, x: base, longest wait, attempts */
export const RETRY = 25;
/** a: handle, b: verb; texts and x: what the verb takes, in src/protocol/mod.rs */
export const COMMAND = 26;
/** a: ticket; texts: the answer */
export const ANSWERED = 27;

/** a: the first id, b: the first that was never handed over; text: the stream's name */
export const ADOPT = 28;
/** a: how many ids stand for nothing any more */
export const SKIPPED = 29;
/** a: bytes, x: what is left of ttlMs or NaN; text: key */
export const KEPT = 30;
export const CLEAR = 31;
export const RENEW = 32;

// What a handle hears, and what a page asks of a protocol: as in src/protocol/mod.rs.

export const RESULT = 0;
export const REFUSED = 1;
/** number: 1 where it was never asked */
export const TIMED_OUT = 2;
/** number: 1 where asking again is safe */
export const LOST = 3;
export const CANCELLED = 4;
/** text: the error code */
export const REJECTED = 5;
export const SENT = 6;
export const STARTED = 7;
export const DELTA = 8;
export const FINAL = 9;
export const FAILED = 10;
export const STOPPED = 11;
export const RESUMED = 12;
export const RESTARTED = 13;
/** text: why */
export const GAP = 14;
export const NOTE = 15;
/** number: 1 where it was live before */
export const CONFIRMED = 16;
/** number: 1 where it will be again */
export const AWAY = 17;
export const BEGAN = 18;
export const CALLED = 19;
export const WITHDRAWN = 20;

/** texts: method, parameters, idempotency key; number: milliseconds for the answer */
export const REQUEST = 0;
export const RUN = 1;
/** texts: method, parameters */
export const NOTIFY = 2;
export const CANCEL = 3;
/** text: the result */
export const REPLY = 4;
/** text: the error */
export const REFUSE = 5;
/** text: what to */
export const SUBSCRIBE = 6;
/** texts: what is said; number: the subscription */
export const PERFORM = 7;
/** texts: path, cursor */
export const OBSERVE = 8;
/** number: 1 before the calls that go out as one message */
export const BATCH = 9;

export class Rust {
  constructor(glue, exports, line) {
    this.glue = glue;
    this.exports = exports;
    this.line = line;
  }

  admit(socket, route, order) {
    return this.exports.admit(this.line, socket, route, order) !== 0;
  }

  received(socket, route, key, frame) {
    return this.glue.received(this.line, socket, route, key, frame);
  }

  tell(what, a = 0, b = 0, x = 0) {
    return this.exports.tell(this.line, what, a, b, x);
  }

  // With texts, three at the most; what is no string is left out.
  say(texts, what, a, b, x) {
    texts.forEach((given, place) => this.glue.text(place, typeof given === "string" ? given : undefined));
    return this.tell(what, a, b, x);
  }

  stat(which) {
    return this.exports.stat(this.line, which);
  }

  explain() {
    return this.glue.explain(this.line);
  }

  free() {
    this.exports.free(this.line);
  }
}
