// Storage that refuses, is full or holds something else; wasm that cannot be had; a bug of ours. The line says it once and goes on, or ends.
import { wanted } from "./support/gateway.js";
import { details, eventually, expect, moored, next, test, types } from "./support/test.js";

const KEY = "hermes-session";

const REFUSALS: Record<string, () => void> = {
  "a localStorage that may not be touched": () =>
    Object.defineProperty(globalThis, "localStorage", {
      get() {
        throw new DOMException("denied", "SecurityError");
      },
    }),
  "a localStorage whose every method throws": () => {
    for (const method of ["getItem", "setItem", "removeItem"] as const)
      Storage.prototype[method] = () => {
        throw new DOMException("denied", "SecurityError");
      };
  },
  "a localStorage that can be read and not written": () => {
    Storage.prototype.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  },
  "a localStorage that is full": () => {
    for (let size = 5_000_000; size >= 1; size = Math.floor(size / 2))
      for (let n = 0; ; n++) {
        try {
          localStorage.setItem(`fill-${size}-${n}`, "x".repeat(size));
        } catch {
          break;
        }
      }
  },
};
for (const [name, refuse] of Object.entries(REFUSALS)) {
  test(`${name} is one ws-error, and the session lives on in memory`, async ({ launch, open, context }) => {
    await context.addInitScript(refuse);
    const gateway = await launch();
    const page = await open(gateway);
    expect(await moored(page)).toMatchObject({ recovered: false });
    const { clientId } = await next(page, "session-init");
    expect(await next(page, "ws-error")).toMatchObject({ name: "MoorlineError", code: "storage.denied", cause: expect.any(String) });
    expect(await page.evaluate(() => rig.main.session?.clientId)).toBe(clientId);
    expect(await page.evaluate(() => rig.main.loadSession())).toMatchObject({ clientId });
    await gateway.post("close", { abrupt: true });
    expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
    await gateway.post("rotate");
    await next(page, "session-init");
    await page.evaluate(() => {
      rig.main.saveSession({ mine: 1 });
      rig.main.clearSession();
    });
    expect(await details(page, "ws-error")).toHaveLength(1);
  });
}

const FOREIGN: Record<string, string> = {
  "text that is not JSON": "{token:",
  "an empty text": "",
  "a number": "7",
  "a text in quotes": '"token"',
  null: "null",
  "an array": '["token"]',
  "an object of somebody else's": '{"theme":"dark"}',
  "an empty object": "{}",
  "a token that is a number": '{"token":5}',
  "a token that is empty": '{"token":"","savedAt":1}',
  "a token under __proto__": '{"__proto__":{"token":"x"}}',
  "five megabytes": "x".repeat(5_000_000),
  "five megabytes of a token": `{"token":"${"x".repeat(5_000_000)}","savedAt":1}`,
};
for (const [name, text] of Object.entries(FOREIGN)) {
  test(`${name} under the session's key is one ws-error, and the page connects as new`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await page.evaluate(([key, text]) => localStorage.setItem(key, text), [KEY, text] as const);
    expect(await moored(page)).toMatchObject({ recovered: false });
    const { clientId } = await next(page, "session-init");
    expect(await details(page, "ws-error")).toMatchObject([{ code: "storage.corrupt" }]);
    expect((await gateway.state()).totals).toMatchObject({ refused: 0, resumed: 0 });
    expect(await page.evaluate((key) => JSON.parse(localStorage.getItem(key)!).clientId, KEY)).toBe(clientId);
    expect(await page.evaluate(() => "token" in Object.prototype)).toBe(false);
  });
}

test("a storage that answers later is waited for, read and written", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const use = () =>
    page.evaluate(async () => {
      const kept = ((globalThis as unknown as { kept?: Map<string, string> }).kept ??= new Map<string, string>());
      const later = <T>(act: () => T) => new Promise<T>((resolve) => setTimeout(() => resolve(act()), 20));
      const storage = {
        getItem: (key: string) => later(() => kept.get(key) ?? null),
        setItem: (key: string, value: string) => later(() => kept.set(key, value)),
        removeItem: (key: string) => later(() => kept.delete(key)),
      };
      const line = rig.line({ session: { storage } });
      const connected = await rig.next("ws-connected");
      await rig.until(() => kept.size === 1);
      const session = await line.loadSession();
      line.dispose();
      return { connected, session };
    });
  const first = await use();
  const second = await use();
  expect(first.connected.recovered).toBe(false);
  expect(second.connected.recovered).toBe(true);
  expect(second.session?.clientId).toBe(first.session?.clientId);
  expect(await details(page, "ws-error")).toEqual([]);
});

for (const [name, source] of [
  ["rejects", "() => Promise.reject(new Error('no'))"],
  ["never answers", "() => new Promise(() => {})"],
  ["throws", "() => { throw new Error('no'); }"],
] as const) {
  test(`a storage of the page's own that ${name} is one ws-error at the most, and the page connects as new`, async ({ launch, open }) => {
    const gateway = await launch();
    const page = await open(gateway);
    await page.evaluate((source) => {
      const act = (0, eval)(source) as () => never;
      rig.line({ connectTimeoutMs: 300, session: { storage: { getItem: act, setItem: act, removeItem: act } } });
    }, source);
    expect(await next(page, "ws-connected")).toMatchObject({ recovered: false });
    expect(await details(page, "ws-error")).toMatchObject([{ code: "storage.denied" }]);
    await gateway.post("close", { abrupt: true });
    expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
    expect(await details(page, "ws-error")).toHaveLength(1);
  });
}

const WASM = "**/moorline_bg.wasm";

for (const [name, fulfil] of [
  ["answers 404", { status: 404, body: "not here" }],
  ["is something else", { status: 200, contentType: "application/wasm", body: "<html>" }],
  ["cannot be fetched", undefined],
] as const) {
  test(`a wasm file that ${name} is one error that says what to do, and everything that waits is rejected with it`, async ({ launch, open, context }) => {
    await context.route(WASM, (route) => (fulfil ? route.fulfill(fulfil) : route.abort()));
    const gateway = await launch();
    const page = await open(gateway);
    const warned: string[] = [];
    page.on("console", (message) => message.type() === "warning" && warned.push(message.text()));
    const fates = await page.evaluate(async () => {
      const line = rig.line();
      const receipts = [line.send({ type: "one" }), line.send({ type: "two" })];
      const loading = line.loadSession().catch((error) => error.code);
      return { fates: await Promise.all(receipts.map(rig.fate)), loading: await loading };
    });
    const rejected = { status: "rejected", code: "wasm.unavailable", mine: true };
    expect(fates).toEqual({ fates: [rejected, rejected], loading: "wasm.unavailable" });
    const errors = await details(page, "ws-error");
    expect(errors).toMatchObject([{ name: "MoorlineError", code: "wasm.unavailable", retryable: false }]);
    expect(errors[0].message).toContain("moorline_bg.wasm");
    expect(errors[0].message).toContain("moorline/inline");
    expect(warned.filter((text) => text.includes(errors[0].message))).toHaveLength(1);
    expect(await page.evaluate(() => [rig.main.state, rig.thrown(() => rig.main.send({}))?.code])).toEqual(["closed", "wasm.unavailable"]);
    // The next line may have better luck.
    await context.unroute(WASM);
    await moored(page);
  });
}

test("a wasm file with the wrong media type is used all the same", async ({ launch, open, context }) => {
  await context.route(WASM, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), "content-type": "text/plain" } });
  });
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("a failure to load is kept out of the console where the page says so", async ({ launch, open, context }) => {
  await context.route(WASM, (route) => route.fulfill({ status: 404 }));
  const gateway = await launch();
  const page = await open(gateway);
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  await page.evaluate(() => void rig.line({ log: "silent" }));
  await next(page, "ws-error");
  expect(said.filter((text) => text.includes("moorline's"))).toEqual([]);
});

for (const entry of ["index", "inline"]) {
  test(`a policy that forbids wasm is one error that says which line to add (${entry})`, async ({ launch, open }) => {
    const gateway = await launch("--csp", "default-src 'self'; script-src 'self'; connect-src 'self' ws:; img-src data:");
    const page = await open(gateway);
    const fate = await page.evaluate(async (entry) => {
      const { Moorline } = (await import(`/pkg/${entry}.js`)) as typeof import("moorline");
      rig.main = new Moorline("/api/world/ws");
      rig.main.connect();
      return rig.fate(rig.main.send({ type: "one" }));
    }, entry);
    expect(fate).toMatchObject({ status: "rejected", code: "wasm.csp" });
    const errors = await details(page, "ws-error");
    expect(errors).toMatchObject([{ name: "MoorlineError", code: "wasm.csp", retryable: false }]);
    expect(errors[0].message).toContain("script-src 'self' 'wasm-unsafe-eval'");
    expect(await page.evaluate(() => [rig.main.state, rig.thrown(() => rig.main.connect())?.code])).toEqual(["closed", "wasm.csp"]);
    expect((await gateway.state()).totals.accepted).toBe(0);
  });
}

/** Keeps what wasm exports within reach: the package that tests itself has a way to break there, and nowhere else. */
function keepExports() {
  const { instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = async (...given) => {
    const result = await instantiateStreaming(...given);
    Object.assign(globalThis, { exports: result.instance.exports });
    return result;
  };
}

test("a bug of ours is one terminal ws-error for each line, closes the sockets, and later calls throw it", async ({ launch, open, context }) => {
  await context.addInitScript(keepExports);
  const gateway = await launch("--mount", `/pkg=${wanted("MOORLINE_PKG_SELF_TEST")}`);
  const page = await open(gateway);
  const told = await page.evaluate(async () => {
    const lines = [rig.line({ session: { storage: "memory" } }), rig.line({ session: { storage: "memory" } })];
    await rig.next("ws-connected");
    await rig.next("ws-connected");
    const heard: string[] = [];
    for (const line of lines) line.addEventListener("ws-error", ({ detail }) => void heard.push(detail.code));
    const { exports } = globalThis as unknown as { exports: { panic_for_test(line: number): void } };
    const trap = rig.thrown(() => exports.panic_for_test(0));
    await rig.next("ws-error");
    await rig.next("ws-error");
    const codes = lines.map((line) => [line.state, rig.thrown(() => line.send({}))?.code, rig.thrown(() => line.connect())?.code, line.explain().join()]);
    return { trap: trap?.name, heard, codes };
  });
  expect(told.trap).toBe("RuntimeError");
  expect(told.heard).toEqual(["internal", "internal"]);
  for (const [state, sent, connected, explained] of told.codes) {
    expect([state, sent, connected]).toEqual(["closed", "internal", "internal"]);
    expect(explained).toContain("a panic on purpose");
  }
  const errors = await details(page, "ws-error");
  expect(errors).toMatchObject([{ code: "internal", retryable: false }, { code: "internal" }]);
  expect(errors[0].message).toContain("a panic on purpose");
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the sockets");
  // What still comes from the browser reaches nobody, and getting rid of the line is no new trouble.
  await page.evaluate(() => {
    globalThis.dispatchEvent(new Event("online"));
    rig.main.dispose();
  });
  expect((await types(page)).filter((type) => type === "ws-error")).toHaveLength(2);
  expect(await page.evaluate(() => rig.thrown(() => rig.main.connect())?.code)).toBe("disposed");
});
