/** The entry for Hermes agent gateways (docs/protocols/hermes.md). */
import { dialect } from "../web/hermes.js";
import type { Hearer, Page } from "../web/page.js";
import { CALLED, LOST, REPLY, RESULT, SENT } from "../web/rust.js";
import { callError, type CallOptions, type Handler } from "./calls.js";
import { MoorlineError } from "./error.js";
import { stringify } from "./line.js";
import type { Rules } from "./options.js";
import { type Run, RunLine } from "./run.js";
import type { LineOptions } from "./types.js";

export interface HermesOptions extends LineOptions {
  protocol?: "hermes";
}

/** What the agent asks its user. It outlives a lost line, and is answered by `answer` or not at all. */
export interface HermesQuestion {
  /** `approval`, `clarify`, `sudo`, `secret`, or what else a newer gateway asks. */
  readonly kind: string;
  /** What the gateway says of it: `command` and `choices`, `question`, `prompt`, … */
  readonly payload: any;
  readonly frame: unknown;
  /** Aborted when nobody waits for an answer any more. */
  readonly signal: AbortSignal;
  /**
   * A text: the choice of an approval (`once`, `session`, `always`, `deny`), the answer to a clarify question, the password or
   * the value. An object goes to the gateway as it is. Settles with what the gateway says of the answer, where it says
   * something (`{status: "expired"}`, `{resolved: 0}`); rejects with `call.remote`, `call.lost`, and with `call.aborted` where
   * nobody waits any more.
   */
  answer(value: unknown): Promise<unknown>;
}

/** What a user is asked; other calls of the gateway need a function. */
const KINDS = /^(approval|clarify|sudo|secret|setup_choose|vault\..+)$/;

export class Moorline extends RunLine<HermesOptions> {
  /** @internal */
  static override rules: Rules = { protocol: ["hermes"] };
  /** @internal */
  protected override readonly dialect = dialect;
  readonly #handled = new Map<string, Handler>();
  readonly #questions = new Set<HermesQuestion>();

  /** The questions that nobody has answered. Each was the detail of an event `hermes-question`. */
  get questions(): readonly HermesQuestion[] {
    return [...this.#questions];
  }

  /**
   * Starts a turn, by `prompt.submit`. After a loss or a reload the turn is known again by its prompt; the line never sends a
   * prompt twice.
   */
  override run(method: string, params?: unknown, options: CallOptions = {}): Run {
    const text = (params as { text?: unknown } | undefined)?.text;
    const prompt = method === "prompt.submit" && typeof text === "string" ? { idempotencyKey: text.trim() } : undefined;
    return super.run(method, params, { ...options, ...prompt });
  }

  /**
   * Answers the gateway's questions of this kind (`approval`, `clarify`, …) or its calls of this method, instead of
   * whoever did before; then there is no `hermes-question`. What it may return is what `HermesQuestion.answer` takes. Returns
   * what ends it.
   */
  override handle(method: string, handler: Handler): () => void {
    this.#handled.set(method, handler);
    const end = super.handle(method, async (params, call) => said(call.frame, await handler(params, call)));
    return () => {
      if (this.#handled.get(method) === handler) this.#handled.delete(method);
      end();
    };
  }

  /** @internal */
  protected override began(page: Page, handle: number, word: number, frame: any, text: string): Hearer | undefined {
    if (word !== CALLED) return super.began(page, handle, word, frame, text);
    const { method: kind, params: payload } = dialect.called!(frame);
    if (this.#handled.has(kind) || !KINDS.test(kind)) return super.began(page, handle, word, frame, text);
    const over = new AbortController();
    let settle: { resolve(value: unknown): void; reject(error: MoorlineError): void } | undefined;
    const question: HermesQuestion = {
      kind,
      payload,
      frame,
      signal: over.signal,
      answer: (value) =>
        new Promise((resolve, reject) => {
          if (over.signal.aborted || settle) return reject(new MoorlineError("call.aborted", "nobody waits for an answer"));
          const text = stringify(said(frame, value));
          settle = { resolve, reject };
          this.act((page) => page.command(REPLY, handle, undefined, [text]), reject);
        }),
    };
    this.#questions.add(question);
    queueMicrotask(() => {
      if (!over.signal.aborted) page.events.dispatch("hermes-question", question);
    });
    return {
      told: (word, frame, number, text) => {
        this.#questions.delete(question);
        over.abort();
        if (word === RESULT) settle?.resolve(dialect.result(frame));
        else if (word === SENT) settle?.resolve(undefined);
        else {
          const lost = new MoorlineError("call.aborted", "nobody waits for an answer any more");
          settle?.reject(callError(word, frame, word === LOST ? 0 : number, text, dialect) ?? lost);
        }
        return true;
      },
    };
  }
}

/** An answer in the gateway's words: the parameters of a call up to version 0.19, a result from 0.20 on. */
function said(frame: any, value: unknown): unknown {
  const { method: kind, params } = dialect.called!(frame) as { method: string; params: any };
  const event = frame.method === "event";
  const id = event && params?.request_id !== undefined ? { request_id: params.request_id } : undefined;
  if (value !== null && typeof value === "object") return { ...id, ...value };
  if (kind === "approval") return { choice: value };
  if (!event && kind === "clarify") return { answers: { [params?.questions?.[0]?.qid]: value } };
  const name = (event && { clarify: "answer", sudo: "password", "terminal.read": "text" }[kind]) || "value";
  return { ...id, [name]: value };
}

export type { CallOptions, Handler } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type { Run, RunEvent, RunStarted } from "./run.js";
export type * from "./types.js";
