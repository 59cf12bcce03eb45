/** A streaming call: what comes of it, one event after the other, and never more of it than its reader can take. */
import { CANCELLED, DELTA, FAILED, FINAL, GAP, LOST, NOTE, REFUSED, REJECTED, RESTARTED, RESUMED, STARTED, STOPPED, TIMED_OUT } from "../web/rust.js";
import { MoorlineError } from "./error.js";
import type { ErrorCode } from "./types.js";

export type RunEvent =
  /** The server has accepted it. */
  | { type: "started"; frame: unknown }
  /** More text. With `replace`, `text` takes the place of all that came before. */
  | { type: "delta"; text: string; replace?: true }
  /** Whatever else the server says about it: tools, status, usage. */
  | { type: "note"; frame: any }
  /** It ended well; `text` is all of it. */
  | { type: "final"; text: string; frame: unknown }
  /** It ended badly: the server's error, or the line's. */
  | { type: "error"; error: MoorlineError }
  /** It was stopped; `text` is what there was of it. */
  | { type: "aborted"; text: string; frame: unknown }
  /** The line was away and the run went on: `text` is all of it up to here, whatever came before. */
  | { type: "resumed"; text: string }
  /** The server begins it anew: what was heard of it does not count. */
  | { type: "restarted" }
  /** Something is missing for good. */
  | { type: "gap"; reason: string };

/** What a protocol reads from the frames of its runs. */
export interface RunReader {
  /** The text after this delta, and what was appended if it was: `text` alone replaces. */
  delta(frame: any, before: string): { text: string; appended?: string };
  /** What a note does to the text; `undefined` where it is only a note. What comes after it is another part of the text. */
  note?(frame: any, before: string): { text: string; appended: string } | undefined;
  /**
   * The whole text, as the end or a snapshot has it; `undefined` where it says none. `place`: where in the frame, as Rust
   * counts; the last part of the text before it begins at `from`.
   */
  whole(frame: any, place: number, before: string, from: number): string | undefined;
  /** `place`: as Rust has it, for protocols that need it. */
  error(frame: any, place: number): { message: string; retryable?: boolean; cause?: unknown };
}

/** What a reader has not taken yet. More notes than this are one gap. */
const MOST_WAITING = 1000;

export class Run implements AsyncIterable<RunEvent> {
  /** The whole text; rejects with the error that ended the run. */
  readonly result: Promise<string>;
  #text = "";
  /** Where the last part of it begins. */
  #from = 0;
  #waiting: RunEvent[] = [];
  #over = false;
  #wake: (() => void) | undefined;
  #resolve!: (text: string) => void;
  #reject!: (error: MoorlineError) => void;
  readonly #reader: RunReader;
  readonly #cancel: () => void;

  /** @internal */
  constructor(reader: RunReader, cancel: () => void) {
    this.#reader = reader;
    this.#cancel = cancel;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who only iterates hears of the error there.
    this.result.catch(() => {});
  }

  /** The text so far. */
  get text(): string {
    return this.#text;
  }

  /** Stops it, here and at the server. */
  cancel(): void {
    if (!this.#over) this.#cancel();
  }

  /** Events from the first that nobody has taken. Leaving the loop leaves the run running. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RunEvent, void, undefined> {
    for (;;) {
      const event = this.#waiting.shift();
      if (event) yield event;
      else if (this.#over) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** @internal */
  told(word: number, frame: any, number: number, text: string): boolean {
    switch (word) {
      case STARTED:
        this.#put({ type: "started", frame });
        return false;
      case DELTA: {
        const { text, appended } = this.#reader.delta(frame, this.#text);
        this.#grow(text, appended);
        return false;
      }
      case NOTE: {
        const grown = this.#reader.note?.(frame, this.#text);
        if (grown) {
          this.#grow(grown.text, grown.appended);
          this.#from = this.#text.length;
        }
        this.#put({ type: "note", frame });
        return false;
      }
      case RESUMED: {
        const before = this.#text;
        this.#text = this.#reader.whole(frame, number, before, this.#from) ?? before;
        if (!this.#text.startsWith(before)) this.#from = 0;
        this.#waiting = this.#waiting.filter(({ type }) => type !== "delta");
        this.#put({ type: "resumed", text: this.#text });
        return false;
      }
      case RESTARTED:
        this.#text = "";
        this.#from = 0;
        this.#waiting = this.#waiting.filter(({ type }) => type !== "delta");
        this.#put({ type: "restarted" });
        return false;
      case GAP:
        this.#put({ type: "gap", reason: text });
        return false;
      case FINAL:
        this.#complete(frame, number);
        this.#resolve(this.#text);
        return this.#end({ type: "final", text: this.#text, frame });
      case STOPPED:
      case CANCELLED:
        this.#complete(frame, number);
        this.#reject(new MoorlineError("call.aborted", "the run was stopped"));
        return this.#end({ type: "aborted", text: this.#text, frame });
      default: {
        // -1: the line refused it before it was one.
        const error = word < 0 ? new MoorlineError(text as ErrorCode, text) : callError(word, frame, number, text, this.#reader);
        if (!error) return false;
        this.#reject(error);
        return this.#end({ type: "error", error });
      }
    }
  }

  /** The text as the end has it. Space that is missing at its end is no reason to say it once more. */
  #complete(frame: any, place: number): void {
    const before = this.#text;
    const whole = this.#reader.whole(frame, place, before, this.#from) ?? before;
    if (whole === before.trimEnd()) this.#text = whole;
    else if (whole !== before) this.#grow(whole, whole.startsWith(before) ? whole.slice(before.length) : undefined);
  }

  #end(event: RunEvent): true {
    this.#put(event);
    this.#over = true;
    return true;
  }

  #grow(text: string, appended: string | undefined): void {
    this.#text = text;
    if (appended === "") return;
    const last = this.#waiting.at(-1);
    if (appended === undefined) {
      this.#waiting = this.#waiting.filter(({ type }) => type !== "delta");
      this.#put({ type: "delta", text, replace: true });
    } else if (last?.type === "delta") last.text += appended;
    else this.#put({ type: "delta", text: appended });
  }

  #put(event: RunEvent): void {
    if (this.#waiting.length >= MOST_WAITING) {
      // Text is never lost: `resumed` says all of it.
      this.#waiting = [
        { type: "gap", reason: "slow-consumer" },
        { type: "resumed", text: this.#text },
      ];
      if (event.type === "delta") event = { type: "delta", text: "" };
    }
    if (event.type !== "delta" || event.text !== "" || event.replace) this.#waiting.push(event);
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** The error that a word means for a call or a run; `undefined` for a word that is none. */
export function callError(word: number, frame: any, number: number, text: string, reader: Pick<RunReader, "error">): MoorlineError | undefined {
  switch (word) {
    case REFUSED:
    case FAILED: {
      const { message, retryable, cause } = reader.error(frame, number);
      return new MoorlineError("call.remote", message, { cause, ...(retryable === undefined ? undefined : { retryable }) });
    }
    case TIMED_OUT:
      return new MoorlineError("call.timeout", "no answer in time");
    case LOST: {
      const safe = number === 1;
      const fate = safe ? "it can be asked again" : "it may have been carried out or not";
      return new MoorlineError("call.lost", `the line was lost before the answer; ${fate}`, { retryable: safe });
    }
    case CANCELLED:
      return new MoorlineError("call.aborted", "the page did not want it any more");
    case REJECTED:
      return new MoorlineError(text as ErrorCode, REJECTIONS[text] ?? text, { retryable: text === "call.queue-full" });
    default:
      return undefined;
  }
}

const REJECTIONS: Record<string, string> = {
  "call.unsupported": "the protocol has no such thing",
  "call.queue-full": "as many calls as may wait do (queue.maxMessages, queue.maxBytes)",
  "call.too-large": "longer than the server takes",
  "subscription.ended": "the subscription has ended",
  "observe.busy": "a line observes one thing at a time",
  disposed: "disposed",
  internal: "a bug of moorline's ended the line",
};
