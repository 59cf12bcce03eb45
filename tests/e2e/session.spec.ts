// The session: presented first, resumed, rotated, refused, and forgotten when it is too old.
import { arrivals, details, eventually, expect, moored, next, ready, sockets, test } from "./support/test.js";

const KEY = "hermes-session";

const stored = (key: string) => JSON.parse(localStorage.getItem(key) ?? "null") as Record<string, unknown> | null;

test("the first frame of a connection with a token is session-resume, before anything that waits", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const seen = sockets(page);
  await moored(page, { reconnect: { baseDelayMs: 200 } });
  const { token } = await next(page, "session-init");
  await gateway.post("close", { abrupt: true });
  await next(page, "ws-disconnected");
  await page.evaluate(() => void rig.main.send({ type: "waited" }));
  await next(page, "ws-connected");
  await arrivals(gateway, "waited", 1);
  expect(seen).toHaveLength(2);
  const frames = seen[1]!.sent.map((text) => JSON.parse(text));
  expect(frames[0]).toEqual({ type: "session-resume", token });
  expect(frames.filter(({ type }) => type === "waited")).toHaveLength(1);
});

test("a session is stored under hermes-session with its token, clientId and time", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  const { token, clientId } = await next(page, "session-init");
  const found = await page.evaluate(stored, KEY);
  expect(found).toEqual({ token, clientId, savedAt: expect.any(Number) });
  expect(Date.now() - Number(found?.["savedAt"])).toBeLessThan(60_000);
  expect(await page.evaluate(() => rig.main.loadSession())).toEqual(found);
  expect(await page.evaluate(() => rig.main.session)).toEqual(found);
});

test("a reload resumes the session", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  const { clientId } = await next(page, "session-init");
  await page.reload();
  await ready(page);
  expect(await moored(page)).toMatchObject({ recovered: true, attempt: 0 });
  expect(await page.evaluate(() => rig.main.session?.clientId)).toBe(clientId);
  expect((await gateway.state()).totals.resumed).toBe(1);
});

test("session storage and memory are used where the page asks for them", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page, { session: { storage: "session", key: "mine" } });
  expect(await page.evaluate(() => [localStorage.length, JSON.parse(sessionStorage.getItem("mine")!).clientId])).toEqual([0, expect.any(String)]);
  await page.evaluate(() => rig.main.dispose());
  await page.evaluate(() => sessionStorage.clear());
  await moored(page, { session: { storage: "memory" } });
  expect(await page.evaluate(() => [localStorage.length, sessionStorage.length])).toEqual([0, 0]);
});

for (const confirm of ["on", "off"]) {
  for (const offer of ["on", "off"]) {
    test(`a greeting that crosses the resume does not cost the session (confirmation ${confirm}, offer ${offer})`, async ({ launch, open }) => {
      const gateway = await launch("--greet", "eager", "--confirm", confirm, "--offer", offer);
      const page = await open(gateway);
      const options = { nexus: { settleMs: 150 } };
      await moored(page, options);
      const { clientId, token } = await next(page, "session-init");
      await gateway.post("close", { abrupt: true });
      const back = await next(page, "ws-connected");
      if (confirm === "on" || offer === "on") {
        expect(back).toMatchObject({ recovered: true });
      }
      await page.evaluate(() => void rig.main.send({ type: "whose" }));
      await arrivals(gateway, "whose", 1);
      expect((await gateway.state()).clients).toMatchObject([{ clientId, connected: true }]);
      // With a confirmation the kept session is also what the page holds, whatever the greeting had said.
      if (confirm === "on") {
        await page.evaluate((clientId) => rig.until(() => rig.main.session?.clientId === clientId), clientId);
        expect(await page.evaluate(stored, KEY)).toMatchObject({ clientId, token });
      }
    });
  }
}

test("a greeting that waits for the resume leaves the session as it was", async ({ launch, open }) => {
  const gateway = await launch("--greet", "wait", "--offer", "off", "--snapshot", "on");
  const page = await open(gateway);
  await moored(page, { nexus: { settleMs: 50 } });
  const { clientId, token } = await next(page, "session-init");
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  expect(await details(page, "session-init")).toHaveLength(1);
  expect(await page.evaluate(stored, KEY)).toMatchObject({ clientId, token });
});

test("a resume that the gateway answers with silence is believed in the end", async ({ launch, open }) => {
  const gateway = await launch("--greet", "wait", "--offer", "off", "--snapshot", "off");
  const page = await open(gateway);
  await moored(page, { connectTimeoutMs: 2000 });
  const { clientId } = await next(page, "session-init");
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  expect((await gateway.state()).clients).toMatchObject([{ clientId, connected: true }]);
});

for (const offer of ["on", "off"]) {
  for (const greet of ["wait", "eager"]) {
    test(`a refused token is not presented again (offer ${offer}, greeting ${greet})`, async ({ launch, open }) => {
      const gateway = await launch("--offer", offer, "--greet", greet);
      const page = await open(gateway);
      const seen = sockets(page);
      await moored(page, { nexus: { settleMs: 60 } });
      const first = await next(page, "session-init");
      await gateway.post("expire");
      await gateway.post("close", { abrupt: true });
      expect(await next(page, "ws-connected")).toMatchObject({ recovered: false });
      const second = await page.evaluate(
        (old) => rig.until(() => (rig.main.session?.clientId !== old ? rig.main.session : null)),
        first.clientId as string,
      );
      expect(await page.evaluate(stored, KEY)).toMatchObject({ token: second!.token, clientId: second!.clientId });
      await gateway.post("close", { abrupt: true });
      expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
      const presented = seen.flatMap(({ sent }) => sent.map((text) => JSON.parse(text))).filter(({ type }) => type === "session-resume");
      expect(presented.map(({ token }) => token)).toEqual([first.token, second!.token]);
    });
  }
}

test("a connection that is closed as unauthorised drops its token and comes back as new, and then gives up", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  const { clientId } = await next(page, "session-init");
  await gateway.post("close", { code: 4401 });
  expect(await next(page, "ws-disconnected")).toMatchObject({ code: 4401, cause: "unauthorized", willReconnect: true });
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: false });
  expect((await next(page, "session-init")).clientId).not.toBe(clientId);
  await page.evaluate(() => rig.main.clearSession());
  await gateway.post("close", { code: 4403 });
  expect(await next(page, "ws-failed")).toMatchObject({ code: 4403, cause: "unauthorized" });
});

test("a rotated token is stored at once and is the one that resumes", async ({ launch, open }) => {
  const gateway = await launch("--grace-ms", "1");
  const page = await open(gateway);
  const seen = sockets(page);
  await moored(page);
  const first = await next(page, "session-init");
  await gateway.post("rotate");
  const second = await next(page, "session-init");
  expect(second.clientId).toBe(first.clientId);
  expect(second.token).not.toBe(first.token);
  expect(await page.evaluate(stored, KEY)).toMatchObject({ token: second.token });
  await gateway.post("close", { abrupt: true });
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
  expect(JSON.parse(seen[1]!.sent[0]!)).toEqual({ type: "session-resume", token: second.token });
});

test("a stored session above maxAgeMs is removed and not presented, and one below is", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await moored(page);
  const { clientId, token } = await next(page, "session-init");
  const age = (ms: number) =>
    page.evaluate(
      ([key, ms]) => {
        const session = JSON.parse(localStorage.getItem(key)!);
        localStorage.setItem(key, JSON.stringify({ ...session, savedAt: Date.now() - ms }));
      },
      [KEY, ms] as const,
    );
  await page.evaluate(() => rig.main.dispose());
  await age(50_000);
  expect(await moored(page, { session: { maxAgeMs: 100_000 } })).toMatchObject({ recovered: true });
  await page.evaluate(() => rig.main.dispose());
  await age(200_000);
  expect(await moored(page, { session: { maxAgeMs: 100_000 } })).toMatchObject({ recovered: false });
  const renewed = await page.evaluate(stored, KEY);
  expect(renewed?.["clientId"]).not.toBe(clientId);
  expect(renewed?.["token"]).not.toBe(token);
});

test("what the page saves itself is kept with a time, read back, and a token in it is presented", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  const seen = sockets(page);
  await page.evaluate(() => {
    const line = rig.line({}, undefined, false);
    line.saveSession({ token: "of my own", clientId: "me", colour: "red" });
    line.connect();
  });
  await next(page, "ws-connected");
  expect(JSON.parse(seen[0]!.sent[0]!)).toEqual({ type: "session-resume", token: "of my own" });
  await page.evaluate(() => rig.main.saveSession({ colour: "blue" }));
  expect(await page.evaluate(stored, KEY)).toEqual({ colour: "blue", savedAt: expect.any(Number) });
  await page.evaluate(() => rig.main.clearSession());
  expect(await page.evaluate(stored, KEY)).toBeNull();
  expect(await page.evaluate(() => rig.main.loadSession())).toBeNull();
});

test("a gateway that names its frames otherwise is served by options", async ({ launch, open }) => {
  const gateway = await launch("--greet-wait-ms", "60000", "--offer", "off");
  const page = await open(gateway);
  const seen = sockets(page);
  await page.evaluate(() => {
    const names = { initType: "hello", resumeType: "again", tokenField: "ticket" };
    rig.line({ nexus: names });
  });
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 1, "a connection");
  await gateway.sendFrame({ type: "hello", ticket: "abc", clientId: "x" });
  await next(page, "ws-connected");
  expect(await next(page, "session-init")).toMatchObject({ type: "hello", ticket: "abc" });
  await gateway.post("close", { abrupt: true });
  await eventually(async () => seen, (all) => (all[1]?.sent.length ?? 0) > 0, "the second connection's first frame");
  expect(JSON.parse(seen[1]!.sent[0]!)).toEqual({ type: "again", ticket: "abc" });
});
