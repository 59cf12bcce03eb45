/** The public contract: options, events, receipts, error codes. Types only. */

/** What can be wrong, as `area.reason`. */
export type ErrorCode =
  /** An option is not what it may be. Thrown by the constructor. */
  | "config.invalid"
  /** The URL is not one that a WebSocket can take. Thrown by the constructor. */
  | "config.url"
  /** `disconnect` may send 1000 or 3000 to 4999. Thrown. */
  | "close.code"
  /** A close reason has at most 123 bytes of UTF-8 (RFC 6455, section 5.5). Thrown. */
  | "close.reason"
  /** The line was disposed of. Thrown. */
  | "disposed"
  /** JSON cannot carry it: a cycle, a BigInt, a function, a symbol, or nothing at all. Thrown by `send`. */
  | "send.unsupported"
  /** One message above `queue.maxBytes`. Thrown by `send`. */
  | "send.too-large"
  /** The queue is at its bound and `overflow` is `"reject"`. Thrown by `send`. */
  | "send.queue-full"
  /** Its `ttlMs` ended in the queue. */
  | "send.expired"
  /** It gave way: to a newer one of its key, or because of `overflow: "drop-oldest"`. */
  | "send.evicted"
  /** It was not taken: `delivery: "drop"` while away, `overflow: "drop-newest"`, or the line ended. */
  | "send.rejected"
  /**
   * It was handed to a socket that then died, in this page or in the one before it (`queue.persist`): it may
   * have arrived or not. Or the line was disposed of, and left it to the next one.
   */
  | "send.unknown"
  /** `receipt.acked` of a gateway that does not acknowledge: the message was sent, and nothing more will be heard of it. */
  | "send.unacknowledged"
  /** The server refused a call, or a run failed there: its error is the `cause`. */
  | "call.remote"
  /** No answer within `timeoutMs`. `retryable`: whether it was never asked. */
  | "call.timeout"
  /** The line was lost before the answer. `retryable`: whether asking again is safe. */
  | "call.lost"
  /** The page did not want it any more: its signal, or `cancel`. */
  | "call.aborted"
  /** The protocol has no such thing. */
  | "call.unsupported"
  /** As many calls wait as may: `queue.maxMessages`, `queue.maxBytes`. */
  | "call.queue-full"
  /** Longer than the server takes, or than `queue.maxBytes`. */
  | "call.too-large"
  /** The gateway connects us with fewer rights than were asked for; `cause.missing` lists them. */
  | "auth.scopes"
  /** The subscription that it was for has ended. */
  | "subscription.ended"
  /** The server rejected the subscription; its frame is the `cause`. */
  | "subscription.rejected"
  /** The server has neither confirmed nor rejected the subscription, however often it was asked. */
  | "subscription.unconfirmed"
  /** The body of a loop over messages was too slow: as many wait as may. */
  | "subscription.overflow"
  /** The line observes something else. */
  | "observe.busy"
  /** The server sent a binary message. */
  | "frame.binary"
  /** The server sent more than `maxFrameBytes`. */
  | "frame.too-large"
  /** The server sent text that is not JSON. */
  | "frame.not-json"
  /** The server sent a known type without what it needs. */
  | "frame.malformed"
  /** The gateway acknowledges what it was never sent. Ignored. */
  | "peer.ack-ahead"
  /** The gateway acknowledges less than it did before. Ignored. */
  | "peer.ack-behind"
  /** The storage refused: the session, or what waits (`queue.persist`), lives on in memory. */
  | "storage.denied"
  /** What lies under the session's key is not a session; with a `count`: so many kept messages are missing or not what was written. */
  | "storage.corrupt"
  /** `getState` threw, rejected, or took longer than 10 s; what waited for it is told all the same. */
  | "state.failed"
  /** The url function threw, rejected, or returned no usable URL: a failed attempt. */
  | "url.provider"
  /** The WebAssembly file could not be had. */
  | "wasm.unavailable"
  /** The page's Content-Security-Policy forbids WebAssembly. */
  | "wasm.csp"
  /** A bug of ours. Terminal. */
  | "internal";

/** Why a socket, an attempt or the line ended. */
export type Cause =
  | "attempts-exhausted"
  | "closed"
  | "close-code"
  | "handshake-timeout"
  | "heartbeat"
  | "lifecycle"
  | "offline"
  | "overloaded"
  | "pairing-required"
  | "protocol-unsupported"
  | "refused"
  | "server-restart"
  | "transport"
  | "unauthorized"
  | "url-provider";

/** `reconnecting` covers the wait and the attempt; `closed` means that only `connect()` begins again. */
export type State = "idle" | "connecting" | "connected" | "reconnecting" | "closed";

export type ReceiptStatus = "queued" | "sent" | "acked" | "expired" | "evicted" | "rejected" | "unknown";

/** Where to dial. The function form is called before every attempt. */
export type Url = string | URL | (() => Dial | Promise<Dial>);
export type Dial = string | URL | { url: string | URL; protocols?: string | string[]; token?: string };

export interface SendOptions {
  /** `"queue"` (default) waits; `"drop"` is sent now or not at all; of `"latest"` only the newest per `key` waits. */
  delivery?: "queue" | "drop" | "latest";
  /** For `"latest"`. Default `""`. */
  key?: string;
  /** How long it may wait, in milliseconds. Default: for ever. */
  ttlMs?: number;
}

/** Anything with the Web Storage methods; they may be asynchronous. */
export interface SessionStorageLike {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): unknown;
  removeItem(key: string): unknown;
}

export interface Session {
  token?: string;
  clientId?: string;
  /** When it was saved, in milliseconds since 1970. */
  savedAt: number;
  [field: string]: unknown;
}

/** The options of every entry. */
export interface LineOptions {
  /** Where events are dispatched. Default `window`, in a worker `globalThis`; `null`: on the line alone. */
  target?: EventTarget | null;
  /**
   * Frame type → event name, over the protocol's table; `null` takes a route away. `"*"` is the prefix under which every other
   * type is dispatched by its own name. Names that begin with `ws-` are refused.
   */
  routes?: Record<string, string | null>;
  reconnect?: {
    /** Ceiling of the first wait in milliseconds, and of the wait after the network is back; with full jitter the wait is half of it on average. Default 4000 (1000 in `moorline/nexus`). */
    baseDelayMs?: number;
    /** Ceiling of every wait by backoff, in milliseconds; what the gateway asks for (1012, 1013, advice) may be longer: up to 55 s where it names no wait. Default 30000. */
    maxDelayMs?: number;
    /** Growth of the ceiling from one failure to the next. Default 2. */
    factor?: number;
    /** `"full"` (default) spreads each wait evenly from 0 to its ceiling; `"none"` waits for the ceiling. */
    jitter?: "full" | "none";
    /** Failures in a row before `ws-failed`. Default `Infinity` (10 in `moorline/nexus`). */
    maxAttempts?: number;
    /** How long a connection must have been ready, in milliseconds, before earlier failures are forgiven. Default 5000. */
    stableMs?: number;
  };
  /** How long an attempt may take to become ready, in milliseconds, whatever it hangs in. Default 10000. */
  connectTimeoutMs?: number;
  heartbeat?: {
    /** Milliseconds between heartbeats. Where the gateway answers probes the default is 14000 less `probeTimeoutMs`, at least 9000; where it does not, this much silence ends the socket, and by default none does. */
    idleMs?: number;
    /** How long an answer may take, in milliseconds; three quarters of it for a page that is just back. Default 2000. */
    probeTimeoutMs?: number;
  };
  /**
   * What becomes of the line once nobody has seen the page for `hiddenAfterMs`. `"keep"` (default): nothing. `"slow"`: heartbeats
   * and attempts are four times rarer. `"park"`: the socket is closed (1000, cause `lifecycle`) and none is dialled, until the page is
   * visible or calls `connect`; `send` queues. While messages wait or a call or a run is open, a line is not parked. In a worker
   * there is no visibility, and it is `"keep"`.
   */
  hidden?: "keep" | "slow" | "park";
  /** In milliseconds. Default 300000. */
  hiddenAfterMs?: number;
  queue?: {
    /** Messages that may wait. Default 1000. */
    maxMessages?: number;
    /** Bytes of UTF-8 that may wait, and the most that one message may have. Default 1048576. */
    maxBytes?: number;
    /** What a full queue does: `"reject"` (default) throws at the caller. */
    overflow?: "reject" | "drop-oldest" | "drop-newest";
    /**
     * Whether what waits outlives the page: it lies, as clear text, in the page's storage, and the next page sends it. Default `false`.
     * Lines to different gateways need different `session.key`s.
     */
    persist?: boolean;
  };
  session?: {
    /** Under which key it is stored. Default `"hermes-session"`. */
    key?: string;
    /** Where: `"local"` (default) localStorage, `"session"` sessionStorage, `"memory"`, or an object. A worker has memory alone. */
    storage?: "local" | "session" | "memory" | SessionStorageLike;
    /** How old a stored session may be, in milliseconds. Default `Infinity`. */
    maxAgeMs?: number;
  };
  /** Longest message that is accepted, in bytes. Default 16777216. */
  maxFrameBytes?: number;
  /** Close code → what to do, over the table in the README. */
  closePolicy?: Record<number, "retry" | "fatal">;
  /** What goes to the console: only `"silent"` keeps a failure to load WebAssembly out of it. Default `"warn"`. */
  log?: "warn" | "silent";
}

/** Those of the Nexus entries. */
export interface Options extends LineOptions {
  /** Which protocol the gateway speaks. Each further protocol is an entry of its own. */
  protocol?: "nexus";
  /**
   * Fetches the truth after something was missed: called behind each `ws-gap`, and after each return to a gateway that does
   * not number its frames (`from` and `to` are `null` then). While its promise is open, frames wait, in order: 10 s and 1000
   * frames at the most.
   */
  getState?(gap: GapDetail): unknown;
  /** Names in the Nexus protocol, for gateways that have others. */
  nexus?: {
    /** Default `"session-init"`. */
    initType?: string;
    /** Default `"session-resume"`. */
    resumeType?: string;
    /** Default `"token"`. */
    tokenField?: string;
    /** `"frame"` (default): the server's first word makes a connection ready. `"open"`: for a gateway that never greets. */
    readyOn?: "frame" | "open";
    /** How long the answer to a resume may lag behind another frame, in milliseconds. Default 300. */
    settleMs?: number;
  };
}

export interface ConnectedDetail {
  /** Where to, without the query: it may hold a token. */
  url: string;
  /** Failures before it. */
  attempt: number;
  /** Whether the session is the one from before. */
  recovered: boolean;
}
export interface DisconnectedDetail {
  code: number;
  reason: string;
  wasClean: boolean;
  willReconnect: boolean;
  cause: Cause;
}
export interface ReconnectingDetail {
  attempt: number;
  maxAttempts: number;
  delayMs: number;
  /** When, in milliseconds since 1970. */
  retryAt: number;
  cause: Cause;
}
export interface FailedDetail {
  cause: Cause;
  code: number;
  attempts: number;
  /** The frame in which the server said why, where it said so. */
  frame?: unknown;
}
export interface ResumedDetail {
  /** The gateway's numbers of what was missed and follows now; `to` is below `from` where nothing was. */
  from: number;
  to: number;
}
export interface GapDetail {
  /** The gateway's numbers of what will not come; `null` where nobody knows. */
  from: number | null;
  to: number | null;
  /**
   * `trimmed`: the gateway had to let them go. `epoch`: it remembers nothing of before. `session`: the session is another one.
   * `skipped`: they were left out on a live connection. `unnumbered`: this gateway does not number its frames. Others are the gateway's.
   */
  reason: string;
}
export interface UnhandledDetail {
  reason: "no-route" | "no-type" | "not-an-object";
  type: string | undefined;
  frame: unknown;
}
export interface Frame {
  type: string;
  [field: string]: unknown;
}
export interface SessionInit extends Frame {
  token?: string;
  clientId?: string;
}
export interface ChatMessage extends Frame {
  text: string;
  sender?: string;
}
export interface StatusUpdate extends Frame {
  status: string;
  agent?: string;
}
export interface PrNotification extends Frame {
  action: string;
  pr?: unknown;
}
export interface PlayerJoined extends Frame {
  id: string;
  name?: string;
}
export interface PlayerLeft extends Frame {
  id: string;
}

/** Event name → `detail`. */
export interface LineEventMap {
  "ws-connected": ConnectedDetail;
  "ws-disconnected": DisconnectedDetail;
  "ws-reconnecting": ReconnectingDetail;
  "ws-failed": FailedDetail;
  "ws-resumed": ResumedDetail;
  "ws-gap": GapDetail;
  "ws-unhandled": UnhandledDetail;
  "ws-error": MoorlineErrorLike;
  "session-init": SessionInit;
  "chat-message": ChatMessage;
  "status-update": StatusUpdate;
  "pr-notification": PrNotification;
  "player-joined": PlayerJoined;
  "player-left": PlayerLeft;
}

/** What `MoorlineError` is, for those who only look at it. */
export interface MoorlineErrorLike extends Error {
  readonly code: ErrorCode;
  /** Whether trying the same again may go better. */
  readonly retryable: boolean;
  /** How many messages are concerned, where messages are. */
  readonly count?: number;
}

export interface Stats {
  state: State;
  queueMessages: number;
  // What follows is counted once wasm is there.
  /** Failures in a row. */
  attempts?: number;
  queueBytes?: number;
  /** How long the oldest message has waited, at the most. */
  oldestWaitsMs?: number;
  /** Handed to the browser and not yet written out by it. */
  bufferedBytes?: number;
  received?: number;
  /** Frames that the server should not have sent. */
  misbehaved?: number;
  sockets?: number;
  connections?: number;
  /** Smoothed round trip, where the gateway answers probes. */
  rttMs?: number;
  /** Frames that came again and were not told again. */
  repeated?: number;
  /** Messages that the gateway has not acknowledged yet, where it does. */
  unacknowledged?: number;
  /** Messages that the next page would find, with `queue.persist`. */
  keptMessages?: number;
  nextAttemptInMs?: number;
}

type Augmented = { [Name in keyof LineEventMap]: CustomEvent<LineEventMap[Name]> };

declare global {
  interface WindowEventMap extends Augmented {}
}
