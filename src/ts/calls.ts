/** The face of the protocols that have calls: `request`, `run`, `notify`, `handle`. */
import type { Hearer, Page } from "../web/page.js";
import { BEGAN, CALLED, CANCEL, NOTIFY, REFUSE, REPLY, REQUEST, RESULT, RUN, SENT } from "../web/rust.js";
import { MoorlineError } from "./error.js";
import { stringify } from "./line.js";
import { type Dialect, ProtocolLine } from "./protocol.js";
import { callError, Run, type RunReader } from "./run.js";

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

/** A run that the server began: nobody on this line asked for it. */
export interface RunStarted {
  run: Run;
  /** Whose it is; what it may be, the protocol's page says. */
  origin: string;
  /** The frame by which it was heard of. */
  frame: unknown;
}

declare module "./types.js" {
  interface LineEventMap {
    "run-started": RunStarted;
  }
}

/** @internal */
export interface CallDialect extends Dialect, RunReader {
  /** The answer in a frame. */
  result(frame: any): unknown;
  /** Of a call that the server makes. */
  called?(frame: any): { method: string; params: unknown };
}

/** How JSON-RPC says that there is no such method (section 5.1). */
const NO_SUCH_METHOD = -32601;
const INTERNAL = -32603;

export abstract class CallLine extends ProtocolLine {
  /** @internal */
  protected abstract override readonly dialect: CallDialect;
  readonly #handlers = new Map<string, Handler>();

  /**
   * Asks, and answers with the result. Rejects with a `MoorlineError`: `call.remote` (the server's error is its `cause`),
   * `call.timeout`, `call.lost` (`retryable` says whether asking again is safe), `call.aborted`, `call.queue-full`, `disposed`.
   */
  request<T = unknown>(method: string, params?: unknown, options: CallOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const hearer: Hearer = {
        told: (word, frame, number, text) => {
          if (word === RESULT) resolve(this.dialect.result(frame) as T);
          else reject(callError(word, frame, number, text, this.dialect));
          return true;
        },
      };
      this.#open(REQUEST, method, params, options, hearer, reject);
    });
  }

  /** Starts a streaming call. What goes wrong is an event of the run and rejects its `result`; nothing is thrown. */
  run(method: string, params?: unknown, options: CallOptions = {}): Run {
    let cancel = () => {};
    const run = new Run(this.dialect, () => cancel());
    cancel = this.#open(RUN, method, params, options, run, (error) => run.told(-1, undefined, 0, (error as MoorlineError).code));
    return run;
  }

  /** Tells the server something and expects no answer. Settles when a socket has it. */
  notify(method: string, params?: unknown, options: Pick<CallOptions, "timeoutMs" | "signal"> = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const hearer: Hearer = {
        told: (word, frame, number, text) => {
          if (word === SENT) resolve();
          else reject(callError(word, frame, number, text, this.dialect));
          return true;
        },
      };
      this.#open(NOTIFY, method, params, options, hearer, reject);
    });
  }

  /** Answers the server's calls of this method, instead of whoever did before. Returns what ends it. */
  handle(method: string, handler: Handler): () => void {
    this.#handlers.set(method, handler);
    return () => {
      if (this.#handlers.get(method) === handler) this.#handlers.delete(method);
    };
  }

  /** Answers with what cancels it. */
  #open(verb: number, method: string, params: unknown, options: CallOptions, hearer: Hearer, fail: (error: unknown) => void): () => void {
    const { signal, idempotencyKey, timeoutMs } = options;
    const handle = this.nextHandle();
    const cancel = () => this.#quietly((page) => page.command(CANCEL, handle));
    try {
      if (signal?.aborted) throw new MoorlineError("call.aborted", "aborted before it was sent", { cause: signal.reason });
      const text = params === undefined ? undefined : stringify(params);
      const told: Hearer["told"] = (...facts) => {
        const over = hearer.told(...facts);
        if (over) signal?.removeEventListener("abort", cancel);
        return over;
      };
      this.act((page) => page.command(verb, handle, { told }, [method, text, idempotencyKey], timeoutMs), fail);
      signal?.addEventListener("abort", cancel, { once: true });
    } catch (error) {
      fail(error);
    }
    return cancel;
  }

  #quietly(act: (page: Page) => void): void {
    try {
      this.act(act);
    } catch {
      // The line has ended, and every call with it.
    }
  }

  /** @internal */
  protected override began(page: Page, handle: number, word: number, frame: any, text: string): Hearer | undefined {
    if (word === CALLED) return this.#called(handle, frame);
    if (word !== BEGAN) return undefined;
    const run = new Run(this.dialect, () => this.#quietly((page) => page.command(CANCEL, handle)));
    // The run hears what follows; who hears of the run may listen from the first delta on.
    page.events.dispatch("run-started", { run, origin: text, frame });
    return run;
  }

  #called(handle: number, frame: any): Hearer {
    const { method, params } = this.dialect.called!(frame);
    const handler = this.#handlers.get(method);
    const withdrawn = new AbortController();
    const refuse = (code: number, message: string, data?: unknown) =>
      this.#quietly((page) => page.command(REFUSE, handle, undefined, [stringify({ code, message, data })]));
    queueMicrotask(async () => {
      if (!handler) return refuse(NO_SUCH_METHOD, `no handler for ${method}`);
      try {
        const result = await handler(params, { signal: withdrawn.signal, frame });
        this.#quietly((page) => page.command(REPLY, handle, undefined, [stringify(result ?? null)]));
      } catch (error) {
        const { code = INTERNAL, message = String(error), data } = (error ?? {}) as { code?: unknown; message?: string; data?: unknown };
        refuse(typeof code === "number" ? code : INTERNAL, message, data);
      }
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
