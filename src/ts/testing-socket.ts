/**
 * A WebSocket without a wire: what a page sees of one, in a browser's order, and the way between it and the test's gateway.
 * What the gateway says is not here.
 */

/** What the way does with all that is on it. */
export interface Way {
  /** Milliseconds in each direction. */
  delayMs: number;
  /** Nothing gets through, and nothing is lost: it arrives when this is over, as TCP has it. */
  isHeld: boolean;
  /** The sockets that are on it. */
  readonly links: Set<Link>;
}

/** The gateway's end of one socket. */
export interface Far {
  /** Whether the attempt is taken. */
  takes(): boolean;
  opened(link: Link): void;
  heard(data: string | ArrayBuffer): void;
  /** The socket is gone, or has said that it closes. */
  ended(): void;
}

/** What an operating system takes of a page while nothing gets through; the rest stays in `bufferedAmount`. */
const SYSTEM_BUFFER = 1_048_576;
/** How long Chromium waits for the answer to a close. */
const CLOSE_MS = 2000;

/** One direction: what goes in comes out in order. */
class Pipe {
  readonly #way: Way;
  #items: { act: () => void; bytes: number; isDue: boolean }[] = [];

  constructor(way: Way) {
    this.#way = way;
  }

  push(act: () => void, bytes = 0): void {
    const item = { act, bytes, isDue: false };
    this.#items.push(item);
    setTimeout(() => {
      item.isDue = true;
      this.flow();
    }, this.#way.delayMs);
  }

  flow(): void {
    // What is fast waits behind what is slow.
    while (this.#items[0]?.isDue && !this.#way.isHeld) this.#items.shift()!.act();
  }

  /** What never left is taken back, from the end. */
  takeBack(bytes: number): void {
    while (bytes > 0 && this.#items.length > 0) bytes -= this.#items.pop()!.bytes;
  }

  cut(): void {
    this.#items = [];
  }
}

/** What is between a page's socket and the gateway. */
export class Link {
  readyState = 0;
  binaryType: BinaryType = "blob";
  readonly url: string;
  readonly protocols: readonly string[];
  readonly #target: EventTarget;
  readonly #far: Far;
  readonly #way: Way;
  readonly #up: Pipe;
  readonly #down: Pipe;
  /** The other end is gone and has not said so; `"known"`: whoever speaks to it hears of that. */
  #gone: false | "silent" | "known" = false;
  #absorbed = 0;
  /** Accepted and not written out; given to a socket that was closing. */
  #unwritten = 0;
  #discarded = 0;
  #isOver = false;

  constructor(target: EventTarget, url: string, protocols: readonly string[], far: Far, way: Way) {
    this.#target = target;
    this.url = url;
    this.protocols = protocols;
    this.#far = far;
    this.#way = way;
    this.#up = new Pipe(way);
    this.#down = new Pipe(way);
    way.links.add(this);
    this.#up.push(() => {
      // The page may have given up.
      if (this.readyState !== 0) return;
      if (!far.takes()) return this.#down.push(() => this.#broken());
      this.#down.push(() => this.#opened());
      far.opened(this);
    });
  }

  get buffered(): number {
    return this.#unwritten + this.#discarded;
  }

  /** The page sends. */
  send(data: string | ArrayBuffer, bytes: number): void {
    // A socket that is closing or closed discards in silence, and counts.
    if (this.readyState !== 1) {
      this.#discarded += bytes;
      return;
    }
    this.#unwritten += bytes;
    if (this.#gone === "known") return this.reset();
    if (this.#gone === false) this.#up.push(() => this.#far.heard(data), bytes);
    setTimeout(() => this.#drain());
  }

  /** The page closes. */
  close(code: number, reason: string): void {
    if (this.readyState >= 2) return;
    const wasOpen = this.readyState === 1;
    this.readyState = 2;
    if (!wasOpen) {
      setTimeout(() => this.#broken());
      return;
    }
    if (!this.#gone)
      this.#up.push(() => {
        this.#far.ended();
        this.#down.push(() => this.#ended(code, reason, true));
      });
    setTimeout(() => {
      if (this.#isOver) return;
      this.#up.takeBack(this.#unwritten);
      this.#ended(1006, "", false);
    }, CLOSE_MS);
  }

  /** The gateway sends. */
  say(data: string | ArrayBuffer): void {
    if (this.#gone) return;
    this.#down.push(() => {
      // What comes while the page's close is under way is nobody's.
      if (this.readyState !== 1) return;
      const shown = typeof data === "string" || this.binaryType === "arraybuffer" ? data : new Blob([data]);
      this.#tell(new MessageEvent("message", { data: shown, origin: new URL(this.url).origin }));
    });
  }

  /** The gateway closes, and reads until the page's answer is there. */
  end(code: number, reason: string): void {
    if (this.#gone) return;
    this.#down.push(() => {
      if (this.readyState !== 1) return;
      this.readyState = 2;
      this.#up.push(() => this.#far.ended());
      setTimeout(() => this.#ended(code, reason, true));
    });
  }

  /** The connection breaks, and both ends hear of it at once. */
  reset(): void {
    if (this.readyState === 3) return;
    this.#up.cut();
    this.#down.cut();
    this.#far.ended();
    // Chromium has no `error` for a connection that breaks once it is open.
    if (this.readyState === 0) setTimeout(() => this.#broken());
    else setTimeout(() => this.#ended(1006, "", false));
  }

  /** The other end is gone, without a word. */
  vanish(): void {
    if (this.readyState === 3) return;
    this.#gone = "silent";
    this.#up.cut();
    this.#down.cut();
    this.#far.ended();
  }

  /** The way is as it was. */
  heal(): void {
    if (this.#gone) this.#gone = "known";
    this.#drain();
    this.#up.flow();
    this.#down.flow();
    if (this.readyState === 3) this.#left();
  }

  #opened(): void {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.#tell(new Event("open"));
  }

  #broken(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.#tell(new Event("error"));
    this.#ended(1006, "", false);
  }

  #ended(code: number, reason: string, wasClean: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.readyState = 3;
    if (!this.#way.isHeld) this.#left();
    this.#tell(closing(code, reason, wasClean));
  }

  /** What the page sent before may still be on its way; then the gateway hears of the end as well. */
  #left(): void {
    this.#way.links.delete(this);
    this.#up.push(() => this.#far.ended());
  }

  #drain(): void {
    const room = this.#gone || this.#way.isHeld ? SYSTEM_BUFFER - this.#absorbed : Infinity;
    const taken = this.readyState < 3 ? Math.min(this.#unwritten, room) : 0;
    this.#absorbed = room === Infinity ? 0 : this.#absorbed + taken;
    this.#unwritten -= taken;
  }

  #tell(event: Event): void {
    // A virtual clock is the page's clock.
    Object.defineProperty(event, "timeStamp", { value: performance.now() });
    this.#target.dispatchEvent(event);
  }
}

/** Node before 23 has no `CloseEvent`. */
function closing(code: number, reason: string, wasClean: boolean): Event {
  const said = { code, reason, wasClean };
  return typeof CloseEvent === "function" ? new CloseEvent("close", said) : Object.assign(new Event("close"), said);
}

const EVENTS = ["open", "message", "error", "close"] as const;
type Handler = ((event: never) => unknown) | null;

/** The class that takes the place of `WebSocket`: each of its sockets is told to `far` and lies on `way`. */
export function socketClass(far: () => Far, way: Way, subprotocol: (offered: readonly string[]) => string): typeof WebSocket {
  class TestSocket extends EventTarget {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSING = 2;
    static readonly CLOSED = 3;
    readonly CONNECTING = 0;
    readonly OPEN = 1;
    readonly CLOSING = 2;
    readonly CLOSED = 3;
    readonly extensions = "";
    readonly #link: Link;
    readonly #handlers = new Map<string, { handler: NonNullable<Handler>; listener: (event: Event) => void }>();

    constructor(url: string | URL, protocols: string | string[] = []) {
      super();
      const offered = [protocols].flat();
      if (new Set(offered).size < offered.length) throw new DOMException("a subprotocol is offered twice", "SyntaxError");
      this.#link = new Link(this, address(url), offered, far(), way);
    }

    get url(): string {
      return this.#link.url;
    }
    get readyState(): number {
      return this.#link.readyState;
    }
    get bufferedAmount(): number {
      return this.#link.buffered;
    }
    get protocol(): string {
      return this.#link.readyState === 0 ? "" : subprotocol(this.#link.protocols);
    }
    get binaryType(): BinaryType {
      return this.#link.binaryType;
    }
    set binaryType(type: BinaryType) {
      if (type === "blob" || type === "arraybuffer") this.#link.binaryType = type;
    }

    send(data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
      if (this.readyState === 0) throw new DOMException("still in CONNECTING state", "InvalidStateError");
      if (data instanceof ArrayBuffer) return this.#link.send(data.slice(0), data.byteLength);
      if (ArrayBuffer.isView(data)) {
        const { buffer, byteOffset, byteLength } = data;
        return this.#link.send(buffer.slice(byteOffset, byteOffset + byteLength), byteLength);
      }
      const text = String(data);
      this.#link.send(text, byteLength(text));
    }

    close(code?: number, reason = ""): void {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
        throw new DOMException(`${code} is not 1000 or 3000 to 4999`, "InvalidAccessError");
      if (byteLength(reason) > 123) throw new DOMException("the reason is longer than 123 bytes", "SyntaxError");
      this.#link.close(code ?? 1005, reason);
    }

    handler(type: string): Handler {
      return this.#handlers.get(type)?.handler ?? null;
    }

    setHandler(type: string, handler: Handler): void {
      const before = this.#handlers.get(type);
      if (before) this.removeEventListener(type, before.listener);
      this.#handlers.delete(type);
      if (typeof handler !== "function") return;
      const listener = (event: Event) => handler.call(this, event as never);
      this.#handlers.set(type, { handler, listener });
      this.addEventListener(type, listener);
    }
  }
  for (const type of EVENTS)
    Object.defineProperty(TestSocket.prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get(this: TestSocket) {
        return this.handler(type);
      },
      set(this: TestSocket, handler: Handler) {
        this.setHandler(type, handler);
      },
    });
  return TestSocket as unknown as typeof WebSocket;
}

function address(given: string | URL): string {
  try {
    const url = new URL(given, globalThis.location?.href);
    if (url.protocol.startsWith("http")) url.protocol = url.protocol.replace("http", "ws");
    if (/^wss?:$/.test(url.protocol) && !url.hash) return url.href;
  } catch {
    // Said below.
  }
  throw new DOMException(`${given} is not a WebSocket's URL`, "SyntaxError");
}

const byteLength = (text: string) => new TextEncoder().encode(text).length;
