/// <reference lib="esnext.disposable" preserve="true" />
/** The public class without its loader: what a page calls, handed on to Rust in the order in which it was called. */
import type { Given, Page } from "../web/page.js";
import { MoorlineError, refuse } from "./error.js";
import { check, type Rules } from "./options.js";
import { Receipt } from "./receipt.js";
import type { LineEventMap, LineOptions, Options, SendOptions, Session, State, Stats, Url } from "./types.js";

/**
 * What a loader brings: it opens the page's half of the driver, and through it Rust's.
 * @internal
 */
export type Abi = { open(given: Given): void };

/** The fate of what was not taken, as Rust numbers it. */
const REJECTED = 5;
const DELIVERY = ["queue", "drop", "latest"];

export abstract class Line<O extends LineOptions = Options> extends EventTarget {
  readonly #url: Url;
  readonly #options: LineOptions;
  #page: Page | undefined;
  /** What was called before wasm was there, and who hears if it never is. */
  #early: [act: (page: Page) => unknown, refused?: (error: MoorlineError) => void][] = [];
  #queued = 0;
  #failure: MoorlineError | undefined;
  #loading = false;
  readonly #heard = new Set<string>();
  /**
   * Options that only this entry has, over those that all have.
   * @internal
   */
  declare static rules?: Rules;

  /**
   * Brings wasm. Each entry of the package has its own way.
   * @internal
   */
  protected abstract load(): Abi | Promise<Abi>;

  /**
   * Nothing is dialled. Throws `config.invalid` or `config.url`.
   * @param url a string, a `URL`, or a function that is called before every attempt
   */
  constructor(url: Url, options?: O);
  constructor(url: Url, options: LineOptions = {}) {
    super();
    check(url, options, new.target.rules);
    this.#url = url;
    this.#options = options;
  }

  /** Dials, and keeps the line up from then on. Does nothing while it is up or being put up; while waiting, it tries at once. */
  connect(): void {
    this.act((page) => page.connect());
  }

  /**
   * Another connection in place of the one there is, with what the url function says now: new credentials, say. Where the
   * gateway acknowledges, the next is ready before this one closes, and nobody notices.
   */
  renew(): void {
    this.act((page) => page.renew());
  }

  /**
   * Ends the line until `connect`. What is queued stays queued. Throws `close.code`, `close.reason`.
   * @param code 1000 (default) or 3000 to 4999
   * @param reason at most 123 bytes of UTF-8
   */
  disconnect(code = 1000, reason = ""): void {
    if (code % 1 || (code !== 1000 && !(code >= 3000 && code < 5000))) refuse("close.code", `${code} is not 1000 or 3000 to 4999`);
    if (byteLength(reason) > 123) refuse("close.reason", "too long");
    this.act((page) => page.disconnect(code, reason));
  }

  /**
   * Sends a frame, now or when the gateway is there. It is turned into text at once: changing the object later changes
   * nothing. Throws `send.unsupported`, `send.too-large`, `send.queue-full`, `disposed`.
   */
  send(frame: unknown, options: SendOptions = {}): Receipt {
    const text = stringify(frame);
    const delivery = DELIVERY.indexOf(options.delivery ?? "queue");
    const { ttlMs, key } = options;
    if (delivery < 0 || !((ttlMs ?? 0) >= 0)) refuse("config.invalid", "delivery or ttlMs");
    // Rust counts what waits; what can never wait is refused here, before wasm has come and after.
    const { maxMessages = 1000, maxBytes = 1_048_576, overflow = "" } = this.#options.queue ?? {};
    const bytes = byteLength(text);
    if (bytes > maxBytes) refuse("send.too-large", `${bytes} bytes`);
    // Until wasm is there, this is the queue, and bounded like it.
    if (!this.#page && overflow[0] !== "d" && ++this.#queued > maxMessages) throw full();
    const receipt = new Receipt();
    let refused: MoorlineError | undefined;
    const settle = (error: MoorlineError) => receipt.settle(REJECTED, (refused = error));
    this.act((page) => page.socket.send(text, receipt, bytes, delivery, key, ttlMs) && settle(full()), settle);
    if (refused) throw refused;
    return receipt;
  }

  /**
   * Takes what waits out of the queue, what earlier pages left (`queue.persist`) among it: the receipts say `rejected`. What may have
   * arrived already stays until the gateway has said so.
   */
  clearQueue(): void {
    this.act((page) => page.clear());
  }

  /** Stores `{...data, savedAt}`; a `token` in it is presented on the next connection. */
  saveSession(data: Record<string, unknown>): void {
    this.act((page) => page.save({ ...data }));
  }

  /** What is stored, or `null`. */
  loadSession(): Promise<Session | null> {
    return new Promise((resolve, reject) => this.act((page) => resolve(page.store.load()), reject));
  }

  /** Removes what is stored; the next connection starts as new. */
  clearSession(): void {
    this.act((page) => page.forget());
  }

  /** The session as last saved or found. */
  get session(): Session | null {
    return this.#page?.store.session ?? null;
  }

  /** Calls `listener` with the detail of each event of this type, for a third of a DOM event's cost. Returns what ends it. */
  on<Name extends keyof LineEventMap>(type: Name, listener: (detail: LineEventMap[Name]) => void): () => void;
  on(type: string, listener: (detail: never) => void): () => void;
  on(type: string, listener: (detail: never) => void): () => void {
    let off: (() => void) | undefined;
    let over = false;
    this.act((page) => {
      if (!over) off = page.events.on(type, listener);
    });
    return () => {
      over = true;
      off?.();
    };
  }

  get state(): State {
    return this.#down ? "closed" : (this.#page?.state ?? "idle");
  }

  stats(): Stats {
    return { state: this.state, queueMessages: this.#queued, ...(this.#down ? undefined : this.#page?.stats()) };
  }

  /** What happened to the line, in order: why it closed, why it waits, when it tries next. */
  explain(): string[] {
    return this.#down ? [this.#down.message] : (this.#page?.explain() ?? []);
  }

  /**
   * Closes the line and frees everything it holds. What still waits is rejected, or, with `queue.persist`, left to the next line:
   * then its receipt says `unknown`. Later calls throw `disposed`.
   */
  dispose(): void {
    // After a bug of ours nothing of Rust may be called.
    const page = this.#down ? undefined : this.#page;
    // What listeners call from here on comes too late.
    this.#fail(new MoorlineError("disposed", "disposed"));
    page?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  override addEventListener<Name extends keyof LineEventMap>(
    type: Name,
    listener: ((event: CustomEvent<LineEventMap[Name]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: ((event: never) => void) | EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    // A second event is made only for types that somebody listens for here.
    this.#heard.add(type);
    super.addEventListener(type, listener as EventListener, options);
  }

  /** Why nothing can be called any more. */
  get #down(): MoorlineError | undefined {
    return this.#failure ?? this.#page?.events.dead;
  }

  /**
   * Now, or in its turn when wasm has come; `refused` hears if it never does.
   * @internal
   */
  protected act(act: (page: Page) => unknown, refused?: (error: MoorlineError) => void): void {
    if (this.#down) throw this.#down;
    // What is called while the early calls are made up for stands behind them.
    if (this.#page && !this.#early.length) {
      act(this.#page);
      return;
    }
    this.#early.push(refused ? [act, refused] : [act]);
    if (this.#loading) return;
    this.#loading = true;
    try {
      const abi = this.load();
      if (abi instanceof Promise) abi.then((here) => this.#arrive(here)).catch((error) => this.#lack(error));
      else this.#arrive(abi);
    } catch (error) {
      this.#lack(error);
    }
  }

  #arrive({ open }: Abi): void {
    if (this.#failure) return;
    const here = (page: Page) => {
      this.#page = page;
      // One of them may dispose of the line, which takes the rest away.
      for (; this.#early.length; this.#early.shift()) this.#early[0]![0](page);
    };
    open({ line: this, url: this.#url, options: this.#options, heard: this.#heard, ErrorType: MoorlineError, here });
  }

  /** Wasm cannot be had: said once, and to everybody who asks. */
  #lack(cause: unknown): void {
    if (this.#failure) return;
    const error =
      cause instanceof MoorlineError
        ? cause
        : new MoorlineError("wasm.unavailable", `${cause}`, { cause });
    if (this.#options.log !== "silent") console.warn(error);
    this.#fail(error);
    const { target = globalThis } = this.#options;
    for (const hearer of new Set([target as EventTarget | null, this]))
      hearer?.dispatchEvent?.(new CustomEvent("ws-error", { detail: error }));
  }

  #fail(error: MoorlineError): void {
    this.#failure = error;
    for (const [, refused] of this.#early.splice(0)) refused?.(error);
  }
}

const full = () => new MoorlineError("send.queue-full", "queue full", { retryable: true });

/** @internal */
export function stringify(frame: unknown): string {
  try {
    const text = JSON.stringify(frame);
    // JSON leaves functions out without a word.
    carriable(text === undefined ? carriable : frame);
    return text;
  } catch (cause) {
    return refuse("send.unsupported", `not JSON: ${(cause as Error).message}`, cause);
  }
}

function carriable(value: unknown): void {
  const type = typeof value;
  if (type === "function" || type === "symbol") throw new TypeError(`a ${type}`);
  // What says by itself how it is written (a Date, a URL, a DOMRect) was asked by stringify.
  if (type === "object" && !(value as { toJSON?: unknown } | null)?.toJSON) for (const key in value as object) carriable((value as Record<string, unknown>)[key]);
}

/** Length in UTF-8 bytes; most texts are ASCII, and a regular expression sees that fastest. */
const byteLength = (text: string) => (/[^\x00-\x7f]/.test(text) ? new TextEncoder().encode(text).length : text.length);
