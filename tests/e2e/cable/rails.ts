/** The real Rails server as a process, and its controls; tests/rails says what it offers. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface RailsState {
  rails: string;
  ruby: string;
  puma: string;
  pid: number;
  adapter: string;
  workers: number;
  muted: boolean;
  /** How many connections were asked for, whatever became of them. */
  asked: number;
  connections: { user: string; subscriptions: string[] }[];
}

/** What Rails itself would choose, unless told: broadcasts by `async`, four workers. */
export interface RailsOptions {
  adapter?: "async" | "inline";
  workers?: number;
}

export function wanted(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: type \`cargo xtask test cable\``);
  return value;
}

// A worker that ends in the middle of a test leaves no server behind, and no suspended one.
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Rails {
  #process: ChildProcess | undefined;
  #port = "0";
  readonly #options: RailsOptions;
  #said = "";

  constructor(options: RailsOptions = {}) {
    this.#options = options;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get cable(): string {
    return `ws://127.0.0.1:${this.#port}/cable`;
  }

  /** Starts it; a second time on the port of the first. */
  async start(): Promise<void> {
    if (this.#process) throw new Error("the Rails server is running");
    const child = spawn(
      wanted("MOORLINE_RUBY"),
      ["-e", 'require "puma/cli"; Puma::CLI.new(ARGV).run', "--", "-b", `tcp://127.0.0.1:${this.#port}`, wanted("MOORLINE_RAILS")],
      {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          ...process.env,
          RAILS_ENV: "production",
          RACK_ENV: "production",
          CABLE_ADAPTER: this.#options.adapter ?? "async",
          CABLE_WORKERS: String(this.#options.workers ?? 4),
        },
      },
    );
    this.#process = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    this.#said = "";
    child.stderr.on("data", (chunk: Buffer) => (this.#said = (this.#said + chunk).slice(-4000)));
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        if (this.#process === child) this.#process = undefined;
        reject(new Error(`the Rails server ended with ${code ?? signal}: ${this.#said}`));
      });
      lines.on("line", (line) => {
        this.#said = `${this.#said}${line}\n`.slice(-4000);
        const port = /Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
        if (!port) return;
        this.#port = port;
        resolve();
      });
    });
  }

  /** Ends it. SIGKILL and SIGTERM look the same to a client: no word, no closing handshake. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (!child) return;
    const gone = once(child, "exit");
    child.kill("SIGCONT");
    child.kill(signal);
    await gone;
  }

  /** The process no longer runs, and its sockets stay open. */
  suspend(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Whatever the last test did to it: running, and as it was when it started. */
  async mend(): Promise<void> {
    if (this.#process) this.resume();
    else await this.start();
    await this.post("reset");
  }

  state(): Promise<RailsState> {
    return this.#ask("state");
  }

  post(what: "reset" | "restart" | "mute" | "origin" | "disconnect" | "close" | "broadcast", body: object = {}): Promise<RailsState> {
    return this.#ask(what, body);
  }

  async #ask(what: string, body?: object): Promise<RailsState> {
    const answer = await fetch(`${this.url}/control/${what}`, {
      headers: { "x-moorline-control": "1", "content-type": "application/json", connection: "close" },
      ...(body && { method: "POST", body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`/control/${what} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as RailsState;
  }
}
