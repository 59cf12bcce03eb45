/** The face of Action Cable: a line that subscribes, and what a subscription hears, says and ends with. */
import { dialect } from "../web/action-cable.js";
import type { Hearer } from "../web/page.js";
import { AWAY, CANCEL, CANCELLED, CONFIRMED, DELTA, GAP, LOST, NOTE, PERFORM, REFUSED, REJECTED, RESUMED, SENT, SUBSCRIBE, TIMED_OUT } from "../web/rust.js";
import { Backlog } from "./backlog.js";
import { MoorlineError } from "./error.js";
import { stringify } from "./line.js";
import type { Rules } from "./options.js";
import { ProtocolLine } from "./protocol.js";
import type { ErrorCode, LineOptions, Url } from "./types.js";

export interface ActionCableOptions extends LineOptions {
  protocol?: "action-cable";
  actionCable?: {
    /** Offers AnyCable's extension: sessions and streams continue where they broke off, whispers, presence. Default `false`. */
    anycable?: boolean;
    /** Sorts the keys of identifiers, so that equal parameters are one subscription. Default `false`: their order is the page's, as in Rails. */
    sortKeys?: boolean;
  };
}

/** A channel by its name, by its name and parameters, or an identifier as it is to be sent: JSON in a string. */
export type Identifier = string | { channel: string; [param: string]: unknown };

export interface SubscribeOptions {
  /** AnyCable: also what was sent since then. A date, or milliseconds since 1970. */
  since?: Date | number;
}

export interface PerformOptions {
  /** How long it may wait for a socket, in milliseconds. Default 30000. */
  timeoutMs?: number;
  /** Takes it back, if no socket has it yet. */
  signal?: AbortSignal;
}

/** AnyCable: who is present. */
export interface Presence {
  id: string;
  info?: unknown;
}

/** Event name → `detail`. */
export interface SubscriptionEventMap<Message = any> {
  /** The server has confirmed it. `reconnected`: it was live before, and is again. */
  confirmed: { reconnected: boolean };
  /** It has ended, and not by `unsubscribe`: `subscription.rejected`, `subscription.unconfirmed`, `call.queue-full`, `disposed`. */
  rejected: MoorlineError;
  message: Message;
  /** The line is down. `willReturn`: another attempt follows. */
  away: { willReturn: boolean };
  /** AnyCable: everything that was missed while away has been delivered. */
  resumed: undefined;
  /** What was sent while away is lost: `no-history`, `history-rejected`, `no-answer`. */
  gap: { reason: string };
  /** AnyCable: somebody came, left, or is there. */
  presence: any;
}

/** `waiting`: not confirmed yet. `away`: it was, or the line was up. `ended` is final. */
export type SubscriptionState = "waiting" | "confirmed" | "away" | "ended";

/** The line itself refused it, before Rust was there. */
const REFUSED_EARLY = -1;
/** What readers have not taken; one more message ends the loop with an error. */
const MOST_WAITING = 1000;

type Listener = (detail: never) => void;
type Command = (verb: number, hearer: Hearer | undefined, texts: (string | undefined)[], number?: number, handle?: number) => number;

export class CableSubscription<Message = any> extends EventTarget implements AsyncIterable<Message> {
  /** Built once; messages and commands go by it, whatever becomes of the state behind it. */
  readonly identifier: string;
  #state: SubscriptionState = "waiting";
  #error: MoorlineError | undefined;
  /** Nobody can have begun to listen yet. */
  #fresh = true;
  readonly #handle: number;
  readonly #command: Command;
  readonly #heard = new Set<string>();
  /** Lists that are replaced, not changed: whoever is being told goes on with the one that it has. */
  readonly #direct = new Map<string, readonly Listener[]>();
  readonly #backlogs = new Set<Backlog<Message>>();

  /** @internal */
  constructor(identifier: string, since: number | undefined, command: Command) {
    super();
    this.identifier = identifier;
    this.#command = command;
    queueMicrotask(() => (this.#fresh = false));
    this.#handle = command(SUBSCRIBE, this, [identifier], since);
  }

  get state(): SubscriptionState {
    return this.#state;
  }

  /**
   * Calls the channel's method of that name. Waits for the confirmation; settles when a socket has it, which is all that
   * can be known. Performs are sent in order, and the server may carry them out in another. Rejects with `call.timeout`,
   * `call.queue-full`, `call.too-large`, `call.aborted`, `call.lost`, `subscription.rejected`, `subscription.unconfirmed`,
   * `subscription.ended`, `send.unsupported`, `disposed`.
   */
  perform(action: string, data: object = {}, options?: PerformOptions): Promise<void> {
    return this.#say(undefined, { ...data, action }, options);
  }

  /** As `perform`, without an action: for the channel's `receive`. */
  send(data: object, options?: PerformOptions): Promise<void> {
    return this.#say(undefined, data, options);
  }

  /** AnyCable: tells the other subscribers, past the application. Rejects as `perform`, and with `call.unsupported`. */
  whisper(data: unknown, options?: PerformOptions): Promise<void> {
    return this.#say("whisper", data, options);
  }

  /** AnyCable: is present from now on, after a reconnect too. */
  join(presence: Presence, options?: PerformOptions): Promise<void> {
    return this.#say("join", presence, options);
  }

  /** AnyCable: is present no more. */
  leave(options?: PerformOptions): Promise<void> {
    return this.#say("leave", undefined, options);
  }

  /** AnyCable: asks who is present; the answer is a `presence` event. */
  presence(options?: PerformOptions): Promise<void> {
    return this.#say("presence", undefined, options);
  }

  /** Ends it, here and at the server. Nothing is heard of it afterwards; what waits to be said ends with it. */
  unsubscribe(): void {
    this.#quietly(() => this.#command(CANCEL, undefined, [], undefined, this.#handle));
  }

  /** Messages from now on. The loop ends with the subscription, and with `subscription.overflow` where its body is too slow. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    const backlog = new Backlog<Message>();
    if (this.#state === "ended") backlog.end(this.#error);
    else this.#backlogs.add(backlog);
    const loop = backlog.read();
    const leave = loop.return!;
    loop.return = () => {
      this.#backlogs.delete(backlog);
      return leave();
    };
    return loop;
  }

  /** Calls `listener` with the detail of each such event. Returns what ends it. */
  on<Name extends keyof SubscriptionEventMap>(type: Name, listener: (detail: SubscriptionEventMap<Message>[Name]) => void): () => void {
    const others = () => (this.#direct.get(type) ?? []).filter((other) => other !== listener);
    this.#direct.set(type, [...others(), listener as Listener]);
    return () => void this.#direct.set(type, others());
  }

  override addEventListener<Name extends keyof SubscriptionEventMap>(
    type: Name,
    listener: ((event: CustomEvent<SubscriptionEventMap<Message>[Name]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  override addEventListener(
    type: string,
    listener: ((event: never) => void) | EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    // An event is made only of what somebody listens for.
    this.#heard.add(type);
    super.addEventListener(type, listener as EventListener, options);
  }

  /** @internal */
  told(word: number, frame: any, number: number, text: string): boolean {
    if (word === DELTA) {
      this.#tell("message", frame.message);
      for (const backlog of this.#backlogs) {
        if (backlog.waiting.length < MOST_WAITING) backlog.put(frame.message);
        else {
          backlog.end(new MoorlineError("subscription.overflow", `${MOST_WAITING} messages wait to be read`));
          this.#backlogs.delete(backlog);
        }
      }
      return false;
    }
    const error = word === CANCELLED ? undefined : endedBy(word, frame, text);
    const over = !!error || word === CANCELLED;
    // What comes before `subscribe` has returned comes before anybody can listen.
    if (this.#fresh) queueMicrotask(() => this.#hear(word, frame, number, text, over, error));
    else this.#hear(word, frame, number, text, over, error);
    return over;
  }

  #hear(word: number, frame: any, number: number, text: string, over: boolean, error: MoorlineError | undefined): void {
    if (over) {
      this.#state = "ended";
      this.#error = error;
      for (const backlog of this.#backlogs) backlog.end(error);
      this.#backlogs.clear();
      if (error) this.#tell("rejected", error);
    } else if (word === CONFIRMED) {
      this.#state = "confirmed";
      this.#tell("confirmed", { reconnected: number === 1 });
    } else if (word === AWAY) {
      this.#state = "away";
      this.#tell("away", { willReturn: number === 1 });
    } else if (word === GAP) this.#tell("gap", { reason: text });
    else if (word === RESUMED) this.#tell("resumed", undefined);
    else if (word === NOTE) this.#tell("presence", frame.message);
  }

  #tell(type: string, detail: unknown): void {
    if (this.#heard.has(type)) this.dispatchEvent(new CustomEvent(type, { detail }));
    for (const listener of this.#direct.get(type) ?? []) {
      try {
        (listener as (detail: unknown) => void)(detail);
      } catch (error) {
        // What one listener throws is reported like that of any event, and stops nobody else.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #say(kind: string | undefined, data: unknown, { timeoutMs, signal }: PerformOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const text = data === undefined ? undefined : stringify(data);
      if (signal?.aborted) throw endedBy(CANCELLED, undefined, "");
      let handle = 0;
      const cancel = () => this.#quietly(() => this.#command(CANCEL, undefined, [], undefined, handle));
      const told: Hearer["told"] = (word, frame, _number, code) => {
        signal?.removeEventListener("abort", cancel);
        if (word === SENT) resolve();
        else reject(endedBy(word, frame, code));
        return true;
      };
      // No whole number is no limit.
      const limit = timeoutMs === undefined ? undefined : String(Math.max(0, Math.ceil(timeoutMs)));
      signal?.addEventListener("abort", cancel, { once: true });
      handle = this.#command(PERFORM, { told }, [text, kind, limit], this.#handle);
    });
  }

  #quietly(act: () => void): void {
    try {
      act();
    } catch {
      // The line has ended, and everything with it.
    }
  }
}

/** The error that a word means; `undefined` for one that ends nothing. */
function endedBy(word: number, frame: any, text: string): MoorlineError | undefined {
  switch (word) {
    case REFUSED:
      return new MoorlineError("subscription.rejected", "the server rejected the subscription", { cause: frame });
    case TIMED_OUT:
      return new MoorlineError("call.timeout", "no socket had it in time; it was not sent", { retryable: true });
    case LOST:
      return new MoorlineError("call.lost", "the line ended before it was sent", { retryable: true });
    case CANCELLED:
      return new MoorlineError("call.aborted", "the page did not want it any more");
    case REFUSED_EARLY:
      return frame;
    case REJECTED:
      return new MoorlineError(text as ErrorCode, ENDS[text] ?? text, { retryable: text === "call.queue-full" });
    default:
      return undefined;
  }
}

const ENDS: Record<string, string> = {
  "subscription.unconfirmed":
    "the server has been asked four times in 15 s and says nothing: there is no such channel (its name is that of a class, with capitals), its `subscribed` raised an error, or all of the server's threads are busy; its log says which",
  "subscription.ended": "the subscription has ended",
  "call.queue-full": "as much as may wait does (queue.maxMessages, queue.maxBytes)",
  "call.too-large": "longer or nested deeper than the server takes, which would drop it in silence",
  "call.unsupported": "the server does not speak AnyCable's extension, or was not asked to (actionCable.anycable)",
  disposed: "disposed",
  internal: "a bug of moorline's ended the line",
};

/** Keys in the order of their code units, at every depth, so that equal parameters are one identifier. */
function sorted(value: unknown): unknown {
  // What says by itself how it is written (a Date, a URL) is left to say it.
  if (value === null || typeof value !== "object" || (value as { toJSON?: unknown }).toJSON) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sorted(inner)]));
}

export class Moorline extends ProtocolLine<ActionCableOptions> {
  /** @internal */
  static override rules: Rules = { protocol: ["action-cable"], actionCable: { anycable: [true, false], sortKeys: [true, false] } };
  /** @internal */
  protected override readonly dialect = dialect;
  readonly #sorts: boolean;

  /**
   * Nothing is dialled. Throws `config.invalid` or `config.url`.
   * @param url a string, a `URL`, or a function that is called before every attempt
   */
  constructor(url: Url, options: ActionCableOptions = {}) {
    super(url, options);
    this.#sorts = !!options.actionCable?.sortKeys;
  }

  /**
   * Subscribes as soon as the line is up, and again whenever it comes back, until `unsubscribe`. Equal identifiers share one
   * subscription of the server's. Throws `send.unsupported`, `disposed`.
   */
  subscribe<Message = any>(identifier: Identifier, { since }: SubscribeOptions = {}): CableSubscription<Message> {
    const given = typeof identifier === "string" && !identifier.startsWith("{") ? { channel: identifier } : identifier;
    const text = typeof given === "string" ? given : stringify(this.#sorts ? sorted(given) : given);
    return new CableSubscription<Message>(text, since === undefined ? undefined : +since / 1000, (verb, hearer, texts, number, handle = this.nextHandle()) => {
      const refused = (error: MoorlineError) => hearer?.told(REFUSED_EARLY, error, 0, "");
      this.act((page) => page.command(verb, handle, hearer, texts, number), refused);
      return handle;
    });
  }
}
