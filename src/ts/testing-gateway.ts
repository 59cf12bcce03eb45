/**
 * A gateway inside the page: the Nexus world with its announcements and acknowledged delivery, as protocols/nexus-world.md and
 * protocols/delivery.md have it, and everything that can go wrong on the way there. It knows nothing of moorline.
 */
import { type Far, type Link, socketClass, type Way } from "./testing-socket.js";

export type TestFrame = { type?: unknown; [field: string]: unknown };

export interface TestGatewayOptions {
  /** Whether it offers acknowledged delivery. Default `true`. */
  delivery?: boolean;
  /** How many messages may be out without an acknowledgement. Default 64. */
  window?: number;
  /** Whether it answers `ping`, and says so. Default `true`. */
  ping?: boolean;
  /** How many frames of a session's feed it keeps. Default 1000. */
  keep?: number;
  /** How long it waits for `session-resume` before it greets, in milliseconds. Default 50. */
  greetMs?: number;
  /** How long it waits before it acknowledges less than a quarter of the window, in milliseconds. Default 50. */
  ackMs?: number;
  /** Which of the subprotocols that a page offers it takes. Default: the first. */
  subprotocol?(offered: readonly string[]): string;
}

interface Session {
  token: string;
  clientId: string;
  /** Newest number of the feed. */
  newest: number;
  /** The newest frames of it, with their numbers. */
  kept: { seq: number; frame: TestFrame }[];
  /** By stream: the newest number that was taken. */
  streams: Map<string, number>;
}

/** One socket, from the gateway's side. */
export interface TestConnection {
  readonly url: string;
  readonly protocols: readonly string[];
  /** Once it has been greeted or resumed. */
  readonly clientId: string | undefined;
  readonly stream: string | undefined;
  /** Sends a frame without a number to this one alone. */
  say(frame: unknown): void;
  close(code?: number, reason?: string): void;
}

export type TestHandler = (frame: TestFrame, connection: TestConnection) => void;

/** See `testGateway`. */
export class TestGateway {
  /** Every frame and text that came in, as it came. */
  received: unknown[] = [];
  /** The page's own messages, each when it was taken, without its number; texts and bytes as well, if it sends such. */
  taken: TestFrame[] = [];
  readonly #options: Required<TestGatewayOptions>;
  readonly #way: Way = { delayMs: 0, isHeld: false, links: new Set() };
  readonly #handlers = new Map<string, Set<TestHandler>>();
  readonly #sessions = new Map<string, Session>();
  readonly #greeted = new Set<(connection: TestConnection) => void>();
  readonly #open = new Set<Connection>();
  #before: typeof WebSocket | undefined;
  #socket: typeof WebSocket | undefined;
  #epochs = 1;
  #names = 0;
  #isRefusing = false;
  #isDown = false;
  #acks: "sent" | "dropped" | number = "sent";
  #resetAfter = Infinity;
  #swaps = 0;
  #repeats = 0;

  /** @internal */
  constructor(options: TestGatewayOptions = {}) {
    const first = (offered: readonly string[]) => offered[0] ?? "";
    this.#options = { delivery: true, window: 64, ping: true, keep: 1000, greetMs: 50, ackMs: 50, subprotocol: first, ...options };
  }

  /** Takes the place of `globalThis.WebSocket`, whatever the address. */
  install(): this {
    if (this.#socket) return this;
    this.#before = globalThis.WebSocket;
    this.#socket = socketClass(() => this.#connection(), this.#way, this.#options.subprotocol);
    globalThis.WebSocket = this.#socket;
    return this;
  }

  /** Breaks what is open, and gives the page its own `WebSocket` back. */
  uninstall(): void {
    this.reset();
    if (this.#socket && globalThis.WebSocket === this.#socket) globalThis.WebSocket = this.#before!;
    this.#socket = undefined;
  }

  [Symbol.dispose](): void {
    this.uninstall();
  }

  /** Of its feeds' numbers. */
  get epoch(): string {
    return `epoch-${this.#epochs}`;
  }

  /** Those with a session, oldest first. */
  get connections(): TestConnection[] {
    return [...this.#open].filter(({ session }) => session);
  }

  /** Hears each message of this type when it is taken; of `"*"`, each of any. Returns what ends it. */
  on(type: string, handler: TestHandler): () => void {
    const handlers = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** Hears of each connection when it has been greeted or resumed. Returns what ends it. */
  onConnection(handler: (connection: TestConnection) => void): () => void {
    this.#greeted.add(handler);
    return () => this.#greeted.delete(handler);
  }

  /** Forgets what was `received` and `taken`. */
  clear(): void {
    this.received = [];
    this.taken = [];
  }

  /** Sends a frame, or a text or bytes as they are, to every connection. It has no number, and nobody misses it. */
  say(frame: unknown): void {
    for (const { session, say } of this.#open) if (session) say(frame);
  }

  /** Appends a frame to every session's feed: who is away hears it when back. Without `delivery` only who is here hears it. */
  feed(frame: TestFrame): void {
    if (!this.#options.delivery) return this.say(frame);
    for (const session of this.#sessions.values()) {
      const numbered = { ...frame, $seq: ++session.newest };
      session.kept.push({ seq: session.newest, frame: numbered });
      if (session.kept.length > this.#options.keep) session.kept.shift();
      for (const open of this.#open) if (open.session === session && !open.isFenced) open.say(numbered);
    }
  }

  /** Sends the newest `count` frames of each feed once more, among whatever else is on its way. */
  replay(count: number): void {
    for (const open of this.#open) for (const { frame } of open.session?.kept.slice(-count) ?? []) open.say(frame);
  }

  /** Closes every connection, as a server does. */
  close(code = 1000, reason = ""): void {
    for (const open of [...this.#open]) open.close(code, reason);
  }

  /** Nothing gets through in either direction, nobody is told, and new sockets hang in connecting. `heal` lets all of it arrive. */
  blackHole(): void {
    this.#way.isHeld = true;
  }

  /** The other end of every socket is gone and does not say so: what is sent is lost. New sockets are well. */
  halfOpen(): void {
    for (const link of [...this.#way.links]) link.vanish();
  }

  /** Everything takes this long in each direction, in milliseconds. */
  slow(ms: number): void {
    this.#way.delayMs = ms;
  }

  /** Every connection breaks: at once, or when `after` more messages of the page have been taken, before one is acknowledged. */
  reset({ after = 0 }: { after?: number } = {}): void {
    if (after > 0) this.#resetAfter = after;
    else for (const link of [...this.#way.links]) link.reset();
  }

  /** New sockets are refused. */
  refuse(): void {
    this.#isRefusing = true;
  }

  /** The next `count` frames that are said or fed are overtaken by the one behind them. */
  reorder(count = 1): void {
    this.#swaps = count;
  }

  /** The next `count` frames that are said or fed come twice. */
  duplicate(count = 1): void {
    this.#repeats = count;
  }

  /** Messages are taken and not acknowledged. */
  dropAcks(): void {
    this.#acks = "dropped";
  }

  /** Acknowledgements come this much later, in milliseconds. */
  slowAcks(ms: number): void {
    this.#acks = ms;
  }

  /**
   * The gateway goes down and comes back. Its memory survives, unless it forgets: `"feed"` what it has numbered (another epoch),
   * `true` the sessions too.
   * @param code with which it closes. Default 1012; `null`: connections just break
   */
  restart({ forget = false, downMs = 0, code = 1012 }: { forget?: boolean | "feed"; downMs?: number; code?: number | null } = {}): void {
    this.#isDown = true;
    if (code === null) this.reset();
    else this.close(code);
    // From here on it neither takes nor feeds.
    for (const open of this.#open) open.isFenced = true;
    if (forget) {
      this.#epochs++;
      for (const session of this.#sessions.values()) Object.assign(session, { newest: 0, kept: [] });
    }
    if (forget === true) this.#sessions.clear();
    setTimeout(() => (this.#isDown = false), downMs);
  }

  /** Ends every fault. What a black hole held arrives; a half-open socket breaks when it is used next. */
  heal(): void {
    Object.assign(this.#way, { delayMs: 0, isHeld: false });
    this.#isRefusing = this.#isDown = false;
    this.#acks = "sent";
    this.#resetAfter = Infinity;
    this.#swaps = this.#repeats = 0;
    for (const link of [...this.#way.links]) link.heal();
    for (const open of this.#open) {
      open.release();
      open.acknowledge();
    }
  }

  #connection(): Far {
    const connection: Connection = new Connection({
      takes: () => !this.#isRefusing && !this.#isDown,
      opened: () => {
        this.#open.add(connection);
        const { delivery, window, ping, greetMs } = this.#options;
        if (delivery || ping) connection.tell({ type: "gateway-offer", ping, ...(delivery ? { delivery: { epoch: this.epoch, window } } : undefined) });
        setTimeout(() => connection.link && !connection.session && this.#greet(connection), greetMs + 2 * this.#way.delayMs);
      },
      heard: (data) => this.#heard(connection, data),
      ended: () => void this.#open.delete(connection),
      isSwapped: () => this.#swaps > 0 && this.#swaps-- > 0,
      isRepeated: () => this.#repeats > 0 && this.#repeats-- > 0,
      isAcknowledging: () => this.#acks !== "dropped",
    });
    return connection;
  }

  #greet(connection: Connection): void {
    const name = ++this.#names;
    const session: Session = { token: `token-${name}`, clientId: `client-${name}`, newest: 0, kept: [], streams: new Map() };
    this.#sessions.set(session.token, session);
    connection.session = session;
    const { token, clientId } = session;
    connection.tell({ type: "session-init", token, clientId, ...(this.#options.delivery ? { seq: 0 } : undefined) });
    this.#ready(connection);
  }

  #heard(connection: Connection, data: string | ArrayBuffer): void {
    let said: unknown = data;
    try {
      if (typeof data === "string") said = JSON.parse(data);
    } catch {
      // Text is a message too.
    }
    this.received.push(said);
    const frame = (said ?? {}) as TestFrame;
    const { delivery, ping } = this.#options;
    if (frame.type === "session-resume") this.#resume(connection, frame);
    else if (frame.type === "delivery-open" && delivery) this.#fence(connection, frame["stream"]);
    else if (frame.type === "ping" && ping) {
      if (this.#acks === "sent") connection.acknowledge();
      connection.tell({ type: "pong", n: frame["n"] });
    } else if (frame.type !== "delivery-ack" || !delivery) this.#take(connection, said);
  }

  #resume(connection: Connection, { token, stream, epoch, seen }: TestFrame): void {
    const session = typeof token === "string" ? this.#sessions.get(token) : undefined;
    if (!session) {
      connection.tell({ type: "session-refused", reason: "unknown" });
      this.#greet(connection);
      // The stream goes on in the session that follows.
      if (this.#options.delivery) this.#fence(connection, stream);
      return;
    }
    connection.session = session;
    const { clientId, newest, kept, streams } = session;
    const { delivery, ping } = this.#options;
    if (!delivery) {
      // A gateway without announcements has the greeting alone.
      connection.tell(ping ? { type: "session-resumed", clientId } : { type: "session-init", token, clientId });
      return this.#ready(connection);
    }
    // Streams are forgotten with their session, so of one that is not known nothing was taken.
    const taken = typeof stream === "string" ? (streams.get(stream) ?? 0) : undefined;
    const old = this.#fence(connection, stream);
    const isOurs = epoch === this.epoch && typeof seen === "number" && seen <= newest;
    const cursor = isOurs ? (seen as number) : newest;
    const missed = kept.filter(({ seq }) => seq > cursor);
    const from = missed[0]?.seq ?? newest + 1;
    const isWhole = from === cursor + 1;
    const gap = epoch === undefined || (isOurs && isWhole) ? undefined : isOurs ? { from: cursor + 1, to: from - 1, reason: "trimmed" } : { from: Number(seen) + 1, to: null, reason: "epoch" };
    connection.tell({
      type: "session-resumed",
      clientId,
      delivery: { epoch: this.epoch, ...(taken === undefined ? undefined : { taken }), recovered: !gap, from, to: newest, ...(gap && { gap }) },
    });
    for (const { frame } of missed) connection.say(frame);
    for (const open of old) open.close(1000);
    this.#ready(connection);
  }

  /** From now on only this connection speaks for the stream; answers whose it was. */
  #fence(connection: Connection, stream: unknown): Connection[] {
    if (typeof stream !== "string" || !connection.session) return [];
    connection.stream = stream;
    const { streams } = connection.session;
    connection.taken = connection.acknowledged = streams.get(stream) ?? 0;
    streams.set(stream, connection.taken);
    const old = [...this.#open].filter((open) => open !== connection && open.stream === stream);
    for (const open of old) open.isFenced = true;
    return old;
  }

  #take(connection: Connection, said: unknown): void {
    const { session, stream } = connection;
    const { $seq, ...rest } = (said ?? {}) as TestFrame;
    const isNumbered = typeof $seq === "number" && stream !== undefined && session !== undefined;
    if (isNumbered && connection.isFenced) return;
    const isNews = !isNumbered || $seq > (session.streams.get(stream) ?? 0);
    if (isNews) {
      const message = (!isNumbered ? said : "$data" in rest ? rest["$data"] : rest) as TestFrame;
      this.taken.push(message);
      if (isNumbered) session.streams.set(stream, $seq);
      this.#handle(String(message?.type), message, connection);
      if (--this.#resetAfter === 0) {
        this.#resetAfter = Infinity;
        return this.reset();
      }
    }
    if (!isNumbered) return;
    // A repetition is acknowledged like the first.
    connection.acknowledged = Math.min(connection.acknowledged, $seq - 1);
    connection.taken = Math.max(connection.taken, $seq);
    const late = typeof this.#acks === "number";
    if (!late && connection.taken - connection.acknowledged >= this.#options.window / 4) connection.acknowledge();
    else {
      const { taken } = connection;
      setTimeout(() => connection.acknowledge(taken), this.#options.ackMs + (late ? Number(this.#acks) : 0));
    }
  }

  #ready(connection: Connection): void {
    for (const handler of this.#greeted) handler(connection);
  }

  #handle(type: string, frame: TestFrame, connection: Connection): void {
    for (const key of [type, "*"]) for (const handler of this.#handlers.get(key) ?? []) handler(frame, connection);
  }
}

interface Ways {
  takes(): boolean;
  opened(): void;
  heard(data: string | ArrayBuffer): void;
  ended(): void;
  isSwapped(): boolean;
  isRepeated(): boolean;
  isAcknowledging(): boolean;
}

class Connection implements Far, TestConnection {
  link: Link | undefined;
  session: Session | undefined;
  stream: string | undefined;
  isFenced = false;
  taken = 0;
  acknowledged = 0;
  readonly #ways: Ways;
  #dialled: Link | undefined;
  #overtaken: unknown[] = [];

  constructor(ways: Ways) {
    this.#ways = ways;
  }

  get clientId(): string | undefined {
    return this.session?.clientId;
  }
  get url(): string {
    return this.#dialled?.url ?? "";
  }
  get protocols(): readonly string[] {
    return this.#dialled?.protocols ?? [];
  }

  takes(): boolean {
    return this.#ways.takes();
  }

  opened(link: Link): void {
    this.link = this.#dialled = link;
    this.#ways.opened();
  }

  heard(data: string | ArrayBuffer): void {
    if (this.link) this.#ways.heard(data);
  }

  ended(): void {
    const { link } = this;
    this.link = undefined;
    if (link) this.#ways.ended();
  }

  /** A frame of the protocol's own: no fault but the way's befalls it. */
  tell(frame: unknown): void {
    this.link?.say(typeof frame === "string" || frame instanceof ArrayBuffer ? frame : JSON.stringify(frame));
  }

  say = (frame: unknown): void => {
    if (this.#ways.isSwapped()) {
      this.#overtaken.push(frame);
      return;
    }
    this.tell(frame);
    if (this.#ways.isRepeated()) this.tell(frame);
    this.release();
  };

  /** What was to be overtaken follows. */
  release(): void {
    for (const frame of this.#overtaken.splice(0)) this.tell(frame);
  }

  acknowledge(upTo = this.taken): void {
    if (upTo <= this.acknowledged || this.isFenced || !this.#ways.isAcknowledging()) return;
    this.acknowledged = upTo;
    this.tell({ type: "delivery-ack", seq: upTo });
  }

  close(code = 1000, reason = ""): void {
    this.link?.end(code, reason);
  }
}

/** A gateway for tests, in the page itself. Nothing happens before `install()`. */
export function testGateway(options: TestGatewayOptions = {}): TestGateway {
  return new TestGateway(options);
}

/** What a browser's storage is, with a bound that a test moves. */
export type TestStorage = Storage & { maxBytes: number };

/**
 * Web Storage in memory that takes `maxBytes` and throws `QuotaExceededError` for more, as a browser's does (UTF-16, keys counted).
 * Its `maxBytes` can be set at any time.
 */
export function quotaExceeded(maxBytes = 0): TestStorage {
  const items = new Map<string, string>();
  const storage = {
    maxBytes,
    get length() {
      return items.size;
    },
    key: (at: number) => [...items.keys()][at] ?? null,
    getItem: (key: string) => items.get(String(key)) ?? null,
    setItem(key: string, value: string) {
      const after = new Map(items).set(String(key), String(value));
      const bytes = [...after].reduce((sum, [key, value]) => sum + 2 * (key.length + value.length), 0);
      if (bytes > storage.maxBytes) throw new DOMException("the quota has been exceeded", "QuotaExceededError");
      items.set(String(key), String(value));
    },
    removeItem: (key: string) => void items.delete(String(key)),
    clear: () => items.clear(),
  };
  return storage;
}
