// What a page keeps of its queue beyond its own end (`queue.persist`), and what the next page makes of it.
import { arrivals, details, eventually, expect, type Gateway, moored, next, type Page, ready, test } from "./support/test.js";

const KEY = "hermes-session.outbox";
const numbers = (frames: Record<string, unknown>[]) => frames.map((frame) => frame["n"] as number);
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);
const PERSIST = { queue: { persist: true } };

/** A page whose gateway is down, with a line that keeps what it sends. */
async function away(open: (gateway: Gateway) => Promise<Page>, gateway: Gateway, options: object = PERSIST): Promise<Page> {
  const page = await open(gateway);
  await begin(page, options);
  return page;
}

/** Makes the page's line, and waits until it is served. */
async function begin(page: Page, options: object = PERSIST): Promise<void> {
  await page.evaluate((options) => {
    rig.line({ reconnect: { baseDelayMs: 40, maxDelayMs: 80 }, ...options });
    return rig.until(() => rig.main.stats().keptMessages !== undefined || rig.main.state !== "idle");
  }, options);
}

const send = (page: Page, from: number, to: number, options: object = {}) =>
  page.evaluate(
    ([from, to, options]) => {
      for (let n = from; n < to; n++) rig.main.send({ type: "note", n }, options);
    },
    [from, to, options] as const,
  );

/** Until so many lie where the next page finds them. */
const kept = (page: Page, count: number) => page.evaluate((count) => rig.until(() => rig.main.stats().keptMessages === count), count);

async function reload(page: Page, options: object = PERSIST): Promise<void> {
  await page.reload();
  await ready(page);
  await begin(page, options);
}

/** Ends a page without a word, as a crash of its process does. */
async function crash(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  session.send("Page.crash").catch(() => {});
  await crashed;
  await page.close();
}

async function arrived(gateway: Gateway, count: number): Promise<void> {
  expect(numbers(await arrivals(gateway, "note", count))).toEqual(upTo(count));
}

test("what waits when the page is reloaded arrives once and in order, before what the next page sends", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  await send(page, 0, 50);
  await kept(page, 50);
  await reload(page);
  await send(page, 50, 60);
  await reload(page);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(60);
  await send(page, 60, 70);
  await gateway.post("up");
  await next(page, "ws-connected");
  await arrived(gateway, 70);
  await kept(page, 0);
  await reload(page);
  await next(page, "ws-connected");
  expect((await gateway.received("note")).length).toBe(70);
  expect(await details(page, "ws-error")).toEqual([]);
});

for (const delivery of ["off", "on"]) {
  test(`what waits when the page crashes is the next page's to send (acknowledgements ${delivery})`, async ({ launch, open }) => {
    const gateway = await launch("--delivery", delivery);
    await gateway.post("down");
    const page = await away(open, gateway);
    await send(page, 0, 50);
    await kept(page, 50);
    await crash(page);
    const another = await away(open, gateway);
    await gateway.post("up");
    await next(another, "ws-connected");
    await arrived(gateway, 50);
    expect(await details(another, "ws-error")).toEqual([]);
  });

  test(`each tab keeps its own, and nothing is sent by two (acknowledgements ${delivery})`, async ({ launch, open }) => {
    const gateway = await launch("--delivery", delivery);
    await gateway.post("down");
    const one = await away(open, gateway);
    const other = await away(open, gateway);
    await send(one, 0, 20);
    await send(other, 20, 40);
    await kept(one, 20);
    await kept(other, 20);
    await Promise.all([reload(one), reload(other)]);
    expect(await one.evaluate(() => rig.main.stats().queueMessages)).toBe(20);
    expect(await other.evaluate(() => rig.main.stats().queueMessages)).toBe(20);
    await crash(one);
    await reload(other);
    const third = await away(open, gateway);
    expect(await third.evaluate(() => rig.main.stats().queueMessages)).toBe(20);
    await gateway.post("up");
    const all = numbers(await arrivals(gateway, "note", 40));
    expect(all.filter((n) => n < 20)).toEqual(upTo(20));
    expect(all.filter((n) => n >= 20).map((n) => n - 20)).toEqual(upTo(20));
    await reload(other);
    await reload(third);
    await next(third, "ws-connected");
    expect(await gateway.received("note")).toHaveLength(40);
  });
}

test("a page that asks for nothing of it stores nothing and loads nothing", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const fetched: string[] = [];
  page.on("request", (request) => fetched.push(request.url()));
  await moored(page);
  await page.evaluate(() => rig.main.send({ type: "note", n: 0 }));
  await arrived(gateway, 1);
  expect(fetched.filter((url) => url.includes("outbox"))).toEqual([]);
  expect(await page.evaluate(() => Object.keys(localStorage))).toEqual(["hermes-session"]);
  expect(await page.evaluate(() => rig.main.stats().keptMessages)).toBeUndefined();
});

test("ten thousand messages are kept, and sent once and in order", async ({ launch, open }) => {
  const gateway = await launch("--rate-limit", "0");
  await gateway.post("down");
  const many = { queue: { persist: true, maxMessages: 20_000, maxBytes: 10_000_000 } };
  const page = await away(open, gateway, many);
  await send(page, 0, 10_000);
  await kept(page, 10_000);
  await reload(page, many);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(10_000);
  await gateway.post("up");
  await page.evaluate(() => rig.until(() => rig.main.stats().queueMessages === 0 && rig.main.stats().keptMessages === 0));
  await arrived(gateway, 10_000);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("a message of five megabytes is kept", async ({ launch, open, context }) => {
  // The development gateway takes no such frames.
  const taken: string[] = [];
  let isDown = true;
  await context.routeWebSocket(/\/large$/, (socket) => {
    if (isDown) return void socket.close({ code: 1011 });
    socket.onMessage((text) => void taken.push(String(text)));
    socket.send(JSON.stringify({ type: "session-init", token: "t", clientId: "c" }));
  });
  const page = await open(await launch());
  const large = { queue: { persist: true, maxBytes: 20_000_000 } };
  const start = () =>
    page.evaluate((options) => {
      rig.line({ ...options, reconnect: { baseDelayMs: 100 } }, "/large");
      return rig.until(() => rig.main.stats().keptMessages !== undefined);
    }, large);
  await start();
  await page.evaluate(() => {
    rig.main.send({ type: "note", n: 0, text: "é".repeat(2_500_000) });
    rig.main.send({ type: "note", n: 1 });
  });
  await kept(page, 2);
  await page.reload();
  await ready(page);
  await start();
  expect(await page.evaluate(() => rig.main.stats().queueBytes)).toBeGreaterThan(5_000_000);
  isDown = false;
  await next(page, "ws-connected");
  await eventually(async () => taken.length, (count) => count === 2, "both messages");
  expect(taken.map((text) => JSON.parse(text))).toEqual([{ type: "note", n: 0, text: "é".repeat(2_500_000) }, { type: "note", n: 1 }]);
  await kept(page, 0);
  expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => /outbox\.\d+\./.test(key)))).toEqual([]);
});

test("what is sent and not yet in IndexedDB when the page ends goes to localStorage", async ({ launch, open }) => {
  const gateway = await launch("--rate-limit", "0");
  await gateway.post("down");
  const many = { queue: { persist: true, maxMessages: 2000 } };
  const page = await away(open, gateway, many);
  const reloaded = page.waitForEvent("load");
  await page.evaluate(() => {
    // A database that is never done.
    const slow = { objectStore: () => ({ put() {}, delete() {} }), commit() {} } as unknown as IDBTransaction;
    IDBDatabase.prototype.transaction = () => slow;
    for (let n = 0; n < 2000; n++) rig.main.send({ type: "note", n, text: "x".repeat(400) });
    location.reload();
  });
  await reloaded;
  await ready(page);
  await begin(page, many);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(2000);
  await gateway.post("up");
  await next(page, "ws-connected");
  await arrived(gateway, 2000);
  await kept(page, 0);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("what cannot be read now is left to a page that can", async ({ launch, open, context }) => {
  await context.addInitScript(() => {
    if (location.search === "?no-database") indexedDB.open = () => ({}) as IDBOpenDBRequest;
  });
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  await page.evaluate(() => rig.main.send({ type: "note", n: 1, text: "x".repeat(40_000) }));
  await kept(page, 1);
  await page.goto(`${gateway.url}?no-database`);
  await ready(page);
  await begin(page, { ...PERSIST, connectTimeoutMs: 300 });
  expect(await next(page, "ws-error")).toMatchObject({ code: "storage.denied" });
  await gateway.post("up");
  await next(page, "ws-connected");
  await send(page, 0, 1);
  expect(numbers(await arrivals(gateway, "note", 1))).toEqual([0]);
  await page.goto(gateway.url);
  await ready(page);
  await begin(page);
  expect(numbers(await arrivals(gateway, "note", 2))).toEqual([0, 1]);
  expect(await details(page, "ws-error")).toEqual([]);
});

/** The storage of a page, as far as the page lets itself be broken. */
const BROKEN: Record<string, { refuse: () => void; isKept: boolean }> = {
  "a localStorage that is full": {
    refuse: () => {
      for (let size = 5_000_000; size >= 1; size = Math.floor(size / 2))
        for (let n = 0; ; n++) {
          try {
            localStorage.setItem(`fill-${size}-${n}`, "x".repeat(size));
          } catch {
            break;
          }
        }
    },
    isKept: true,
  },
  "no localStorage": {
    refuse: () => {
      for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(globalThis, name, {
          get() {
            throw new DOMException("denied", "SecurityError");
          },
        });
    },
    isKept: true,
  },
  "no IndexedDB": {
    refuse: () => Object.defineProperty(globalThis, "indexedDB", { value: undefined }),
    isKept: true,
  },
  "no Web Locks": {
    refuse: () => Object.defineProperty(navigator, "locks", { value: undefined }),
    isKept: true,
  },
  "no storage at all": {
    refuse: () => {
      for (const name of ["localStorage", "sessionStorage", "indexedDB"])
        Object.defineProperty(globalThis, name, {
          get() {
            throw new DOMException("denied", "SecurityError");
          },
        });
    },
    isKept: false,
  },
  "an IndexedDB that refuses every write, and a full localStorage": {
    refuse: () => {
      Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
      IDBObjectStore.prototype.put = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
    },
    isKept: false,
  },
};
for (const [name, { refuse, isKept }] of Object.entries(BROKEN)) {
  test(`with ${name}, what waits is ${isKept ? "kept all the same" : "kept in memory, which is said once"}`, async ({ launch, open, context }) => {
    await context.addInitScript(refuse);
    const gateway = await launch();
    await gateway.post("down");
    const options = { ...PERSIST, session: { storage: "memory" } };
    const page = await away(open, gateway, options);
    await send(page, 0, 30);
    if (isKept) {
      await kept(page, 30);
      expect(await details(page, "ws-error")).toEqual([]);
      await reload(page, options);
      expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(30);
    } else {
      expect(await next(page, "ws-error")).toMatchObject({ code: "storage.denied", cause: expect.any(String) });
    }
    await gateway.post("up");
    await next(page, "ws-connected");
    await arrived(gateway, 30);
    await page.evaluate(() => rig.until(() => rig.main.stats().queueMessages === 0));
    await reload(page, options);
    await next(page, "ws-connected");
    await send(page, 30, 31);
    await arrived(gateway, 31);
    expect((await details(page, "ws-error")).map(({ code }) => code)).toEqual(isKept ? [] : ["storage.denied"]);
  });
}

for (const isFull of [false, true]) {
  test(`a write that fails midway is made up for in ${isFull ? "memory, which is said once" : "localStorage"}`, async ({ launch, open }) => {
    const gateway = await launch();
    await gateway.post("down");
    const page = await away(open, gateway);
    await page.evaluate((isFull) => {
      const { put } = IDBObjectStore.prototype;
      let puts = 0;
      IDBObjectStore.prototype.put = function (value: unknown, key?: IDBValidKey) {
        const asked = put.call(this, value, key!);
        if (++puts === 2) this.transaction.abort();
        return asked;
      };
      const { setItem } = Storage.prototype;
      Storage.prototype.setItem = function (key, value) {
        if (isFull && value.length > 10_000) throw new DOMException("full", "QuotaExceededError");
        setItem.call(this, key, value);
      };
      for (let n = 0; n < 3; n++) rig.main.send({ type: "note", n, text: "x".repeat(40_000) });
      rig.main.send({ type: "note", n: 3 });
    }, isFull);
    await page.evaluate(() => rig.until(() => rig.log.some(({ type }) => type === "ws-error") || rig.main.stats().keptMessages === 4));
    expect(await details(page, "ws-error")).toMatchObject(isFull ? [{ code: "storage.denied", cause: expect.any(String) }] : []);
    expect(await page.evaluate(() => rig.main.stats().keptMessages)).toBe(isFull ? 1 : 4);
    if (!isFull) await reload(page);
    await gateway.post("up");
    await next(page, "ws-connected");
    await arrived(gateway, 4);
  });
}

test("entries that are not what was written are told with their number, and the rest goes on", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  await send(page, 0, 10);
  await kept(page, 10);
  // On the way out the page says how many there are, so another one looks after it has gone.
  await page.goto("about:blank");
  const other = await open(gateway, "blank.html");
  await other.evaluate((key) => {
    const set = (n: number, change: (text: string) => string) => localStorage.setItem(`${key}.0.${n}`, change(localStorage.getItem(`${key}.0.${n}`)!));
    set(1, (text) => text.slice(0, -3));
    set(3, () => "");
    set(5, () => "null\nnull");
    set(6, (text) => text.replace('"note"', '"n"e"'));
    localStorage.removeItem(`${key}.0.8`);
    localStorage.setItem(`${key}.0.99999999999`, "x");
    localStorage.setItem(`${key}.0.me`, "x");
  }, KEY);
  await page.goto(gateway.url);
  await ready(page);
  await begin(page);
  expect(await next(page, "ws-error")).toMatchObject({ code: "storage.corrupt", count: 5 });
  await gateway.post("up");
  await next(page, "ws-connected");
  expect(numbers(await arrivals(gateway, "note", 5))).toEqual([0, 2, 4, 7, 9]);
  await kept(page, 0);
  expect(await details(page, "ws-error")).toHaveLength(1);
  expect(await page.evaluate((key) => Object.keys(localStorage).filter((name) => name.startsWith(`${key}.0.`)), KEY)).toEqual([]);
});

for (const [name, mark] of [
  ["is gone", undefined],
  ["is nonsense", "1 zzz"],
  ["lies", "1 0123456789abcdef 0000000009 0000000001 4294967295 ---------- 0"],
] as const) {
  test(`where the mark ${name}, nobody knows what was tried: all of it is told as unknown, and nothing is sent twice`, async ({ launch, open }) => {
    const gateway = await launch();
    await gateway.post("down");
    const page = await away(open, gateway);
    await send(page, 0, 10);
    await kept(page, 10);
    await page.goto("about:blank");
    const other = await open(gateway, "blank.html");
    await other.evaluate(
      ([key, mark]) => (mark === undefined ? localStorage.removeItem(`${key}.0`) : localStorage.setItem(`${key}.0`, mark)),
      [KEY, mark] as const,
    );
    await page.goto(gateway.url);
    await ready(page);
    await begin(page);
    await gateway.post("up");
    await next(page, "ws-connected");
    await send(page, 10, 11);
    expect(numbers(await arrivals(gateway, "note", 1))).toEqual([10]);
    const told = await details(page, "ws-error");
    expect(told.map(({ code, count }) => [code, count])).toEqual([["send.unknown", 10]]);
  });
}

test("a time to live goes on while nobody looks, and a clock that jumps lengthens none", async ({ launch, open, context }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  await send(page, 0, 1);
  await send(page, 1, 2, { ttlMs: 1 });
  await send(page, 2, 3, { ttlMs: 7_200_000 });
  await page.evaluate(() => rig.until(() => rig.log.some(({ type }) => type === "ws-error")));
  await send(page, 3, 4, { ttlMs: 1_800_000 });
  await kept(page, 3);
  // An hour later.
  await context.addInitScript(() => {
    const { now } = Date;
    Date.now = () => now() + 3_600_000;
  });
  await reload(page);
  expect(await next(page, "ws-error")).toMatchObject({ code: "send.expired", count: 1 });
  await send(page, 4, 5, { ttlMs: 1_800_000 });
  await kept(page, 3);
  // And back.
  await context.addInitScript(() => {
    const { now } = Date;
    Date.now = () => now() - 7_200_000;
  });
  await reload(page);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(3);
  await gateway.post("up");
  await next(page, "ws-connected");
  expect(numbers(await arrivals(gateway, "note", 3))).toEqual([0, 2, 4]);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("of those of one key the newest goes out, also over a reload", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  const pose = (n: number) => page.evaluate((n) => void rig.main.send({ type: "note", n }, { delivery: "latest", key: "pose" }), n);
  await pose(0);
  await pose(1);
  await send(page, 2, 3);
  await page.evaluate(() => void rig.main.send({ type: "note", n: 99 }, { delivery: "drop" }));
  await kept(page, 2);
  await reload(page);
  await pose(3);
  await kept(page, 2);
  await gateway.post("up");
  await next(page, "ws-connected");
  expect(numbers(await arrivals(gateway, "note", 2))).toEqual([2, 3]);
});

test("a line that is disposed of leaves what is kept to the next one, and its receipts say that they do not know", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  const fates = await page.evaluate(async () => {
    const receipts = [0, 1].map((n) => rig.main.send({ type: "note", n }));
    await rig.until(() => rig.main.stats().keptMessages === 2);
    receipts.push(rig.main.send({ type: "note", n: 2, text: "x".repeat(40_000) }));
    const fates = receipts.map(rig.fate);
    rig.main.dispose();
    return Promise.all(fates);
  });
  expect(fates).toEqual(Array(3).fill({ status: "unknown", code: "send.unknown", mine: true }));
  expect(await details(page, "ws-error")).toEqual([]);
  await begin(page);
  expect(await page.evaluate(() => rig.main.stats().queueMessages)).toBe(3);
  await gateway.post("up");
  await next(page, "ws-connected");
  await arrived(gateway, 3);
});

test("a queue that is cleared leaves nothing to anybody", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await away(open, gateway);
  await send(page, 0, 10);
  await kept(page, 10);
  await reload(page);
  const fate = await page.evaluate(() => {
    const receipt = rig.main.send({ type: "note", n: 10 });
    const fate = rig.fate(receipt);
    rig.main.clearQueue();
    return fate;
  });
  expect(fate).toMatchObject({ status: "rejected", code: "send.rejected" });
  await kept(page, 0);
  await send(page, 0, 1);
  await kept(page, 1);
  await reload(page);
  await gateway.post("up");
  await next(page, "ws-connected");
  await arrived(gateway, 1);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("what was with a socket when the page ended is told as unknown by the next one, and is not sent again; the rest is", async ({ launch, open }) => {
  const gateway = await launch("--delivery", "off");
  const page = await open(gateway);
  await moored(page, PERSIST);
  await page.evaluate(() => {
    // A path that has stopped: the browser holds what it is given, and then takes no more.
    const { send } = WebSocket.prototype;
    let held = 0;
    let taken = 0;
    Object.defineProperty(WebSocket.prototype, "bufferedAmount", { get: () => held });
    WebSocket.prototype.send = function (text) {
      if (++taken > 20) throw new DOMException("no more", "InvalidStateError");
      held += String(text).length;
      send.call(this, text);
    };
    for (let n = 0; n < 50; n++) rig.main.send({ type: "note", n });
  });
  await kept(page, 50);
  await arrived(gateway, 20);
  await page.reload();
  await ready(page);
  await moored(page, PERSIST);
  const { code, count } = await next(page, "ws-error");
  expect(code).toBe("send.unknown");
  expect(count).toBe(20);
  await arrived(gateway, 50);
  await kept(page, 0);
});

test("with a gateway that acknowledges, a reload in the middle of a dead path loses nothing and doubles nothing", async ({ launch, open }) => {
  const gateway = await launch("--rate-limit", "0", "--delivery", "on");
  const page = await open(gateway);
  const start = (from: number, to: number) =>
    page.evaluate(
      ([url, options, from, to]) => {
        rig.line({ ...options, heartbeat: { idleMs: 500, probeTimeoutMs: 500 }, reconnect: { baseDelayMs: 40 } }, url);
        let n = from;
        const timer = setInterval(() => {
          if (n < to) rig.main.send({ type: "note", n: n++ });
          else clearInterval(timer);
          if (n === to) rig.note("all-sent", n);
        }, 5);
      },
      [gateway.proxy, PERSIST, from, to] as const,
    );
  await start(0, 200);
  await next(page, "ws-connected");
  await arrivals(gateway, "note", 50);
  // What is on its way from here on is never seen again.
  await gateway.faults({ halfOpen: true, stall: true });
  await next(page, "all-sent");
  await page.reload();
  await ready(page);
  await start(200, 300);
  await next(page, "all-sent");
  await gateway.faults({ stall: false });
  await next(page, "ws-connected", 30_000);
  await arrived(gateway, 300);
  await page.evaluate(() => rig.until(() => rig.main.stats().keptMessages === 0));
  expect(await gateway.received("note")).toHaveLength(300);
  expect((await details(page, "ws-error")).filter(({ code }) => code.startsWith("send."))).toEqual([]);
});

for (const entry of ["index", "inline", "nexus", "action-cable", "openclaw", "json-rpc", "hermes"]) {
  test(`moorline/${entry} keeps what was sent for the next line of its kind`, async ({ launch, open }) => {
    const page = await open(await launch());
    const found = await page.evaluate(async (entry) => {
      const { Moorline, WebSocketClient } = await import(`/pkg/${entry}.js`);
      const make = (): typeof rig.main => {
        const options = { queue: { persist: true }, reconnect: { maxAttempts: 0 }, log: "silent" };
        return WebSocketClient ? new WebSocketClient("/nowhere", options).line : new Moorline("/nowhere", options);
      };
      rig.main = make();
      rig.main.send({ type: "note", n: 0 });
      await rig.until(() => rig.main.stats().keptMessages === 1);
      rig.main.dispose();
      rig.main = make();
      rig.main.send({ type: "note", n: 1 });
      await rig.until(() => rig.main.stats().keptMessages === 2);
      return rig.main.stats().queueMessages;
    }, entry);
    expect(found).toBe(2);
  });
}

test("an element asks for it by an attribute", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down");
  const page = await open(gateway);
  await page.evaluate(async () => {
    await import("/pkg/element.js" as string);
    document.body.innerHTML = '<moor-line url="/api/world/ws" queue-persist></moor-line>';
    const { line } = document.querySelector("moor-line") as unknown as { line: typeof rig.main };
    rig.main = line;
    line.send({ type: "note", n: 0 });
    await rig.until(() => line.stats().keptMessages === 1);
  });
});

test("a page that was put away with nothing to keep comes back as it was, and keeps again", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, PERSIST);
  const slots = () => page.evaluate(async () => (await navigator.locks.query()).held!.map(({ name }) => name));
  expect(await slots()).toEqual([`${KEY}.0`]);
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await eventually(slots, (names) => names.length === 0, "the lock to be given up");
  const other = await open(gateway);
  await moored(other, PERSIST);
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await next(page, "ws-connected");
  expect((await slots()).sort()).toEqual([`${KEY}.0`, `${KEY}.1`]);
  await gateway.post("down", { code: 1011 });
  await next(page, "ws-disconnected");
  await next(page, "ws-disconnected");
  await send(page, 0, 5);
  await kept(page, 5);
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  expect((await slots()).sort()).toEqual([`${KEY}.0`, `${KEY}.1`]);
  await gateway.post("up");
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await page.evaluate(() => rig.main.connect());
  await arrived(gateway, 5);
});

test("a page whose lock was taken while it slept, and whose messages another page has, does not send them too", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down", { code: 1011 });
  const page = await away(open, gateway);
  await send(page, 0, 5);
  await kept(page, 5);
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  const other = await open(gateway, "blank.html");
  await other.evaluate((name) => navigator.locks.request(name, { steal: true }, () => {}), `${KEY}.0`);
  await other.goto(gateway.url);
  await ready(other);
  await begin(other);
  expect(await other.evaluate(() => rig.main.stats().queueMessages)).toBe(5);
  await page.evaluate(() => globalThis.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  expect(await next(page, "ws-error")).toMatchObject({ code: "send.unknown", count: 5 });
  await send(page, 5, 7);
  await kept(page, 2);
  await gateway.post("up");
  await page.evaluate(() => rig.main.connect());
  expect((await arrivals(gateway, "note", 7)).map(({ n }) => n).sort()).toEqual(upTo(7));
  await Promise.all([kept(page, 0), kept(other, 0)]);
  expect(await gateway.received("note")).toHaveLength(7);
});

test("a page that sleeps and comes back goes on with what it had", async ({ launch, open }) => {
  const gateway = await launch();
  await gateway.post("down", { code: 1011 });
  const page = await away(open, gateway);
  await send(page, 0, 5);
  await kept(page, 5);
  for (const type of ["pagehide", "pageshow"])
    await page.evaluate((type) => globalThis.dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
  await send(page, 5, 7);
  await gateway.post("up");
  await page.evaluate(() => rig.main.connect());
  await arrived(gateway, 7);
  await kept(page, 0);
  expect(await details(page, "ws-error")).toEqual([]);
});

test("whatever happens to pages and paths, with acknowledgements nothing is lost, doubled or out of order", async ({ launch, open }) => {
  test.setTimeout(180_000);
  const gateway = await launch("--rate-limit", "0", "--delivery", "on");
  const start = (page: Page) =>
    page.evaluate(
      ([url, options]) => {
        rig.line({ ...options, heartbeat: { idleMs: 500, probeTimeoutMs: 500 }, reconnect: { baseDelayMs: 40, maxDelayMs: 80 } }, url);
        return rig.until(() => rig.main.stats().keptMessages !== undefined);
      },
      [gateway.proxy, PERSIST] as const,
    );
  let page = await open(gateway);
  await start(page);
  let sent = 0;
  // `--repeat-each` plays other runs.
  let seed = 7 + test.info().repeatEachIndex;
  const chance = (of: number) => (seed = (seed * 48_271) % 2_147_483_647) % of;
  for (let round = 0; round < 16; round++) {
    const count = 1 + chance(40);
    await send(page, sent, sent + count);
    sent += count;
    if (chance(2) === 0) await arrivals(gateway, "note", chance(sent));
    const blow = [{ reset: true }, { halfOpen: true }, { closeCode: 1011 }, { stall: true }, {}][chance(5)]!;
    await gateway.faults(blow);
    const more = chance(20);
    await send(page, sent, sent + more);
    sent += more;
    if (chance(2) === 0) {
      await crash(page);
      page = await open(gateway);
    } else {
      await page.reload();
      await ready(page);
    }
    await gateway.faults({ stall: false });
    await start(page);
  }
  await arrived(gateway, sent);
  await kept(page, 0);
  expect(await gateway.received("note")).toHaveLength(sent);
});
