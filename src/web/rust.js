// Rust's functions for one line, and what a call to `tell` means: mod.rs reads the same list.

export const CONNECT = 0;
export const DISPOSE = 1;
export const RING = 2;
/** a: socket */
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
export const VISIBLE = 14;
export const BACK = 15;
export const RESUMED = 16;
export const PUT_AWAY = 17;
/** a: bytes, b: delivery (0 queue, 1 drop, 2 latest), x: ttlMs or NaN; text: key */
export const SEND = 18;
/** a: socket, b: close code, 65536 more where it was clean, x: bytes still held; text: reason */
export const CLOSED = 19;
/** a: close code; text: reason */
export const DISCONNECT = 20;
/** a: ticket; text: token */
export const RESOLVED = 21;
/** x: age in milliseconds or NaN; texts: token, client id */
export const RESTORED = 22;
/** texts: token, client id */
export const SESSION = 23;
/** a: close code, b: whether to retry */
export const POLICY = 24;
/** a, b, x: base, longest wait, attempts */
export const RETRY = 25;

export class Rust {
  constructor(glue, exports, line) {
    this.glue = glue;
    this.exports = exports;
    this.line = line;
  }

  admit(socket, route) {
    return this.exports.admit(this.line, socket, route) !== 0;
  }

  received(socket, route, key, frame) {
    return this.glue.received(this.line, socket, route, key, frame);
  }

  tell(what, a = 0, b = 0, x = 0) {
    return this.exports.tell(this.line, what, a, b, x);
  }

  // With one text, or two; what is no string is left out.
  say(first, second, what, a, b, x) {
    this.glue.text(false, text(first));
    this.glue.text(true, text(second));
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

const text = (value) => (typeof value === "string" ? value : undefined);
