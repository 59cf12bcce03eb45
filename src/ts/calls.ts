/** The face of the protocols that have calls: `request`, `notify`, `handle`. Those that have runs too add src/ts/run.ts. */
import type { Hearer, Page } from "../web/page.js";
import {
  CALLED,
  CANCEL,
  CANCELLED,
  FAILED,
  LOST,
  NOTIFY,
  REFUSE,
  REFUSED,
  REJECTED,
  REPLY,
  REQUEST,
  RESULT,
  SENT,
  TIMED_OUT,
} from "../web/rust.js";
import { MoorlineError, refuse } from "./error.js";
import { stringify } from "./line.js";
import { type Dialect, ProtocolLine } from "./protocol.js";
import type { ErrorCode, LineOptions } from "./types.js";

export interface CallOptions {
  /** How long the answer may take, in milliseconds, from this line on, waiting included. Default 30000; of a run, until the server accepts it. */
  timeoutMs?: number;
  /** Ends the call here, and at the server where the protocol can. */
  signal?: AbortSignal;
  /** The same key is the same deed, however often it is asked. Needed by what the protocol lets be sent again. */
  idempotencyKey?: string;
}

/** What answers a call of the server's; a thrown error is the answer too. `signal` says that the server does not wait any more. */
export type Handler = (params: any, call: { signal: AbortSignal; frame: unknown }) => unknown;

/** @internal */
export interface ErrorReader {
  /** The server's error in a frame. `place`: as Rust has it, for protocols that need it. */
  error(frame: any, place: number): { message: string; retryable?: boolean; cause?: unknown };
}

/** @internal */
export interface CallDialect extends Dialect, ErrorReader {
  /** The answer in a frame. */
  result(frame: any): unknown;
  /** Of a call that the server makes. */
  called?(frame: any): { method: string; params: unknown };
}

/** How JSON-RPC says that there is no such method (section 5.1). */
const NO_SUCH_METHOD = -32601;
const INTERNAL = -32603;
/** Calls that may wait for wasm; from then on Rust counts them. */
const MOST_EARLY = 1000;
/**
 * A word of our own: the call came to nothing here, and the frame is the error.
 * @internal
 */
export const STILLBORN = -1;

export abstract class CallLine<O extends LineOptions = LineOptions> extends ProtocolLine<O> {
  /** @internal */
  protected abstract override readonly dialect: CallDialect;
  readonly #handlers = new Map<string, Handler>();
  /** Calls that wait for wasm. */
  #early = 0;

  /**
   * Asks, and answers with the result. Rejects with a `MoorlineError`: `call.remote` (the server's error is its `cause`),
   * `call.timeout`, `call.lost` (`retryable` says whether asking again is safe), `call.aborted` (its `cause` is the signal's
   * reason), `call.queue-full`, `call.too-large`, `call.unsupported`, `send.unsupported`, `config.invalid`, `disposed`.
   */
  request<T = unknown>(method: string, params?: unknown, options: CallOptions = {}): Promise<T> {
    return this.#ask(REQUEST, method, params, options);
  }

  /** Tells the server something and expects no answer. Settles when a socket has it; rejects as `request`. */
  notify(method: string, params?: unknown, options: Pick<CallOptions, "timeoutMs" | "signal"> = {}): Promise<void> {
    return this.#ask(NOTIFY, method, params, options);
  }

  /** Answers the server's calls of this method, instead of whoever did before. Returns what ends it. */
  handle(method: string, handler: Handler): () => void {
    this.#handlers.set(method, handler);
    return () => {
      if (this.#handlers.get(method) === handler) this.#handlers.delete(method);
    };
  }

  #ask<T>(verb: number, method: string, params: unknown, options: CallOptions): Promise<T> {
    return new Promise((resolve, reject) => {
      const told: Hearer["told"] = (word, frame, number, text) => {
        if (word === RESULT) resolve(this.dialect.result(frame) as T);
        else if (word === SENT) resolve(undefined as T);
        else reject(callError(word, word === CANCELLED ? options.signal?.reason : frame, number, text, this.dialect));
        return true;
      };
      this.open(verb, method, params, options, { told });
    });
  }

  /**
   * Begins a call, whose hearer is told how it ended exactly once. Answers with what cancels it.
   * @internal
   */
  protected open(verb: number, method: string, params: unknown, options: CallOptions, hearer: Hearer): () => void {
    const { signal, idempotencyKey, timeoutMs = 30_000 } = options;
    const handle = this.nextHandle();
    const asked = performance.now();
    let over = false;
    let here = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const told: Hearer["told"] = (word, frame, number, text) => {
      over ||= hearer.told(word, frame, number, text);
      if (over) {
        if (timer) clearTimeout(timer);
        signal?.removeEventListener("abort", cancel);
      }
      return over;
    };
    const end = (word: number, error?: unknown) => told(word, error, 0, "");
    // Before Rust is there nobody else knows of the call.
    const cancel = () => void (here ? this.say(CANCEL, handle) : end(CANCELLED));
    try {
      if (!(timeoutMs >= 0)) refuse("config.invalid", "timeoutMs is not a number from 0");
      const texts = [method, params === undefined ? undefined : stringify(params), idempotencyKey];
      if (signal?.aborted) end(CANCELLED);
      else if (this.#early >= MOST_EARLY) told(REJECTED, undefined, 0, "call.queue-full");
      else {
        signal?.addEventListener("abort", cancel);
        this.#early++;
        this.act(
          (page) => {
            this.#early--;
            here = true;
            clearTimeout(timer);
            if (!over) page.command(verb, handle, { told }, texts, timer ? timeoutMs + asked - performance.now() : timeoutMs);
          },
          (error) => end(STILLBORN, error),
        );
        if (!here && !over) timer = setTimeout(end, Math.min(timeoutMs, 2 ** 31 - 1), TIMED_OUT);
      }
    } catch (error) {
      end(STILLBORN, error);
    }
    return cancel;
  }

  /**
   * Says something of a handle that needs no answer: where the line has ended, everything has.
   * @internal
   */
  protected say(verb: number, handle: number, text?: string): void {
    try {
      this.act((page) => page.command(verb, handle, undefined, [text]));
    } catch {
      // Nobody waits for it any more.
    }
  }

  /** @internal */
  protected override began(_page: Page, handle: number, word: number, frame: any, _text: string): Hearer | undefined {
    if (word !== CALLED) return undefined;
    const { method, params } = this.dialect.called!(frame);
    const handler = this.#handlers.get(method);
    const withdrawn = new AbortController();
    queueMicrotask(async () => {
      let verb = REPLY;
      let answer: string;
      try {
        if (!handler) throw { code: NO_SUCH_METHOD, message: `no handler for ${method}` };
        answer = stringify((await handler(params, { signal: withdrawn.signal, frame })) ?? null);
      } catch (error) {
        verb = REFUSE;
        answer = refusal(error);
      }
      this.say(verb, handle, answer);
    });
    return {
      // Answered, withdrawn, or the line is gone: in any case nobody waits any more.
      told: () => {
        withdrawn.abort();
        return true;
      },
    };
  }
}

/** What a handler threw, as an error object: it may be anything. */
function refusal(error: any): string {
  const { code, message, data } = error ?? {};
  const said = typeof message === "string" ? message : typeof error === "object" ? "the handler failed" : String(error);
  const given = { code: Number.isInteger(code) ? code : INTERNAL, message: said };
  try {
    return stringify({ ...given, data });
  } catch {
    return stringify(given);
  }
}

/**
 * The error that a word means for a call or a run; `undefined` for a word that is none.
 * @internal
 */
export function callError(word: number, frame: any, number: number, text: string, reader: ErrorReader): MoorlineError | undefined {
  switch (word) {
    case STILLBORN:
      return frame;
    case REFUSED:
    case FAILED: {
      const { message, retryable, cause } = reader.error(frame, number);
      return new MoorlineError("call.remote", message, { cause, retryable: !!retryable });
    }
    case TIMED_OUT:
      return number === 1
        ? new MoorlineError("call.timeout", "it was never asked: there was no connection in time", { retryable: true })
        : new MoorlineError("call.timeout", "no answer in time");
    case LOST: {
      const safe = number === 1;
      const fate = safe ? "it can be asked again" : "it may have been carried out or not";
      return new MoorlineError("call.lost", `the line was lost before the answer; ${fate}`, { retryable: safe });
    }
    case CANCELLED:
      return new MoorlineError("call.aborted", "the page did not want it any more", { cause: frame });
    case REJECTED:
      return new MoorlineError(text as ErrorCode, REJECTIONS[text] ?? text, { retryable: text === "call.queue-full" });
    default:
      return undefined;
  }
}

const REJECTIONS: Record<string, string> = {
  "call.unsupported": "the protocol has no such thing",
  "call.queue-full": "as many calls as may wait do (queue.maxMessages, queue.maxBytes)",
  "call.too-large": "longer than the server takes, or than queue.maxBytes",
  "subscription.ended": "the subscription has ended",
  "observe.busy": "a line observes one thing at a time",
  disposed: "disposed",
  internal: "a bug of moorline's ended the line",
};
