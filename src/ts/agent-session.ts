/**
 * The session layer of agent servers over Action Cable: a channel that says `user_message`, `agent_message`, `session_changed`,
 * `sessions_list` and `error`, and hears `speak`, `create_session`, `switch_session` and `list_sessions`. It keeps what may be
 * shown. The subscription under it keeps its identifier, whichever session the channel is in.
 */
import type { CableSubscription, Moorline } from "./cable.js";

export type SessionId = number | string;

/** Something that was said. */
export interface Said {
  readonly role: "user" | "assistant";
  readonly content: string;
  /** Spoken here; the server has not repeated it yet. */
  readonly pending?: boolean;
  /** An answer that grows. */
  readonly streaming?: boolean;
  /** What became of an answer that did not end well. */
  readonly outcome?: string;
}

export interface AgentSessionOptions {
  /** The channel. Default `"SessionChannel"`. */
  channel?: string;
  /** Which session to begin in. Default: the server's choice. */
  sessionId?: SessionId;
  /** More parameters of the channel. */
  params?: Record<string, unknown>;
  /** How many messages are kept. Default 1000. */
  limit?: number;
  /** The place of a message, where the server numbers its messages: broadcasts are not ordered. */
  order?(message: any): number | undefined;
}

/** Event name → `detail`. */
export interface AgentSessionEventMap {
  /** What may be shown has changed. */
  change: readonly Said[];
  /** The channel is in this session. */
  session: { id: SessionId };
  /** The server's answer to `listSessions`. */
  sessions: readonly any[];
  /** The server's `error`. */
  refused: { message: string };
  /** A message of any other type. */
  note: any;
  /**
   * What was spoken here and is in none of the histories that were asked for (three within 21 s of a socket's having it; none where
   * the session is not known): whether the server has heard it cannot be known. It stays `pending`, and is not said again.
   */
  unrepeated: readonly Said[];
}

type Entry = { -readonly [Field in keyof Said]: Said[Field] } & {
  place?: number | undefined;
  run?: unknown;
  /** A socket has it: how often the history was asked for since, and when it is to be asked for next. */
  asked?: number;
  due?: number;
};
/** An answer that grows: the text of the deltas before `next`, and those that came too early. */
interface Growing {
  entry: Entry;
  next: number;
  early: Map<number, string>;
}

const ROLES: Record<string, Said["role"]> = { user_message: "user", agent_message: "assistant" };
/** Answers that grow at once, those that have ended, and deltas of one that came too early. */
const MOST = 256;
/**
 * A channel is not told when the stream that it has moved to is in force, and what is broadcast before is lost to it. So what is
 * spoken and not repeated for so long makes the layer ask for the history, this often, each time after twice the wait.
 */
const UNREPEATED_MS = 3000;
const ASKS = 3;

export class AgentSession extends EventTarget {
  /** The subscription underneath: its events tell of `confirmed`, `away`, `gap` and `rejected`. */
  readonly subscription: CableSubscription;
  readonly #limit: number;
  readonly #order: AgentSessionOptions["order"];
  /** The session that the identifier leads to, and the one that the channel is in. */
  readonly #home: SessionId | undefined;
  #current: SessionId | undefined;
  #entries: Entry[] = [];
  #growing = new Map<unknown, Growing>();
  #ended = new Set<unknown>();
  /** Answers of the session that was left: what is still said of them is nothing to this one. */
  #left = new Set<unknown>();
  #sessions: readonly any[] = [];
  /** What comes is history: transmitted in order, and older than what is spoken here meanwhile. */
  #history = true;
  /** If the next message comes before the confirmation, it begins the history anew. */
  #stale = false;
  /** The channel has told its history, and AnyCable may tell the end of it once more. */
  #twice = false;
  /** The channel has fallen back to where its identifier leads, and has to go where it was: what waits to hear whether it is. */
  #returning: ((back: boolean) => void)[] | undefined;
  /** What was spoken into a session that was left before it was repeated. */
  #late: string[] = [];
  /** The subscription is confirmed. */
  #live = false;
  /** The page's own move to another session is under way, and asking for the history of this one could undo it. */
  #moving = false;
  /** The history was asked for, and has not begun. What the page wants meanwhile waits in `#returning`: it could fall into the move. */
  #asking = false;
  /**
   * The history that was asked for: what was shown before, what it or a broadcast that crosses it may still say once more, and behind
   * what the next belongs, from where it has met something that was shown.
   */
  #again: { old: Set<Entry>; yet: Set<Entry>; last: Entry | undefined } | undefined;
  /** When an answer, and then what crosses it, is not waited for any longer. */
  #until = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(line: Moorline, { channel = "SessionChannel", sessionId, params, limit = 1000, order }: AgentSessionOptions = {}) {
    super();
    this.#limit = limit;
    this.#order = order;
    this.#home = this.#current = sessionId;
    this.subscription = line.subscribe({ channel, ...(sessionId === undefined ? undefined : { session_id: sessionId }), ...params });
    this.subscription.on("message", (message) => this.#hear(message));
    this.subscription.on("away", () => {
      this.#stale = this.#history = true;
      this.#rest();
      if (this.#current !== this.#home) this.#returning ??= [];
      else this.#settle(true);
    });
    this.subscription.on("confirmed", ({ reconnected }) => {
      this.#twice = reconnected && !this.#stale;
      // A restored subscription goes on where it was, and is told what it has missed.
      this.#stale = this.#history = false;
      this.#live = true;
      if (this.#returning) this.#go(this.#current);
      this.#defer(this.#unrepeated());
    });
    for (const type of ["resumed", "gap"] as const) this.subscription.on(type, () => (this.#twice = false));
    this.subscription.on("rejected", () => {
      this.#rest();
      this.#settle(false);
    });
  }

  /** What may be shown, in order. Another array whenever it has changed. */
  get messages(): readonly Said[] {
    return this.#entries;
  }

  /** The session that the channel is in; `undefined` where the server chose and has not said. */
  get sessionId(): SessionId | undefined {
    return this.#current;
  }

  /** The last list that came. */
  get sessions(): readonly any[] {
    return this.#sessions;
  }

  /** Says it, and shows it at once. Settles when a socket has it; rejects as `perform`, and shows it no more. */
  async speak(content: string): Promise<void> {
    const entry: Entry = { role: "user", content, pending: true };
    this.#show(entry, true);
    try {
      await this.#when(() => this.#say("speak", { content }));
      entry.asked = 0;
      this.#defer([entry]);
    } catch (error) {
      this.#entries = this.#entries.filter((other) => other !== entry);
      this.#changed();
      throw error;
    }
  }

  /** A `session` event follows. */
  createSession(): Promise<void> {
    return this.#when(() => this.#move("create_session"));
  }

  /** A `session` event follows, with that session's messages; or `refused`. */
  switchSession(id: SessionId): Promise<void> {
    return this.#when(() => this.#move("switch_session", { session_id: id }));
  }

  /** A `sessions` event follows. */
  listSessions(limit?: number): Promise<void> {
    return this.#when(() => this.#say("list_sessions", limit === undefined ? {} : { limit }));
  }

  /** Stops the answers of this session, where the server can. */
  cancel(): Promise<void> {
    return this.#when(() => this.#say("cancel"));
  }

  /** Unsubscribes. What may be shown stays. */
  end(): void {
    this.subscription.unsubscribe();
    this.#rest();
    this.#settle(false);
  }

  override addEventListener<Name extends keyof AgentSessionEventMap>(
    type: Name,
    listener: ((event: CustomEvent<AgentSessionEventMap[Name]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  override addEventListener(type: string, listener: any, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }

  #say(action: string, data: object = {}): Promise<void> {
    return this.subscription.perform(action, data);
  }

  #move(action: string, data?: object): Promise<void> {
    this.#moving = true;
    return this.#say(action, data);
  }

  /** At once, or when the channel is back in its session: before, it would be said into another. */
  #when(act: () => Promise<void>): Promise<void> {
    const waiting = this.#returning;
    if (!waiting) return act();
    return new Promise((resolve, reject) => {
      waiting.push((back) => (back ? act().then(resolve, reject) : reject(new Error("the session that it was for is gone"))));
    });
  }

  #settle(back: boolean): void {
    const waiting = this.#returning;
    this.#returning = undefined;
    this.#asking = false;
    waiting?.forEach((settle) => settle(back));
  }

  /** Of our own accord: what becomes of it, `session` or `refused` will tell. */
  #go(id: SessionId | undefined): void {
    this.#say("switch_session", { session_id: id }).catch(() => {});
  }

  /** What a socket has and nobody has repeated. */
  #unrepeated(): Entry[] {
    return this.#entries.filter(({ pending, due }) => pending && due !== undefined);
  }

  #defer(entries: Entry[]): void {
    for (const entry of entries) entry.due = performance.now() + UNREPEATED_MS * 2 ** Math.min(ASKS - 1, entry.asked!);
    this.#watch();
  }

  #watch(): void {
    clearTimeout(this.#timer);
    const next = this.#unrepeated().reduce((least, { due }) => Math.min(least, due!), this.#until);
    if (this.#live && next < Infinity) this.#timer = setTimeout(() => this.#look(), Math.max(0, next - performance.now()));
  }

  #look(): void {
    const now = performance.now();
    if (this.#until <= now) {
      this.#until = Infinity;
      this.#again = undefined;
      // Nobody has answered: what waited for it waits no longer.
      if (this.#asking) this.#settle(true);
    }
    const due = this.#unrepeated().filter(({ due }) => due! <= now);
    if (due.length && !this.#returning && !this.#moving) {
      const ask = this.#current !== undefined && due.some(({ asked }) => asked! < ASKS);
      if (ask) {
        this.#asking = true;
        this.#again = undefined;
        this.#until = now + 2 * UNREPEATED_MS;
        this.#returning = [];
        this.#go(this.#current);
      }
      const over = due.filter((entry) => !ask || entry.asked!++ >= ASKS);
      for (const entry of over) delete entry.due;
      if (over.length) this.#tell("unrepeated", over);
    }
    // The answer to a move that nobody has told of by now is not waited for twice.
    if (due.length) this.#moving = false;
    this.#defer(due.filter(({ due }) => due !== undefined));
  }

  /** No subscription: nobody can be asked. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#until = Infinity;
    this.#again = undefined;
    this.#live = this.#moving = this.#asking = false;
  }

  #hear(message: any): void {
    const type = message?.type;
    switch (type) {
      case "session_changed":
        return this.#arrived(message.session_id);
      case "sessions_list":
        this.#sessions = message.sessions ?? [];
        return this.#tell("sessions", this.#sessions);
      case "error":
        this.#moving = false;
        if (this.#asking) this.#settle(true);
        else if (this.#returning) this.#lost();
        return this.#tell("refused", { message: message.message });
      case "user_message":
      case "agent_message":
      case "agent_start":
      case "agent_delta":
      case "agent_partial":
        // History of the session that the identifier leads to, or of one that was left.
        if ((this.#returning && !this.#asking) || (message.session_id !== undefined && this.#current !== undefined && message.session_id !== this.#current)) return;
        if (this.#stale) this.#clear(({ pending }) => pending);
        this.#stale = false;
        if (message.run !== undefined) return this.#answered(type, message);
        if (this.#again && this.#known(type, message)) return;
        if (this.#twice && this.#entries.some(({ role, content }) => role === ROLES[type] && content === message.content)) return;
        return type === "user_message" ? this.#repeated(message) : this.#said(message);
      default:
        this.#tell("note", message);
    }
  }

  #arrived(id: SessionId): void {
    const changed = id !== this.#current;
    if (this.#asking && !changed) {
      const old = this.#entries.filter(({ pending }) => !pending);
      this.#again = { old: new Set(old), yet: new Set(old), last: undefined };
      this.#history = false;
      this.#until = performance.now() + 2 * UNREPEATED_MS;
      this.#settle(true);
      return this.#watch();
    }
    this.#again = undefined;
    this.#moving = this.#stale = false;
    this.#history = true;
    this.#current = id;
    if (changed) {
      // Their repetition may come yet, and belongs to the session that was left.
      this.#late = this.#entries.flatMap(({ pending, content }) => (pending ? [content] : [])).slice(-MOST);
      this.#left = new Set([...this.#ended, ...this.#growing.keys()]);
    }
    this.#clear(({ pending }) => pending && !changed);
    this.#changed();
    if (changed) this.#tell("session", { id });
    this.#settle(true);
  }

  /** The session that the channel was in is no more: it stays where its identifier leads. */
  #lost(): void {
    this.#current = undefined;
    this.#settle(false);
    if (this.#home !== undefined) this.#go(this.#home);
  }

  #clear(but: (entry: Entry) => unknown): void {
    this.#entries = this.#entries.filter(but);
    this.#growing.clear();
    this.#ended.clear();
  }

  /** What a user said, here or elsewhere. */
  #repeated(message: any): void {
    const { content } = message;
    const late = this.#late.indexOf(content);
    if (late >= 0 && !this.#history && !this.#again) {
      this.#late.splice(late, 1);
      return;
    }
    const own = this.#entries.find((entry) => entry.pending && entry.content === content);
    if (!own) return this.#said(message);
    delete own.pending;
    own.place = this.#order?.(message);
    const settled = this.#history || own.place !== undefined;
    this.#history = false;
    // Its place is the one at which it was spoken, unless older messages have come since.
    if (!settled) return this.#changed();
    this.#entries.splice(this.#entries.indexOf(own), 1);
    this.#show(own);
  }

  /**
   * Whether what comes while a history is told once more stands there already. It takes away nothing that is shown; what a broadcast
   * that crosses it says as well, before or after, stands once.
   */
  #known(type: string, message: any): boolean {
    const again = this.#again!;
    const place = this.#order?.(message);
    const same = ({ role, ...entry }: Entry) =>
      role === ROLES[type] && (place !== undefined && entry.place !== undefined ? entry.place === place : entry.content === message.content);
    const entry = this.#entries.find((entry) => again.yet.has(entry) && same(entry)) ?? this.#entries.find((entry) => entry.pending && same(entry));
    if (!entry) return false;
    const settles = entry.pending;
    if (settles) {
      delete entry.pending;
      entry.place = place;
      again.yet.add(entry);
    } else again.yet.delete(entry);
    this.#met(entry, settles);
    // Spoken since it was asked for, and so behind the end of it.
    if (settles && !entry.asked) this.#again = undefined;
    this.#changed();
    return true;
  }

  /** The history that is told once more has come to this entry. */
  #met(entry: Entry, settled = false): void {
    const again = this.#again!;
    const { old, last } = again;
    const all = this.#entries;
    const at = all.indexOf(entry);
    const end = last ? all.indexOf(last) : -1;
    if (old.has(entry)) {
      // What it told before it came to anything that was shown is older than that.
      const older = last ? [] : all.filter((other) => !other.pending && !old.has(other));
      this.#entries = all.filter((other) => !older.includes(other));
      this.#entries.splice(this.#entries.indexOf(entry), 0, ...older);
      if (at > end) again.last = entry;
    } else if (last && at < end && (settled || all.slice(at, end).some((other) => old.has(other)))) {
      all.splice(at, 1);
      all.splice(end, 0, entry);
      again.last = entry;
    } else if (last && at > end) again.last = entry;
  }

  #said(message: any): void {
    this.#show({ role: ROLES[message.type]!, content: message.content, place: this.#order?.(message) });
  }

  /** A word about an answer that grows. */
  #answered(type: string, message: any): void {
    const { run, seq = 0, content = "" } = message;
    if (type !== "agent_message") this.#history = false;
    // A broadcast may come behind the one that ended its answer.
    if (this.#left.has(run) || (this.#ended.has(run) && type !== "agent_message")) return;
    let growing = this.#growing.get(run);
    if (!growing) {
      const shown = this.#entries.find((entry) => entry.run === run);
      growing = { entry: shown ?? { role: "assistant", content: "", streaming: true, run, place: this.#order?.(message) }, next: 1, early: new Map() };
      if (this.#growing.size < MOST) this.#growing.set(run, growing);
      if (!shown) this.#show(growing.entry);
    }
    const { entry, early } = growing;
    if (type === "agent_message") {
      // The end has the whole text, whatever came of its pieces.
      entry.content = content;
      delete entry.streaming;
      if (message.outcome) entry.outcome = message.outcome;
      this.#growing.delete(run);
      this.#ended.add(run);
      if (this.#ended.size > MOST) this.#ended.delete(this.#ended.values().next().value);
      if (this.#again) this.#met(entry);
    } else if (type === "agent_partial" && seq >= growing.next - 1) {
      entry.content = content;
      growing.next = seq + 1;
    } else if (type === "agent_delta" && seq >= growing.next && early.size < MOST) early.set(seq, content);
    for (let text; (text = early.get(growing.next)) !== undefined; growing.next++) {
      entry.content += text;
      early.delete(growing.next);
    }
    this.#changed();
  }

  /**
   * Puts it where it belongs: by the server's numbers; as history, before what was spoken here since; else at the end, where
   * an answer to nothing is the answer to what a user says next: one broadcast has overtaken the other.
   */
  #show(entry: Entry, spoken = false): void {
    const all = this.#entries;
    const { place } = entry;
    let at = all.length;
    if (place !== undefined) {
      const behind = all.findIndex((other) => other.place !== undefined && other.place > place);
      if (behind >= 0) at = behind;
    } else if (this.#again?.last && !spoken) at = all.indexOf(this.#again.last) + 1;
    else if ((this.#history || this.#again) && !spoken) while (at > 0 && all[at - 1]!.pending) at--;
    else if (entry.role === "user" && !spoken && all[at - 1]?.role === "assistant" && all[at - 2]?.role !== "user") at--;
    all.splice(at, 0, entry);
    if (this.#again && !spoken) {
      this.#again.yet.add(entry);
      if (this.#again.last) this.#again.last = entry;
    }
    if (all.length > this.#limit) {
      const [gone] = all.splice(0, 1);
      this.#again?.old.delete(gone!);
      this.#again?.yet.delete(gone!);
    }
    this.#changed();
  }

  #changed(): void {
    this.#entries = [...this.#entries];
    this.#tell("change", this.#entries);
  }

  #tell(type: keyof AgentSessionEventMap, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
