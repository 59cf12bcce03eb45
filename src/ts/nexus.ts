/**
 * The drop-in for `ws-client.js`: its names, fields and events, without its defects. Wasm's bytes are in this entry, so
 * that what answered at once goes on doing so.
 */
import { instantiate } from "./bytes.js";
import { Line } from "./line.js";
import type { Receipt } from "./receipt.js";
import type { Options, SendOptions, Session, Url } from "./types.js";

class NexusLine extends Line {
  /** @internal */
  protected override load() {
    return instantiate();
  }
  /** The frames that wait. */
  get waiting(): unknown[] {
    let frames: unknown[] = [];
    this.act((page) => (frames = page.socket.waiting()));
    return frames;
  }
  stored(): Session | null | Promise<Session | null> {
    let session: Session | null | Promise<Session | null> = null;
    this.act((page) => (session = page.store.load()));
    return session;
  }
  retry(baseDelayMs: number, maxDelayMs: number, maxAttempts: number): void {
    this.act((page) => page.retry(baseDelayMs, maxDelayMs, maxAttempts));
  }
}

export class WebSocketClient {
  readonly url: Url;
  /** The line itself, for all that the old client did not have. */
  readonly line: NexusLine;
  #base: number;
  #cap: number;
  #most: number;

  /**
   * Nothing is dialled.
   * @param url default: `/api/world/ws` of the page's own host
   * @param options the defaults are the old client's: first wait at most 1000 ms, ten attempts
   */
  constructor(url: Url = "/api/world/ws", options: Options = {}) {
    const { baseDelayMs = 1000, maxDelayMs = 30_000, maxAttempts = 10 } = options.reconnect ?? {};
    const reconnect = { ...options.reconnect, baseDelayMs, maxDelayMs, maxAttempts };
    this.url = url;
    this.line = new NexusLine(url, { ...options, reconnect });
    this.#base = baseDelayMs;
    this.#cap = maxDelayMs;
    this.#most = maxAttempts;
  }

  connect(): void {
    this.line.connect();
  }

  send(frame: unknown, options?: SendOptions): Receipt {
    return this.line.send(frame, options);
  }

  disconnect(code?: number, reason?: string): void {
    this.line.disconnect(code, reason);
  }

  saveSession(data: Record<string, unknown>): void {
    this.line.saveSession(data);
  }

  /** What is stored, or `null`; a promise of it where an asynchronous storage was given. */
  loadSession(): Session | null | Promise<Session | null> {
    return this.line.stored();
  }

  clearSession(): void {
    this.line.clearSession();
  }

  get session(): Session | null {
    return this.line.session;
  }

  get connected(): boolean {
    return this.line.state === "connected";
  }

  /** The frames that wait, oldest first. */
  get messageQueue(): unknown[] {
    return this.line.waiting;
  }

  /** Failures in a row. */
  get reconnectAttempts(): number {
    return this.line.stats().attempts ?? 0;
  }

  get maxReconnectAttempts(): number {
    return this.#most;
  }
  set maxReconnectAttempts(most: number) {
    this.#most = most;
    this.#retry();
  }

  /** Ceiling of the first wait, in milliseconds. */
  get reconnectBaseDelay(): number {
    return this.#base;
  }
  set reconnectBaseDelay(base: number) {
    this.#base = base;
    this.#retry();
  }

  /** Ceiling of every wait, in milliseconds. */
  get maxReconnectDelay(): number {
    return this.#cap;
  }
  set maxReconnectDelay(cap: number) {
    this.#cap = cap;
    this.#retry();
  }

  #retry(): void {
    this.line.retry(this.#base, this.#cap, this.#most);
  }
}

/** One client for the page, to the page's own host. */
export const wsClient = /* @__PURE__ */ new WebSocketClient();

export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
