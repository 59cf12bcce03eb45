/** The entry for streams of events that are resumed by a cursor (docs/protocols/yoi-observation.md). */
import { dialect } from "../web/observation.js";
import { AWAY, CANCEL, CANCELLED, CONFIRMED, DELTA, GAP, NOTE, OBSERVE, RESTARTED, RESUMED } from "../web/rust.js";
import { Backlog } from "./backlog.js";
import { callError, STILLBORN } from "./calls.js";
import { MoorlineError } from "./error.js";
import { stringify } from "./line.js";
import type { Rules } from "./options.js";
import { ProtocolLine } from "./protocol.js";
import type { LineOptions, Url } from "./types.js";

export interface ObservationOptions extends LineOptions {
  protocol?: "observation";
}

export interface ObserveOptions {
  /** Begin behind this one: what `Observation.cursor` was when the page kept what it knew. Without it, all that is stored comes. */
  cursor?: string | undefined;
}

export type ObservationEvent =
  /** What the observed one did; `event` and `data` are the server's. */
  | { type: "event"; event: string; data: any; cursor: string; frame: any }
  /** The stream is there for the first time. */
  | { type: "confirmed" }
  /** The connection is lost; `returns` says whether it is tried again. */
  | { type: "away"; returns: boolean }
  /** It goes on behind the last event that was heard. */
  | { type: "resumed" }
  /** It begins at its beginning: all that was heard before comes again, or does not count. */
  | { type: "restarted" }
  /** Something is missing for good, or may be: `cursor-expired`, `cursor-malformed`, `restarted`, `slow-consumer`. */
  | { type: "gap"; reason: string }
  /** The server's last word on a connection that it drops. */
  | { type: "diagnostic"; code: string; message: string };

export interface TranscriptItem {
  sequence: number;
  role: string;
  content: string;
  event_id: string;
  [field: string]: unknown;
}

/** What a reader has not taken yet. From half of it on, text joins the text before it; more than this are one gap. */
const MOST_WAITING = 10_000;

export class Observation implements AsyncIterable<ObservationEvent> {
  #cursor: string | undefined;
  readonly #backlog = new Backlog<ObservationEvent>();
  readonly #stop: () => void;

  /** @internal */
  constructor(cursor: string | undefined, stop: () => void) {
    this.#cursor = cursor;
    this.#stop = stop;
  }

  /** Behind which event the stream can be taken up again: of the newest that a reader took. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** Ends it. The line stays. */
  close(): void {
    if (!this.#backlog.over) this.#stop();
  }

  /**
   * Events from the first that nobody has taken. Throws what ended it, where that was an error. Leaving the loop leaves the
   * observation as it is. Loops at the same time share the events: each goes to one of them.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ObservationEvent> {
    return this.#backlog.read((event) => {
      if (event.type === "event") this.#cursor = event.cursor;
    });
  }

  /** @internal */
  told(word: number, frame: any, number: number, text: string): boolean {
    switch (word) {
      case DELTA: {
        const { payload, cursor } = frame.envelope;
        this.#put({ type: "event", event: payload?.event, data: payload?.data, cursor, frame });
        return false;
      }
      case CONFIRMED:
        this.#put({ type: "confirmed" });
        return false;
      case AWAY:
        this.#put({ type: "away", returns: number === 1 });
        return false;
      case RESUMED:
        this.#put({ type: "resumed" });
        return false;
      case RESTARTED:
        this.#put({ type: "restarted" });
        return false;
      case GAP:
        this.#put({ type: "gap", reason: text });
        return false;
      case NOTE:
        this.#put({ ...frame.diagnostic, type: "diagnostic" });
        return false;
      case CANCELLED:
        return this.#backlog.end();
      default:
        return this.#backlog.end(callError(word, frame, number, text, { error: diagnosis }));
    }
  }

  #put(event: ObservationEvent): void {
    const { waiting } = this.#backlog;
    const last = waiting.at(-1);
    if (waiting.length >= MOST_WAITING) this.#backlog.waiting = [{ type: "gap", reason: "slow-consumer" }];
    else if (waiting.length >= MOST_WAITING / 2 && event.type === "event" && last?.type === "event" && isText(event) && last.event === event.event) {
      waiting.pop();
      event = { ...event, data: { ...event.data, text: `${last.data?.text}${event.data?.text}` } };
    }
    this.#backlog.put(event);
  }
}

/** Text that is appended to what stands before it. */
const isText = ({ event }: { event: string }) => /^(text|thinking)_delta$/.test(event);

const diagnosis = (frame: any) => ({ message: frame?.diagnostic?.message ?? "refused", cause: frame?.diagnostic, retryable: false });

export class Moorline extends ProtocolLine<ObservationOptions> {
  /** @internal */
  static override rules: Rules = { protocol: ["observation"] };
  /** @internal */
  protected override readonly dialect = dialect;
  readonly #base: Url;
  #observed = false;
  #wanted = false;

  /**
   * @param url of one observed thing, as `ws://host/api/runtimes/r/workers/w/`; paths are looked up under it
   */
  constructor(url: Url, options: ObservationOptions = {}) {
    super(url, options);
    this.#base = url;
  }

  /** As of every line; it dials once there is something to observe. */
  override connect(): void {
    this.#wanted = true;
    if (this.#observed) super.connect();
  }

  override disconnect(code?: number, reason?: string): void {
    this.#wanted = false;
    super.disconnect(code, reason);
  }

  /** A server that is only observed drops a socket on which it hears a word: throws `send.unsupported`. */
  override send(): never {
    throw new MoorlineError("send.unsupported", "an observed stream takes no frames; its commands go by HTTP");
  }

  /**
   * Observes the stream at `path` under the line's URL, one at a time (`observe.busy`). Nothing is lost or doubled in
   * silence: what cannot be resumed is told as `gap` and `restarted`.
   * @param path default `"events/ws"`
   */
  observe(path = "events/ws", { cursor }: ObserveOptions = {}): Observation {
    const handle = this.nextHandle();
    const observation = new Observation(cursor, () => {
      this.#observed = false;
      this.act((page) => page.command(CANCEL, handle));
    });
    const worker = /\/workers\/([^/?#]+)/.exec(String(typeof this.#base === "function" ? "" : this.#base))?.[1];
    const target = worker === undefined ? undefined : decodeURIComponent(worker);
    this.act(
      (page) => page.command(OBSERVE, handle, observation, [path, cursor, target]),
      (error) => observation.told(STILLBORN, error, 0, ""),
    );
    this.#observed = true;
    if (this.#wanted) super.connect();
    return observation;
  }

  /** Gives the observed worker something to do. Rejects with `call.remote` where it will not; the server's answer is the `cause`. */
  input(content: string, kind: "user" | "system" = "user"): Promise<any> {
    return this.#ask("input", { kind, content });
  }

  /** Stops what it does. Asking twice does no harm. */
  cancel(reason: string | null = null): Promise<any> {
    return this.#ask("cancel", { reason });
  }

  /** Ends it. Asking twice does no harm. */
  stop(reason: string | null = null): Promise<any> {
    return this.#ask("stop", { reason });
  }

  /** What was said, oldest first, page by page (a server gives 200 items at the most). `last` begins so many before the end. */
  async *transcript({ last, limit = 200 }: { last?: number; limit?: number } = {}): AsyncGenerator<TranscriptItem, void, undefined> {
    let start: number | undefined = 0;
    if (last !== undefined) {
      const { total_items } = await this.#ask("transcript?start=0&limit=1");
      start = Math.max(0, total_items - last);
    }
    while (start !== undefined) {
      const page: any = await this.#ask(`transcript?start=${start}&limit=${limit}`);
      yield* page.items;
      // A server that does not move on is not asked for ever.
      start = page.next_start > start ? page.next_start : undefined;
    }
  }

  async #ask(path: string, body?: unknown): Promise<any> {
    const text = body === undefined ? undefined : stringify(body);
    const given = await (typeof this.#base === "function" ? this.#base() : this.#base);
    const base = new URL(String((given as { url?: unknown }).url ?? given), globalThis.location?.href);
    base.protocol = base.protocol.replace("ws", "http");
    let response: Response;
    let answer: any;
    let said: string;
    try {
      const headers = { "content-type": "application/json" };
      response = await fetch(new URL(path, base), text === undefined ? {} : { method: "POST", headers, body: text });
      const copy = response.clone();
      // Some refusals are plain text.
      answer = await response.json().catch(() => undefined);
      said = answer === undefined ? await copy.text() : "";
    } catch (cause) {
      throw new MoorlineError("call.lost", `no answer to ${path}`, { cause, retryable: body === undefined });
    }
    // A refusal may come as a success with its state in the body.
    if (response.ok && answer && answer.state !== "rejected" && answer.state !== "unsupported") return answer;
    const why = answer?.message ?? answer?.diagnostics?.[0]?.message ?? said.slice(0, 200);
    const retryable = [502, 503, 504].includes(response.status) && body === undefined;
    throw new MoorlineError("call.remote", `${response.status} ${why}`, { cause: answer ?? said, retryable });
  }
}
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
