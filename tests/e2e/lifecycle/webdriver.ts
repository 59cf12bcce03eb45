/** A browser driven by WebDriver over fetch: its driver's process, one session, its windows. What a test wants of them is not here. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { eventually } from "../support/gateway.js";

export interface Driver {
  program: string;
  /** The argument by which it is told its port. */
  port: (port: number) => string[];
  capabilities: Record<string, unknown>;
  environment?: Record<string, string>;
}

export class Session {
  readonly #process: ChildProcess;
  readonly #address: string;
  #path = "";
  /** The window that the browser starts with. It stays: a session ends with its last window. */
  #first = "";
  #window = "";
  // A session takes one command at a time.
  #last: Promise<unknown> = Promise.resolve();

  private constructor(process: ChildProcess, address: string) {
    this.#process = process;
    this.#address = address;
  }

  static async start({ program, port, capabilities, environment }: Driver): Promise<Session> {
    const free = await freePort();
    const child = spawn(program, port(free), { stdio: "ignore", env: { ...process.env, ...environment } });
    const failed = once(child, "exit").then(([code]) => Promise.reject(new Error(`${program} ended with ${code}`)));
    failed.catch(() => {});
    const session = new Session(child, `http://127.0.0.1:${free}`);
    const there = eventually(() => fetch(`${session.#address}/status`).then(({ ok }) => ok, () => false), Boolean, `${program}`, 30_000);
    await Promise.race([there, failed]);
    const { sessionId } = (await session.#send("POST", "/session", { capabilities: { alwaysMatch: capabilities } })) as { sessionId: string };
    session.#path = `/session/${sessionId}`;
    session.#first = session.#window = (await session.command("GET", "window")) as string;
    await session.command("POST", "timeouts", { script: 60_000, pageLoad: 60_000 });
    return session;
  }

  async stop(): Promise<void> {
    await this.#send("DELETE", this.#path, undefined).catch(() => {});
    if (this.#process.exitCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.kill();
    await gone;
  }

  /** One command of the session, in one of its windows. */
  command(method: "GET" | "POST" | "DELETE", path: string, body?: object, window = this.#first): Promise<unknown> {
    const run = async () => {
      if (window !== this.#window) {
        await this.#send("POST", `${this.#path}/window`, { handle: window });
        this.#window = window;
      }
      return this.#send(method, `${this.#path}/${path}`, body);
    };
    const answer = this.#last.then(run, run);
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #send(method: string, path: string, body: object | undefined): Promise<unknown> {
    const answer = await fetch(this.#address + path, {
      method,
      headers: { "content-type": "application/json" },
      ...(method === "POST" ? { body: JSON.stringify(body ?? {}) } : {}),
    });
    const { value } = (await answer.json()) as { value: { error?: string; message?: string } | null };
    if (!answer.ok) throw new Error(`${method} ${path}: ${value?.error}: ${value?.message}`);
    return value;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
