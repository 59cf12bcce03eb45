// moorline/testing, the built entry in a real Chromium: its scenarios over moorline and over a plain client, its gateway's sockets beside
// the browser's own, its clock, its storage; and the example of docs/testing.md.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";
import type { Moorline } from "moorline";
import type { Scenario, ScenarioClient, ScenarioOptions, ScenarioOutcome, TestGatewayOptions } from "moorline/testing";
import { wanted } from "./support/gateway.js";
import { expect, type Page, test as base } from "./support/test.js";

const SCENARIOS = fileURLToPath(new URL("../../docs/scenarios", import.meta.url));
const GUIDE = fileURLToPath(new URL("../../docs/testing.md", import.meta.url));
const CLIENTS = fileURLToPath(new URL("./support/page/scenario-clients.js", import.meta.url));
const TSC = fileURLToPath(new URL("./node_modules/typescript/bin/tsc", import.meta.url));
const scenarios: Scenario[] = [];
for (const name of (await readdir(SCENARIOS)).sort()) scenarios.push(JSON.parse(await readFile(join(SCENARIOS, name), "utf8")) as Scenario);

type Kit = typeof import("moorline/testing");
declare global {
  var kit: Kit & Record<"moorline" | "plain", () => ScenarioClient>;
}

const test = base.extend<{ kitPage: Page }>({
  /** A page with the kit in it. */
  kitPage: async ({ launch, open }, use) => {
    const page = await open(await launch(), "blank.html");
    await page.evaluate(async () => {
      const [testing, clients] = ["/pkg/testing.js", "/scenario-clients.js"];
      globalThis.kit = { ...(await import(testing)), ...(await import(clients)) };
    });
    await use(page);
  },
});

const run = (page: Page, scenario: Scenario, client: "moorline" | "plain", options: Pick<ScenarioOptions, "gateway"> = {}): Promise<ScenarioOutcome> =>
  page.evaluate(([scenario, client, options]) => kit.runScenario(scenario, kit[client](), options), [scenario, client, options] as const);


for (const scenario of scenarios) {
  test(`${scenario.name}: moorline loses nothing, and tells what nobody can know`, async ({ kitPage }) => {
    const outcome = await run(kitPage, scenario, "moorline");
    expect(outcome.unmet, JSON.stringify(outcome)).toEqual([]);
    expect(outcome.messages.count + outcome.frames.count).toBeGreaterThan(30);
    expect(await kitPage.evaluate(() => `${setTimeout}${WebSocket}${performance.now}${Date.now}`.match(/native code/g)?.length)).toBe(4);
  });
}

test("a plain client runs the same scenarios, and they show what it loses", async ({ kitPage }) => {
  const lost = new Map<string, [number, number]>();
  for (const scenario of scenarios) {
    const { messages, frames } = await run(kitPage, scenario, "plain");
    lost.set(scenario.name, [messages.silent, frames.silent]);
  }
  expect(lost.get("half-open")).toEqual([20, 20]);
  expect(lost.get("reset-mid-flush")![0]).toBeGreaterThan(60);
  expect(lost.get("gateway-restart-without-memory")![0]).toBeGreaterThanOrEqual(5);
  expect(lost.get("gateway-restart-with-memory")![1]).toBeGreaterThanOrEqual(10);
  expect(lost.get("replay-overlaps-live")![1]).toBeGreaterThanOrEqual(10);
});

test("what nobody can know is told: with no memory in the gateway, a message that was lost says unknown", async ({ kitPage }) => {
  const outcome = await run(kitPage, scenarios.find(({ name }) => name === "gateway-restart-without-memory")!, "moorline");
  expect(outcome.messages).toMatchObject({ lost: 5, silent: 0 });
});

test("a scenario shows a gateway without acknowledgement for what it is: moorline tells each message that is lost", async ({ kitPage }) => {
  const outcome = await run(kitPage, scenarios.find(({ name }) => name === "half-open")!, "moorline", { gateway: { delivery: false } });
  expect(outcome.messages.lost).toBeGreaterThan(0);
  expect(outcome.messages).toMatchObject({ silent: 0, doubled: 0, disordered: 0 });
});

test("a scenario with a deed that does not exist is refused by its name, and the page has its own back", async ({ kitPage }) => {
  const said = await kitPage.evaluate(async () => {
    const before = [WebSocket, setTimeout, Date.now];
    const said = await kit.runScenario({ name: "odd", about: "", steps: [{ do: "toString" }], expect: {} }, kit.plain()).catch((error) => String(error));
    return [said, [WebSocket, setTimeout, Date.now].every((now, at) => now === before[at])];
  });
  expect(said).toEqual(['Error: odd: there is no deed "toString"', true]);
});

/** What a page sees of sockets, as text; the same script for the browser's and for the kit's. */
async function sockets(url: string, refused: string, control: (code: number | null) => unknown): Promise<string[]> {
  const seen: string[] = [];
  const thrown = (what: string, act: () => unknown) => {
    try {
      act();
      seen.push(`${what}: nothing`);
    } catch (error) {
      seen.push(`${what}: ${(error as Error).name} ${error instanceof DOMException}`);
    }
  };
  const watched = (name: string, socket: WebSocket) =>
    new Promise<void>((resolve) => {
      const note = (event: Event) => {
        const { code, wasClean, reason } = event as CloseEvent;
        const told = event.type === "close" ? ` ${code} ${wasClean} ${JSON.stringify(reason)} ${event instanceof CloseEvent}` : "";
        seen.push(`${name}: ${event.type}, state ${socket.readyState}, holds ${socket.bufferedAmount}${told}`);
        if (event.type === "close") resolve();
      };
      // A handler that is set first is called first, one that is set again keeps no place.
      socket.onopen = () => seen.push(`${name}: handler`);
      for (const type of ["open", "error", "close"]) socket.addEventListener(type, note);
      socket.onerror = socket.onclose = null;
    });
  thrown("no address", () => new WebSocket("http:// no"));
  thrown("another scheme", () => new WebSocket("ftp://127.0.0.1/"));
  thrown("a fragment", () => new WebSocket(`${url}#part`));
  thrown("a subprotocol twice", () => new WebSocket(url, ["a", "a"]));
  const message = (socket: WebSocket) => new Promise<MessageEvent>((resolve) => socket.addEventListener("message", resolve, { once: true }));

  const first = new WebSocket(url);
  const firstOver = watched("first", first);
  seen.push([first.readyState, first.bufferedAmount, first.binaryType, first.protocol, first.extensions.length, first.url === url, first.OPEN, WebSocket.CLOSING, first instanceof EventTarget].join());
  thrown("sent too early", () => first.send("early"));
  const greeting = await message(first);
  seen.push(`${typeof greeting.data} ${greeting instanceof MessageEvent} ${greeting.origin === new URL(url).origin}`);
  first.send("täxt");
  first.send(new Uint8Array([1, 2, 3]).subarray(1));
  seen.push(`holds ${first.bufferedAmount}`);
  thrown("a code", () => first.close(1001));
  thrown("a long reason", () => first.close(4001, "é".repeat(62)));
  first.close(4001, "enough");
  thrown("sent too late", () => first.send("late"));
  seen.push(`state ${first.readyState}`);
  thrown("closed twice", () => first.close(4002));
  await firstOver;
  first.send("later");
  seen.push(`state ${first.readyState}`);

  const early = new WebSocket(url);
  const earlyOver = watched("closed while connecting", early);
  early.close();
  seen.push(`state ${early.readyState}`);
  await earlyOver;
  await watched("refused", new WebSocket(refused));
  const bare = new WebSocket(url);
  const bareOver = watched("closed without a code", bare);
  await message(bare);
  bare.close();
  await bareOver;
  for (const code of [4002, 1012, null]) {
    const socket = new WebSocket(url);
    const over = watched(`ended by ${code}`, socket);
    await message(socket);
    await control(code);
    await over;
  }
  return seen;
}

test("a socket of the kit's is to a page what the browser's own is", async ({ launch, open }) => {
  const gateway = await launch("--greet-wait-ms", "0");
  const page = await open(gateway, "blank.html");
  await page.exposeFunction("control", (code: number | null) => code === null ? gateway.faults({ reset: true }) : gateway.post("close", { code }));
  const refused = "ws://127.0.0.1:1/";
  const real = await page.evaluate(`(${sockets})(${JSON.stringify(gateway.proxy)}, ${JSON.stringify(refused)}, control)`);
  const ours = await page.evaluate(`(async () => {
    const path = "/pkg/testing.js";
    const { testGateway } = await import(path);
    const gateway = testGateway().install();
    // A gateway that refuses one address alone.
    const Open = WebSocket;
    globalThis.WebSocket = class extends Open {
      constructor(url, ...rest) {
        if (url === ${JSON.stringify(refused)}) { gateway.refuse(); }
        super(url, ...rest);
        this.addEventListener("close", () => gateway.heal());
      }
    };
    try {
      return await (${sockets})(${JSON.stringify(gateway.proxy)}, ${JSON.stringify(refused)}, (code) => code === null ? gateway.reset() : gateway.close(code));
    } finally {
      globalThis.WebSocket = Open;
      gateway.uninstall();
    }
  })()`);
  expect(ours).toEqual(real);
  expect(real).toHaveLength(34);
});

/** A line in the kit's hands, and what it heard: type, and the clock's milliseconds since it was ready. */
interface Moored {
  clock: InstanceType<Kit["VirtualClock"]>;
  gateway: InstanceType<Kit["TestGateway"]>;
  line: Moorline;
  heard: { type: string; detail: any; at: number }[];
}

/** Runs `act` in the page with a moored line; its texts are those of chat messages that arrive. */
function moored<T>(page: Page, act: (given: Moored & { texts(): string[] }) => Promise<T>, options: TestGatewayOptions = {}): Promise<T> {
  return page.evaluate(`(async (act, options) => {
    const path = "/pkg/index.js";
    const { Moorline } = await import(path);
    const clock = kit.virtualClock();
    const gateway = kit.testGateway(options).install();
    const line = new Moorline("wss://gateway.test/", { target: null, session: { storage: "memory" } });
    try {
      const heard = [];
      for (const type of ["ws-connected", "ws-disconnected", "ws-reconnecting", "ws-resumed", "ws-gap", "ws-error", "chat-message"])
        line.on(type, (detail) => heard.push({ type, detail, at: clock.now - began }));
      line.connect();
      await clock.until(() => line.state === "connected");
      var began = clock.now;
      heard.length = 0;
      return structuredClone(await act({ clock, gateway, line, heard, texts: () => heard.filter(({ type }) => type === "chat-message").map(({ detail }) => detail.text) }));
    } finally {
      line.dispose();
      gateway.uninstall();
      clock.uninstall();
    }
  })(${act}, ${JSON.stringify(options)})`);
}

test("a dead path is noticed on virtual time as it is on the real one, and the next socket is dialled", async ({ kitPage }) => {
  const heard = await moored(kitPage, async ({ clock, gateway, heard }) => {
    await clock.advance(3000);
    gateway.halfOpen();
    await clock.advance(60_000);
    return heard;
  });
  expect(heard.slice(0, 3)).toMatchObject([{ type: "ws-disconnected", detail: { cause: "heartbeat" } }, { type: "ws-reconnecting" }, { type: "ws-connected", detail: { recovered: true } }]);
  expect(heard[0]!.at).toBeGreaterThan(5000);
  expect(heard[0]!.at).toBeLessThanOrEqual(3000 + 14_000);
});

test("a path that is slow is no dead one, and its round trip is told", async ({ kitPage }) => {
  const [heard, rttMs] = await moored(kitPage, async ({ clock, gateway, heard, line }) => {
    gateway.slow(400);
    await clock.advance(60_000);
    return [heard, line.stats().rttMs] as const;
  });
  expect(heard).toEqual([]);
  expect(rttMs).toBeGreaterThan(500);
});

test("a machine that slept is asked for a sign of life when it wakes", async ({ kitPage }) => {
  const [slept, heard, awake, woken] = await moored(kitPage, async ({ clock, gateway, heard, line }) => {
    await clock.advance(1000);
    // What has a time to live makes the line look at its clock.
    const pings = async () => {
      gateway.clear();
      line.send({ type: "note" }, { ttlMs: 1000 });
      await clock.advance(100);
      return gateway.received.filter((frame) => (frame as { type?: string }).type === "ping").length;
    };
    const awake = await pings();
    const before = [Date.now(), performance.now()];
    await clock.sleep(8 * 3_600_000);
    const slept = [Date.now() - before[0]!, performance.now() - before[1]!];
    return [slept, heard, awake, await pings()] as const;
  });
  expect(slept).toEqual([8 * 3_600_000, 0]);
  expect(heard).toEqual([]);
  expect([awake, woken]).toEqual([0, 1]);
});

test("what a black hole held of a socket that was given up counts no second time", async ({ kitPage }) => {
  const [texts, taken] = await moored(kitPage, async ({ clock, gateway, line, texts }) => {
    gateway.blackHole();
    for (let n = 0; n < 5; n++) line.send({ type: "note", n });
    gateway.feed({ type: "chat", text: "held" });
    await clock.advance(25_000);
    gateway.heal();
    await clock.advance(60_000);
    return [texts(), gateway.taken.map(({ n }) => n)] as const;
  });
  expect(texts).toEqual(["held"]);
  expect(taken).toEqual([0, 1, 2, 3, 4]);
});

test("what an older socket still brings is not taken: what was told as rejected stays so", async ({ kitPage }) => {
  const [came, taken, statuses] = await moored(kitPage, async ({ clock, gateway, line }) => {
    gateway.slow(60_000);
    const receipts = [line.send({ type: "note", n: 0 }), line.send({ type: "note", n: 1 }, { delivery: "drop" })];
    gateway.slow(0);
    await clock.advance(40_000);
    const statuses = receipts.map(({ status }) => status);
    await clock.advance(60_000);
    const notes = gateway.received.filter((frame) => (frame as { type?: string }).type === "note");
    return [notes.map((frame) => (frame as { n?: number }).n), gateway.taken.map(({ n }) => n), [...statuses, ...receipts.map(({ status }) => status)]] as const;
  });
  expect(came).toEqual([0, 0, 1]);
  expect(taken).toEqual([0]);
  expect(statuses).toEqual(["acked", "rejected", "acked", "rejected"]);
});

test("the kit's gateway says what the protocol's page says, to whoever speaks it", async ({ kitPage }) => {
  const said = await kitPage.evaluate(async () => {
    const clock = kit.virtualClock();
    const gateway = kit.testGateway({ window: 8 }).install();
    const talk = async (...frames: object[]) => {
      const socket = new WebSocket("wss://gateway.test/");
      const heard: any[] = [];
      socket.onmessage = ({ data }) => heard.push(JSON.parse(data));
      socket.onclose = ({ code }) => heard.push(code);
      await clock.until(() => socket.readyState === 1);
      for (const frame of frames) socket.send(JSON.stringify(frame));
      await clock.advance(200);
      return { socket, heard };
    };
    const { heard: first } = await talk();
    const { token } = first[1];
    gateway.feed({ type: "chat", text: "one" });
    await clock.advance(1);
    const { heard: second } = await talk({ type: "session-resume", token }, { type: "delivery-open", stream: "s" }, { type: "a", $seq: 1 }, { type: "a", $seq: 1 }, { $data: [1], $seq: 4 }, { type: "ping", n: 7 });
    const { heard: third } = await talk({ type: "session-resume", token, stream: "s", epoch: gateway.epoch, seen: 0 }, { type: "a", $seq: 4 });
    const { heard: refused } = await talk({ type: "session-resume", token: "another", stream: "s" }, { type: "a", $seq: 2 });
    const taken = gateway.taken;
    const plain = await talk({ type: "plain", $seq: 9 }, [2], 5 as never, null as never);
    const { heard: unknown } = await talk({ type: "session-resume", token, stream: "never heard of", epoch: gateway.epoch, seen: 1 });
    gateway.uninstall();
    clock.uninstall();
    return { first, second, third, refused, taken, plain: plain.heard.length, unknown };
  });
  const offer = { type: "gateway-offer", ping: true, delivery: { epoch: "epoch-1", window: 8 } };
  const greeting = { type: "session-init", token: "token-1", clientId: "client-1", seq: 0 };
  expect(said.first).toEqual([offer, greeting, { type: "chat", text: "one", $seq: 1 }]);
  expect(said.second).toEqual([
    offer,
    { type: "session-resumed", clientId: "client-1", delivery: { epoch: "epoch-1", recovered: true, from: 2, to: 1 } },
    { type: "delivery-ack", seq: 4 },
    { type: "pong", n: 7 },
    1000,
  ]);
  expect(said.third).toEqual([
    offer,
    { type: "session-resumed", clientId: "client-1", delivery: { epoch: "epoch-1", taken: 4, recovered: true, from: 1, to: 1 } },
    { type: "chat", text: "one", $seq: 1 },
    { type: "delivery-ack", seq: 4 },
  ]);
  expect(said.refused).toEqual([offer, { type: "session-refused", reason: "unknown" }, { ...greeting, token: "token-2", clientId: "client-2" }, { type: "delivery-ack", seq: 2 }]);
  expect(said.taken).toEqual([{ type: "a" }, [1], { type: "a" }, { type: "plain", $seq: 9 }, [2], 5, null]);
  expect(said.plain).toBe(2);
  expect(said.unknown[1].delivery).toEqual({ epoch: "epoch-1", taken: 0, recovered: true, from: 2, to: 1 });
});

test("after a gateway forgot everything the line goes on in another session, and is acknowledged there", async ({ kitPage }) => {
  const [status, refused, clientId] = await moored(kitPage, async ({ clock, gateway, line }) => {
    await clock.advance(1000);
    gateway.restart({ forget: true, code: null });
    await clock.until(() => line.state === "connected" && gateway.connections.length === 1);
    const receipt = line.send({ type: "note" });
    await clock.advance(1000);
    return [receipt.status, gateway.received.filter((frame) => (frame as { type?: string }).type === "session-resume").length, gateway.connections[0]!.clientId] as const;
  });
  expect([status, refused, clientId]).toEqual(["acked", 1, "client-2"]);
});

test("a connection that moves loses nothing and is no loss", async ({ kitPage }) => {
  const [types, taken, here] = await moored(kitPage, async ({ clock, gateway, line, heard }) => {
    gateway.say({ type: "gateway-moving", withinMs: 0 });
    for (let n = 0; n < 5; n++) {
      line.send({ type: "note", n });
      await clock.advance(20);
    }
    await clock.advance(5000);
    return [heard.map(({ type }) => type), gateway.taken.map(({ n }) => n), gateway.connections.length] as const;
  });
  expect([types, taken, here]).toEqual([["ws-resumed"], [0, 1, 2, 3, 4], 1]);
});

test("what the gateway let go of is a gap with its numbers, and another epoch one without an end", async ({ kitPage }) => {
  const gaps = await moored(
    kitPage,
    async ({ clock, gateway, line, heard }) => {
      gateway.reset();
      for (let n = 1; n <= 5; n++) gateway.feed({ type: "chat", text: `${n}` });
      await clock.until(() => line.state === "connected" && gateway.connections.length === 1);
      await clock.advance(2000);
      gateway.restart({ forget: "feed", code: null });
      await clock.advance(60_000);
      return heard.filter(({ type }) => type === "ws-gap" || type === "chat-message").map(({ detail }) => detail.reason ? [detail.reason, detail.from, detail.to] : detail.text);
    },
    { keep: 2 },
  );
  expect(gaps).toEqual([["trimmed", 1, 3], "4", "5", ["epoch", 6, null]]);
});

test("frames that come twice count once, and one that is overtaken is told as missed", async ({ kitPage }) => {
  const told = await moored(kitPage, async ({ clock, gateway, heard }) => {
    gateway.duplicate(2);
    for (const text of ["one", "two"]) gateway.feed({ type: "chat", text });
    await clock.advance(10);
    gateway.reorder();
    for (const text of ["three", "four"]) gateway.feed({ type: "chat", text });
    await clock.advance(10);
    return heard.map(({ type, detail }) => detail.text ?? `${type} ${detail.reason} ${detail.from} ${detail.to}`);
  });
  expect(told).toEqual(["one", "two", "ws-gap skipped 3 3", "four"]);
});

test("while sockets are refused the line goes on trying, and a heal ends it", async ({ kitPage }) => {
  const [attempts, state] = await moored(kitPage, async ({ clock, gateway, line, heard }) => {
    gateway.refuse();
    gateway.reset();
    await clock.advance(120_000);
    const attempts = heard.filter(({ type }) => type === "ws-reconnecting").length;
    gateway.heal();
    await clock.advance(31_000);
    return [attempts, line.state] as const;
  });
  expect(attempts).toBeGreaterThan(3);
  expect(state).toBe("connected");
});

test("what the system's buffer does not hold stays in bufferedAmount", async ({ kitPage }) => {
  const held = await kitPage.evaluate(async () => {
    const clock = kit.virtualClock();
    const gateway = kit.testGateway().install();
    const socket = new WebSocket("wss://gateway.test/");
    await clock.until(() => socket.readyState === 1);
    socket.send("x".repeat(2_000_000));
    await clock.advance(10);
    const held = [socket.bufferedAmount];
    gateway.halfOpen();
    for (let n = 0; n < 3; n++) {
      socket.send("x".repeat(500_000));
      await clock.advance(10);
      held.push(socket.bufferedAmount);
    }
    gateway.uninstall();
    clock.uninstall();
    return held;
  });
  expect(held).toEqual([0, 0, 0, 1_500_000 - 1_048_576]);
});

test("the clock rings in order, lets promises through in between, and gives everything back", async ({ kitPage }) => {
  const rung = await kitPage.evaluate(async () => {
    const rung: unknown[] = [];
    const real = setTimeout(() => rung.push("never"), 1e6);
    const clock = kit.virtualClock(1000);
    const began = clock.now;
    const at = (what: string) => rung.push(`${what} ${Math.round(clock.now - began)} ${Date.now()}`);
    setTimeout(at, 20, "second");
    setTimeout(async () => {
      at("first");
      await Promise.resolve();
      setTimeout(at, 5, "within");
    }, 10);
    const every = setInterval(() => at("every"), 8);
    clearTimeout(setTimeout(at, 1, "cleared"));
    clearTimeout(real);
    setTimeout(() => clearInterval(every), 17);
    await clock.advance(19);
    at("between");
    await clock.advance(11);
    setInterval(() => at("late"), 100);
    await clock.freeze(1000);
    rung.push(clock.timers);
    rung.push(await clock.until(() => false, 50).catch((error: Error) => error.message.slice(0, 40)));
    setTimeout(function again() {
      setTimeout(again);
    });
    rung.push(await clock.advance(1).catch((error: Error) => error.message.slice(0, 21)));
    clock.uninstall();
    rung.push(Date.now() > 1e12, Object.hasOwn(performance, "now"));
    return rung;
  });
  expect(rung).toEqual([
    ...["every 8 1008", "first 10 1010", "within 15 1015", "every 16 1016", "between 19 1019", "second 20 1020", "late 1030 2030"],
    1,
    "did not come true within 50 ms of the cl",
    "10000 timers rang and",
    true,
    false,
  ]);
});

test("a storage is full at its bound, and room can be made", async ({ kitPage }) => {
  const said = await kitPage.evaluate(() => {
    const storage = kit.quotaExceeded(20);
    storage.setItem("a", "123456789");
    const full = (act: () => void) => {
      try {
        act();
        return "";
      } catch (error) {
        return `${(error as Error).name} ${error instanceof DOMException}`;
      }
    };
    const said = [full(() => storage.setItem("b", "")), full(() => storage.setItem("a", "1234567890")), storage.getItem("a"), full(() => storage.setItem("a", "1"))];
    storage.maxBytes = Infinity;
    return [...said, full(() => storage.setItem("b", "more")), storage.length, storage.key(1), storage.getItem("c")];
  });
  expect(said).toEqual(["QuotaExceededError true", "QuotaExceededError true", "123456789", "", "", 2, "b", null]);
});

test("a scenario runs in Node as it does in a page, and the process ends by itself", async () => {
  const pkg = wanted("MOORLINE_PKG");
  const client = (await readFile(CLIENTS, "utf8")).replace("/pkg/index.js", pathToFileURL(join(pkg, "inline.js")).href);
  const script = `${client}
    import { runScenario } from ${JSON.stringify(pathToFileURL(join(pkg, "testing.js")).href)};
    const outcomes = [];
    for (const scenario of ${JSON.stringify(scenarios)}) outcomes.push(await runScenario(scenario, moorline()));
    console.log(JSON.stringify([typeof WebSocket, outcomes.map(({ unmet }) => unmet)]));`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { timeout: 45_000 });
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual([typeof globalThis.WebSocket, scenarios.map(() => [])]);
});

test("the examples of docs/testing.md compile in a strict project, and print what stands there", async ({ kitPage }) => {
  const text = await readFile(GUIDE, "utf8");
  const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
  const home = await mkdtemp(join(tmpdir(), "moorline-testing-"));
  try {
    await mkdir(join(home, "node_modules"));
    await symlink(wanted("MOORLINE_PKG"), join(home, "node_modules/moorline"), "junction");
    const names = await Promise.all(
      examples.map(async (code, at) => {
        const name = join(home, `example-${at}.mts`);
        await writeFile(name, `${code}\nexport {};\n`);
        return name;
      }),
    );
    const flags = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", "", "--module", "nodenext", "--moduleResolution", "nodenext"];
    const { stdout } = await promisify(execFile)(process.execPath, [TSC, ...flags, ...names], { cwd: home }).catch((error: { stdout: string }) => error);
    expect(stdout).toBe("");
  } finally {
    await rm(home, { recursive: true, force: true });
  }
  const said: string[] = [];
  kitPage.on("console", (message) => said.push(message.text()));
  for (const code of examples) {
    const placed = code
      .replaceAll(/from "moorline(?:\/([\w-]+))?"/g, (_, entry = "index") => `from "/pkg/${entry}.js"`)
      .replace('import.meta.resolve("moorline/scenarios/half-open.json")', '"/pkg/scenarios/half-open.json"');
    const { code: plain } = await transform(placed, { loader: "ts", format: "esm", target: "es2022" });
    await kitPage.route("**/example.js*", (route) => route.fulfill({ contentType: "text/javascript", body: plain }));
    await kitPage.evaluate((n) => import(`/example.js?${n}` as string), said.length);
  }
  expect(said).toEqual(["heard: while you were away", "taken: 1 acked", "lost: 20 silently: 20 unmet: 3"]);
  for (const { name } of scenarios) expect(text).toContain(`\`${name}\``);
});
