/** A streaming call: what comes of it, one event after the other, and never more of it than its reader can take. */
import type { Hearer, Page } from "../web/page.js";
import { BEGAN, CANCEL, CANCELLED, DELTA, FINAL, GAP, NOTE, RESTARTED, RESUMED, RUN, STARTED, STOPPED } from "../web/rust.js";
import { Backlog } from "./backlog.js";
import { type CallDialect, callError, CallLine, type CallOptions } from "./calls.js";
import { MoorlineError } from "./error.js";
import type { LineOptions } from "./types.js";

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
  /** The line was away and the run went on, or its reader was: `text` is all of it up to here, whatever came before. */
  | { type: "resumed"; text: string }
  /** The server begins it anew: what was heard of it does not count. */
  | { type: "restarted" }
  /** Something is missing for good. `slow-consumer`: what waited to be read was too much; of the text nothing is missing. */
  | { type: "gap"; reason: string };

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

/**
 * What a protocol reads from the frames of its runs.
 * @internal
 */
export interface RunDialect extends CallDialect {
  /** The text after this delta, and what was appended if it was: `text` alone replaces. */
  delta(frame: any, before: string): { text: string; appended?: string };
  /** What a note does to the text; `undefined` where it is only a note. What comes after it is another part of the text. */
  note?(frame: any, before: string): { text: string; appended: string } | undefined;
  /**
   * The whole text, as the end or a snapshot has it; `undefined` where it says none. `place`: where in the frame, as Rust
   * counts; the last part of the text before it begins at `from`.
   */
  whole(frame: any, place: number, before: string, from: number): string | undefined;
}

/** What a reader has not taken yet. More notes than this are one gap. */
const MOST_WAITING = 1000;

export class Run implements AsyncIterable<RunEvent> {
  /** The whole text; rejects with the error that ended the run. */
  readonly result: Promise<string>;
  #text = "";
  /** Where the last part of it begins. */
  #from = 0;
  readonly #backlog = new Backlog<RunEvent>();
  #resolve!: (text: string) => void;
  #reject!: (error: MoorlineError) => void;
  readonly #dialect: RunDialect;
  readonly #cancel: () => void;

  /** @internal */
  constructor(dialect: RunDialect, cancel: () => void) {
    this.#dialect = dialect;
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
    if (!this.#backlog.over) this.#cancel();
  }

  /**
   * Events from the first that nobody has taken; nothing is thrown, and the last is `final`, `error` or `aborted`. Leaving the
   * loop leaves the run running. Loops at the same time share the events: each goes to one of them.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<RunEvent> {
    return this.#backlog.read();
  }

  /** @internal */
  told(word: number, frame: any, number: number, text: string): boolean {
    const before = this.#text;
    if (this.#backlog.over) return true;
    switch (word) {
      case STARTED:
        this.#put({ type: "started", frame });
        return false;
      case DELTA: {
        const { text, appended } = this.#dialect.delta(frame, before);
        this.#grow(text, appended);
        return false;
      }
      case NOTE: {
        const grown = this.#dialect.note?.(frame, before);
        if (grown) {
          this.#grow(grown.text, grown.appended);
          this.#from = this.#text.length;
        }
        this.#put({ type: "note", frame });
        return false;
      }
      case RESUMED: {
        const text = this.#dialect.whole(frame, number, before, this.#from) ?? before;
        if (!text.startsWith(before)) this.#from = 0;
        this.#renew(text, { type: "resumed", text });
        return false;
      }
      case RESTARTED:
        this.#from = 0;
        this.#renew("", { type: "restarted" });
        return false;
      case GAP:
        this.#put({ type: "gap", reason: text });
        return false;
      case FINAL:
        this.#complete(frame, number);
        this.#resolve(this.#text);
        this.#put({ type: "final", text: this.#text, frame });
        return this.#backlog.end();
      case STOPPED:
      case CANCELLED:
        this.#complete(frame, number);
        this.#reject(new MoorlineError("call.aborted", "the run was stopped"));
        this.#put({ type: "aborted", text: this.#text, frame });
        return this.#backlog.end();
      default: {
        const error = callError(word, frame, number, text, this.#dialect);
        if (!error) return false;
        this.#reject(error);
        this.#put({ type: "error", error });
        return this.#backlog.end();
      }
    }
  }

  /** The text as the end has it. Space that is missing at its end is no reason to say it once more. */
  #complete(frame: any, place: number): void {
    const before = this.#text;
    const whole = this.#dialect.whole(frame, place, before, this.#from) ?? before;
    if (whole === before.trimEnd()) this.#text = whole;
    else this.#grow(whole, whole.startsWith(before) ? whole.slice(before.length) : undefined);
  }

  #grow(text: string, appended: string | undefined): void {
    const last = this.#backlog.waiting.at(-1);
    if (appended === undefined) this.#renew(text, { type: "delta", text, replace: true });
    else {
      this.#text = text;
      if (last?.type === "delta") last.text += appended;
      else if (appended) this.#put({ type: "delta", text: appended });
    }
  }

  /** An event that says the whole text takes the place of the deltas before it. */
  #renew(text: string, event: RunEvent): void {
    this.#text = text;
    this.#backlog.waiting = this.#backlog.waiting.filter(({ type }) => type !== "delta");
    this.#put(event);
  }

  #put(event: RunEvent): void {
    const backlog = this.#backlog;
    if (backlog.waiting.length >= MOST_WAITING) {
      // Of the text nothing is lost: `resumed` says all of it.
      backlog.waiting = [{ type: "gap", reason: "slow-consumer" }];
      backlog.put({ type: "resumed", text: this.#text });
      if (event.type === "delta") return;
    }
    backlog.put(event);
  }
}

/** A line whose calls may stream. */
export abstract class RunLine<O extends LineOptions = LineOptions> extends CallLine<O> {
  /** @internal */
  protected abstract override readonly dialect: RunDialect;

  /** Starts a streaming call. What goes wrong is an event of the run and rejects its `result`; nothing is thrown. */
  run(method: string, params?: unknown, options: CallOptions = {}): Run {
    let cancel = () => {};
    const run = new Run(this.dialect, () => cancel());
    cancel = this.open(RUN, method, params, options, run);
    return run;
  }

  /** @internal */
  protected override began(page: Page, handle: number, word: number, frame: any, text: string): Hearer | undefined {
    if (word !== BEGAN) return super.began(page, handle, word, frame, text);
    const run = new Run(this.dialect, () => this.say(CANCEL, handle));
    // A listener may end the line: the run has to be known by then, and hears what follows.
    page.events.handles.set(handle, run);
    page.events.dispatch("run-started", { run, origin: text, frame });
    return undefined;
  }
}
