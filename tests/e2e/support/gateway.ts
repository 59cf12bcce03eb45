/** A gateway process and its controls. What a test wants of it is the test's business. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Received {
  seq: number;
  clientId: string | null;
  frame?: Record<string, unknown>;
  text?: string;
  /** Of a numbered message: its stream, its number in it, and what became of it. */
  stream?: string;
  number?: number;
  outcome?: "taken" | "repeated" | "fenced";
}
export interface GatewayState {
  clients: {
    clientId: string;
    connected: boolean;
    bufferedOut: number;
    streams: { name: string; taken: number; seen: number }[];
    feed: { newest: number; kept: number };
  }[];
  sessions: number;
  connections: {
    id: number;
    clientId: string | null;
    received: number;
    ending: boolean;
    stream: string | null;
    fenced: boolean;
    acknowledged: number;
    unacknowledged: number;
    mostUnacknowledged: number;
  }[];
  epoch: string;
  totals: { accepted: number; resumed: number; refused: number; received: number; malformed: number };
  down: boolean;
}
export interface Faults {
  delayMs?: number;
  /** In both directions, or in one: towards the gateway ("up") or the page ("down"). */
  stall?: boolean | "up" | "down";
  refuse?: boolean;
  reset?: boolean;
  halfOpen?: boolean;
  dropAfterBytes?: number;
  closeCode?: number;
}

/** A plan that holds until the next, and what is done at once. */
export interface Misconduct {
  holdAcks?: boolean;
  dropAcks?: number;
  resume?: "none" | "never" | "withoutTaken" | "otherEpoch" | "takenAhead" | "plain";
  resumeTimes?: number;
  resumeDelayMs?: number;
  cutAfterTaking?: number;
  killAfterTaking?: number;
  to?: string;
  forgetStreams?: boolean;
  trimFeed?: number;
  skipFeed?: number;
  repeatFeed?: number;
  ackAhead?: number;
  ackBehind?: number;
  ackAgain?: boolean;
  newEpoch?: boolean;
}

const PAGES = fileURLToPath(new URL("./page", import.meta.url));

export function wanted(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: type \`cargo xtask test e2e\``);
  return value;
}

export class Gateway {
  #process: ChildProcess | undefined;
  readonly #flags: string[];
  #ports: string[] = ["--port", "0"];
  url = "";
  ws = "";
  proxy = "";
  stderr = "";

  constructor(flags: string[]) {
    const own = (flag: string) => flags.some((given) => given === flag || given.startsWith(`${flag}=`));
    this.#flags = [...flags];
    if (!own("--www")) this.#flags.push("--www", PAGES);
    if (!flags.some((given) => given.startsWith("/pkg="))) this.#flags.push("--mount", `/pkg=${wanted("MOORLINE_PKG")}`);
    if (!own("--agents")) this.#flags.push("--agents", "off");
    if (!own("--delivery")) this.#flags.push("--delivery", "off");
    if (!own("--snapshot")) this.#flags.push("--snapshot", "off");
    if (!own("--greet-wait-ms")) this.#flags.push("--greet-wait-ms", "40");
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it; a second time on the ports of the first. */
  async start(): Promise<void> {
    const child = spawn(wanted("MOORLINE_GATEWAY"), [...this.#ports, ...this.#flags], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.on("data", (chunk: Buffer) => (this.stderr += chunk));
    const lines = createInterface({ input: child.stdout });
    const line = await Promise.race([
      once(lines, "line").then(([text]) => text as string),
      once(child, "exit").then(([code]) => {
        throw new Error(`the gateway ended with ${code}: ${this.stderr}`);
      }),
    ]);
    ({ url: this.url, ws: this.ws, proxy: this.proxy } = JSON.parse(line) as { url: string; ws: string; proxy: string });
    this.#ports = ["--port", new URL(this.ws).port, "--proxy-port", new URL(this.proxy).port];
  }

  /** Stops it and answers with what it exited. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return child?.exitCode ?? null;
    const gone = once(child, "exit");
    child.kill(signal);
    const [code] = (await gone) as [number | null];
    return code;
  }

  async get<T>(what: string): Promise<T> {
    const answer = await fetch(`${this.url}control/${what}`, { headers: { "x-moorline-control": "1" } });
    if (!answer.ok) throw new Error(`GET /control/${what} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async post<T = { count: number }>(what: string, body: object = {}): Promise<T> {
    const answer = await fetch(`${this.url}control/${what}`, {
      method: "POST",
      headers: { "x-moorline-control": "1", "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`POST /control/${what} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  state(): Promise<GatewayState> {
    return this.get("state");
  }

  faults(plan: Faults): Promise<unknown> {
    return this.post("faults", plan);
  }

  sendFrame(frame: unknown): Promise<{ count: number }> {
    return this.post("send", { frame });
  }

  /** A frame of the feed: numbered, and kept for sessions that are away. Answers with how many sessions have it. */
  feedFrame(frame: object, to?: string): Promise<{ count: number }> {
    return this.post("send", { frame, feed: true, ...(to === undefined ? {} : { to }) });
  }

  /** What goes wrong with numbers and acknowledgements; without a word nothing does. */
  misbehave(plan: Misconduct = {}): Promise<unknown> {
    return this.post("delivery", plan);
  }

  /** The numbered messages that were taken, in that order; of one stream, if it is given. */
  async taken(stream?: string): Promise<Received[]> {
    const entries = await this.get<Received[]>("taken");
    return stream === undefined ? entries : entries.filter((entry) => entry.stream === stream);
  }

  /** The frames that clients sent, in order of arrival; of one type, if it is given. */
  async received(type?: string): Promise<Record<string, unknown>[]> {
    const entries = await this.get<Received[]>("received");
    return entries.flatMap(({ frame }) => (frame && (type === undefined || frame["type"] === type) ? [frame] : []));
  }
}

/** Asks until the answer is good; throws with the last answer at the deadline. */
export async function eventually<T>(ask: () => Promise<T>, good: (answer: T) => boolean, what: string, limitMs = 10_000): Promise<T> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (good(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not come true within ${limitMs} ms: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
