/** Three browser engines behind one small face: what a scenario does to a page, whichever engine shows it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type Browser, type Page, firefox } from "@playwright/test";
import { eventually, wanted } from "../support/gateway.js";
import { type Driver, Session } from "./webdriver.js";

export type Name = "chromium" | "firefox" | "webkit";

/** A page in a window of its own. */
export interface Tab {
  goto(url: string): Promise<void>;
  /** Runs a function in the page, which sees nothing but its argument. */
  run<T, A>(act: (given: A) => T | Promise<T>, given: A): Promise<T>;
  back(): Promise<void>;
  forward(): Promise<void>;
  reload(): Promise<void>;
  hide(): Promise<void>;
  show(): Promise<void>;
  offline(wished: boolean): Promise<void>;
  freeze(wished: boolean): Promise<void>;
  close(): Promise<void>;
}

export interface Engine {
  readonly name: Name;
  /** What this engine, driven as it is here, can do to a page. */
  readonly can: { freeze: boolean; offline: boolean };
  tab(): Promise<Tab>;
  stop(): Promise<void>;
}

/** Why this engine cannot be had on this machine, if it cannot. */
export function lacking(name: Name): string | undefined {
  return process.env[`MOORLINE_LACKS_${name.toUpperCase()}`] || undefined;
}

export function start(name: Name): Promise<Engine> {
  return { chromium: startChromium, firefox: startFirefox, webkit: startWebKit }[name]();
}

/** Chromium by its own driver: Playwright has every page emulate the focus, and such a page is never hidden. */
async function startChromium(): Promise<Engine> {
  const session = await Session.start({
    program: wanted("MOORLINE_CHROMEDRIVER"),
    port: (port) => [`--port=${port}`],
    capabilities: {
      "goog:chromeOptions": {
        binary: wanted("MOORLINE_CHROMIUM"),
        args: [
          "--headless=new",
          "--no-sandbox",
          "--no-first-run",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-quic",
          "--disable-sync",
        ],
      },
    },
  });
  return new Driven("chromium", { freeze: true, offline: true }, session, () => session.stop());
}

/** WebKitGTK's own browser. It has no headless mode, so it has a display that nobody looks at. */
async function startWebKit(): Promise<Engine> {
  const display = await startDisplay();
  const driver: Driver = {
    program: wanted("MOORLINE_WEBKIT_DRIVER"),
    port: (port) => ["-p", String(port)],
    capabilities: {},
    environment: { DISPLAY: display.name, GDK_BACKEND: "x11", LIBGL_ALWAYS_SOFTWARE: "1" },
  };
  const session = await Session.start(driver).catch((error: unknown) => {
    display.process.kill();
    throw error;
  });
  return new Driven("webkit", { freeze: false, offline: false }, session, async () => {
    await session.stop();
    display.process.kill();
  });
}

async function startDisplay(): Promise<{ name: string; process: ChildProcess }> {
  const child = spawn(wanted("MOORLINE_XVFB"), ["-displayfd", "3", "-screen", "0", "1280x800x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const failed = once(child, "exit").then(([code]) => Promise.reject(new Error(`Xvfb ended with ${code}`)));
  failed.catch(() => {});
  const [number] = (await Promise.race([once(child.stdio[3]!, "data"), failed])) as [Buffer];
  return { name: `:${String(number).trim()}`, process: child };
}

class Driven implements Engine {
  readonly name: Name;
  readonly can: Engine["can"];
  readonly #session: Session;
  readonly stop: () => Promise<void>;

  constructor(name: Name, can: Engine["can"], session: Session, stop: () => Promise<void>) {
    this.name = name;
    this.can = can;
    this.#session = session;
    this.stop = stop;
  }

  async tab(): Promise<Tab> {
    const session = this.#session;
    const { handle } = (await session.command("POST", "window/new", { type: "window" })) as { handle: string };
    const command = (method: "GET" | "POST" | "DELETE", path: string, body?: object) => session.command(method, path, body, handle);
    const devtools = (cmd: string, params: object) => command("POST", "goog/cdp/execute", { cmd, params });
    const post = async (path: string, body?: object) => void (await command("POST", path, body));
    return {
      goto: (url) => post("url", { url }),
      run: async <T, A>(act: (given: A) => T | Promise<T>, given: A) => {
        const script = `const [given, done] = arguments;
          Promise.resolve().then(() => (${act})(given)).then(
            (answer) => done({ answer }),
            (error) => done({ error: String(error && error.stack || error) + "\\n" + (error && error.message) }));`;
        const { answer, error } = (await command("POST", "execute/async", { script, args: [given ?? null] })) as { answer: T; error?: string };
        if (error) throw new Error(error);
        return answer;
      },
      back: () => post("back"),
      forward: () => post("forward"),
      reload: () => post("refresh"),
      hide: () => post("window/minimize"),
      show: () => post("window/rect", { x: 0, y: 0, width: 800, height: 600 }),
      offline: async (offline) => {
        await devtools("Network.enable", {});
        await devtools("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
      },
      freeze: async (wished) => void (await devtools("Page.setWebLifecycleState", { state: wished ? "frozen" : "active" })),
      close: async () => void (await command("DELETE", "window")),
    };
  }
}

/** Firefox by Playwright, which speaks WebDriver BiDi with it. */
async function startFirefox(): Promise<Engine> {
  const browser = await firefox.launch({ channel: "moz-firefox", executablePath: wanted("MOORLINE_FIREFOX"), headless: true });
  return {
    name: "firefox",
    can: { freeze: false, offline: true },
    tab: () => openFirefox(browser),
    stop: () => browser.close(),
  };
}

async function openFirefox(browser: Browser): Promise<Tab> {
  const context = browser.contexts()[0] ?? (await browser.newContext());
  const page = await context.newPage();
  let cover: Page | undefined;
  // Playwright hears nothing of a page that comes out of the cache: `goBack` would wait for its load, and `url()` is the old one.
  const travel = async (steps: number) => {
    const place = () => page.evaluate(() => document.readyState === "complete" && location.href).catch(() => false as const);
    const from = await place();
    await page.evaluate((steps) => void setTimeout(() => history.go(steps)), steps);
    await eventually(place, (href) => href !== false && href !== from, "the other page", 30_000);
  };
  return {
    goto: async (url) => void (await page.goto(url)),
    run: <T, A>(act: (given: A) => T | Promise<T>, given: A) => page.evaluate(act as (given: unknown) => T, given),
    back: () => travel(-1),
    forward: () => travel(1),
    reload: async () => void (await page.reload()),
    hide: async () => {
      // A tab that the page itself opens stands before it in the same window.
      [cover] = await Promise.all([page.waitForEvent("popup"), page.evaluate(() => void window.open("about:blank"))]);
      await page.waitForFunction(() => document.visibilityState === "hidden");
    },
    show: async () => {
      await cover?.close();
      cover = undefined;
      await page.bringToFront();
    },
    offline: (wished) => context.setOffline(wished),
    freeze: () => Promise.reject(new Error("Firefox freezes no page")),
    close: () => page.close(),
  };
}
