/** The entry for OpenClaw gateways (docs/protocols/openclaw.md). */
import { dialect } from "../web/openclaw.js";
import type { CallOptions } from "./calls.js";
import type { Rules } from "./options.js";
import { type Run, RunLine } from "./run.js";
import type { LineOptions, Url } from "./types.js";

export interface OpenclawOptions extends LineOptions {
  protocol?: "openclaw";
  openclaw?: {
    /** The gateway's shared token. A `token` from the url function goes before it. Default: the one that the gateway gave to this device earlier, if it did. */
    token?: string;
    /** The gateway's password, where there is no token. */
    password?: string;
    /** The rights to ask for. Default `["operator.read", "operator.write"]`. */
    scopes?: string[];
    /** A session whose events and runs are wanted from the start. Default: those in which this page sends are, from then on. */
    sessionKey?: string;
    /** Capabilities to announce besides `"session-scoped-events"`, `"tool-events"` and `"chat-only-assistant-text"`. Default: none. */
    caps?: string[];
  };
  /** As everywhere; `probeTimeoutMs` is 10000 by default, for a gateway may be busy for seconds. */
  heartbeat?: NonNullable<LineOptions["heartbeat"]>;
  /** As everywhere, but 15000 by default: so long a gateway waits for us. */
  connectTimeoutMs?: number;
}

declare module "./types.js" {
  interface LineEventMap {
    /** The gateway's first answer, in full: `payload.features`, `payload.auth`, `payload.policy`, … */
    "openclaw-hello": OpenclawFrame;
    "openclaw-shutdown": OpenclawFrame;
    /** The gateway has left out so many events. */
    "openclaw-gap": { missed: number };
    "openclaw-agent": OpenclawFrame;
    "openclaw-chat": OpenclawFrame;
  }
}

/** An event or an answer of a gateway. */
export interface OpenclawFrame {
  type: "event" | "res";
  event?: string;
  payload?: any;
  seq?: number;
}

export class Moorline extends RunLine<OpenclawOptions> {
  /** @internal */
  static override rules: Rules = {
    protocol: ["openclaw"],
    openclaw: { token: "string", password: "string", scopes: "object", sessionKey: "string", caps: "object" },
  };
  /** @internal */
  protected override readonly dialect = dialect;

  /**
   * Nothing is dialled. Throws `config.invalid` or `config.url`.
   * @param url a string, a `URL`, or a function that is called before every attempt and may answer `{url, token}`
   */
  constructor(url: Url, options: OpenclawOptions = {}) {
    const { heartbeat = {} } = options;
    const patient = heartbeat && typeof heartbeat === "object" ? { probeTimeoutMs: 10_000, ...heartbeat } : heartbeat;
    super(url, { connectTimeoutMs: 15_000, ...options, heartbeat: patient } as OpenclawOptions);
  }

  /** As everywhere. `chat.send` gets an idempotency key, so that it may be sent again when the line was lost before the answer. */
  override request<T = unknown>(method: string, params?: unknown, options: CallOptions = {}): Promise<T> {
    const [keyed, more] = withKey(method, params, options);
    return super.request<T>(method, keyed, more);
  }

  /**
   * Starts a run, in general by `chat.send`. Its idempotency key is its run id: the same key finds it again, from another page
   * or after a reload, instead of starting a second one.
   */
  override run(method: string, params?: unknown, options: CallOptions = {}): Run {
    const [keyed, more] = withKey(method, params, options);
    return super.run(method, keyed, more);
  }
}

/** The key stands in the parameters as well: the gateway reads it there. */
function withKey(method: string, params: unknown, options: CallOptions): [unknown, CallOptions] {
  if (method !== "chat.send" || params === null || typeof params !== "object") return [params, options];
  const idempotencyKey = options.idempotencyKey ?? (params as CallOptions).idempotencyKey ?? newKey();
  return [{ ...params, idempotencyKey }, { ...options, idempotencyKey }];
}

/** On plain http there is no `randomUUID`. */
const newKey = (): string =>
  crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export type { CallOptions } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type { Run, RunEvent, RunStarted } from "./run.js";
export type * from "./types.js";
