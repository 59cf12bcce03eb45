/**
 * A headless Chromium spoken to by the DevTools protocol over a pipe. The protocol's Network domain stays off: it would
 * report every WebSocket frame, at more than a frame costs.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const FLAGS = [
  "--headless=new",
  "--remote-debugging-pipe",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-extensions",
  "--disable-sync",
  "--disable-quic",
  // Every page waits in the background while another takes its turn.
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
];

export class Browser {
  #child;
  #profile;
  /** Settles when the process is gone. */
  ended;
  #calls = new Map();
  #next = 1;
  #rest = "";

  static async launch(executable) {
    const browser = new Browser();
    browser.#profile = await mkdtemp(path.join(tmpdir(), "moorline-bench-"));
    const root = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    const child = spawn(executable, [...FLAGS, ...root, `--user-data-dir=${browser.#profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    browser.#child = child;
    browser.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(browser.#fail(error)));
      child.once("exit", (code) => resolve(browser.#fail(new Error(`Chromium ended with ${code}`))));
    });
    child.stdio[3].on("error", () => {});
    child.stdio[4].setEncoding("utf8").on("data", (text) => browser.#hear(text));
    return browser;
  }

  call(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, method });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  async version() {
    return (await this.call("Browser.getVersion")).product;
  }

  /** How many renderer processes there are. */
  async renderers() {
    const { processInfo } = await this.call("SystemInfo.getProcessInfo");
    return processInfo.filter(({ type }) => type === "renderer").length;
  }

  /** A page of its own, once its script has run; with `alone`, with a storage of its own too. */
  async open(url, { alone = false } = {}) {
    const { browserContextId } = alone ? await this.call("Target.createBrowserContext") : {};
    const { targetId } = await this.call("Target.createTarget", { url, newWindow: true, browserContextId });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId, targetId, browserContextId);
    await page.call("Performance.enable", { timeDomain: "threadTicks" });
    await page.started(url);
    return page;
  }

  async close() {
    this.call("Browser.close").catch(() => {});
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 3000);
    await this.ended;
    clearTimeout(late);
    await this.#tidy();
  }

  /** Where nobody may be kept waiting. */
  async kill() {
    this.#child.kill("SIGKILL");
    await this.ended;
    await this.#tidy();
  }

  async #tidy() {
    // The browser's helpers may still be letting go of the profile.
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #hear(text) {
    const parts = (this.#rest + text).split("\0");
    this.#rest = parts.pop();
    for (const part of parts) {
      const { id, result, error } = JSON.parse(part);
      const waiting = this.#calls.get(id);
      this.#calls.delete(id);
      if (error) waiting?.reject(new Error(`${waiting.method}: ${error.message}`));
      else waiting?.resolve(result);
    }
  }

  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

class Page {
  #target;
  #context;

  constructor(browser, sessionId, target, context) {
    this.browser = browser;
    this.sessionId = sessionId;
    this.#target = target;
    this.#context = context;
  }

  /** Until the page has been navigated to there is nothing that could be asked. */
  async started(what) {
    const end = Date.now() + 60_000;
    while (!(await this.run("typeof globalThis.bench === 'object' && !bench.left").catch(() => false))) {
      if (Date.now() > end) throw new Error(`the page at ${what} did not start`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** As the user's own reload, until the script has run again. */
  async reload() {
    await this.run("void (bench.left = true)");
    await this.call("Page.reload");
    await this.started("the same address");
  }

  /** As when the user looks at another tab of the window. Answers what brings this one to the front again. */
  async hide() {
    const { targetId } = await this.browser.call("Target.createTarget", { url: "about:blank", browserContextId: this.#context });
    return () => this.browser.call("Target.closeTarget", { targetId });
  }

  /** With its storage, if that was its own. */
  async close() {
    await this.browser.call("Target.closeTarget", { targetId: this.#target });
    if (this.#context) await this.browser.call("Target.disposeBrowserContext", { browserContextId: this.#context });
  }

  call(method, params) {
    return this.browser.call(method, params, this.sessionId);
  }

  /** What an expression, or the promise it makes, comes to. */
  async run(expression) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) {
      throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    }
    return result.value;
  }

  /** Calls a function of the rig's. */
  bench(name, ...given) {
    return this.run(`bench.${name}(${given.map((value) => JSON.stringify(value)).join(", ")})`);
  }

  /** Seconds of CPU that the page's main thread has spent on tasks. */
  async cpu() {
    const { metrics } = await this.call("Performance.getMetrics");
    return metrics.find(({ name }) => name === "TaskDuration").value;
  }

  /** Bytes of JavaScript heap in use after a garbage collection. */
  async heap() {
    await this.call("HeapProfiler.collectGarbage");
    await this.call("HeapProfiler.collectGarbage");
    return (await this.call("Runtime.getHeapUsage")).usedSize;
  }
}
