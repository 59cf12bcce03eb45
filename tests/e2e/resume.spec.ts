// What a resume answers, and what becomes of messages by it; the window; a path that is dead in one direction.
import { type Gateway, type Page, details, eventually, expect, moored, next, sockets, test } from "./support/test.js";

const ON = ["--delivery", "on"];
const QUICK = { reconnect: { baseDelayMs: 100 }, connectTimeoutMs: 3000 };

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

/** Sends the notes `from..to`, all at once. */
async function sending(page: Page, from: number, to: number): Promise<void> {
  await page.evaluate(
    ([from, to]) => {
      const receipts = ((globalThis as any).receipts ??= []);
      for (let n = from; n < to; n++) receipts[n] = rig.main.send({ type: "note", n });
    },
    [from, to] as const,
  );
}

const statuses = (page: Page) => page.evaluate(() => (globalThis as any).receipts.map((receipt: any) => receipt.status) as string[]);

/** The notes that the gateway took, in its order. */
async function notes(gateway: Gateway): Promise<number[]> {
  return (await gateway.taken()).flatMap(({ frame }) => (frame?.["type"] === "note" ? [Number(frame["n"])] : []));
}

/** Every one of so many is acknowledged, and was taken once and in order. */
async function delivered(page: Page, gateway: Gateway, count: number): Promise<void> {
  await eventually(() => statuses(page), (all) => all.length === count && all.every((status) => status === "acked"), "an acknowledgement of each", 30_000);
  expect(await notes(gateway)).toEqual(upTo(count));
}

for (const way of ["up", "down"] as const) {
  test(`a path that is dead ${way} loses and doubles nothing`, async ({ launch, open }) => {
    const gateway = await launch(...ON);
    const page = await open(gateway);
    await moored(page, QUICK, gateway.proxy);
    await sending(page, 0, 20);
    await gateway.faults({ stall: way });
    await sending(page, 20, 60);
    if (way === "down") await eventually(() => notes(gateway), (all) => all.length === 60, "what was sent into it");
    await gateway.faults({ reset: true });
    await delivered(page, gateway, 60);
  });
}

for (const resume of ["withoutTaken", "otherEpoch", "takenAhead", "plain"] as const) {
  test(`where the answer does not tell what was taken, what was out is unknown and what was not is sent (${resume})`, async ({ launch, open }) => {
    const gateway = await launch(...ON);
    const page = await open(gateway);
    await moored(page, QUICK);
    await gateway.misbehave({ holdAcks: true, resume, resumeTimes: 1 });
    await sending(page, 0, 5);
    await eventually(() => notes(gateway), (all) => all.length === 5, "the notes");
    await gateway.post("close", { abrupt: true });
    await next(page, "ws-disconnected");
    await sending(page, 5, 8);
    const arrived = async () => (await gateway.received("note")).map((frame) => Number(frame["n"]));
    await eventually(arrived, (all) => all.length >= 8, "the rest");
    await gateway.misbehave();
    const told = resume === "plain" ? "sent" : "acked";
    const fates = [...Array<string>(5).fill("unknown"), ...Array<string>(3).fill(told)];
    await eventually(() => statuses(page), (all) => JSON.stringify(all) === JSON.stringify(fates), "these fates");
    expect(await arrived()).toEqual(upTo(8));
    const codes = (await details(page, "ws-error")).map(({ code }) => code);
    expect(codes).toEqual(resume === "takenAhead" ? ["peer.ack-ahead", "send.unknown"] : ["send.unknown"]);
  });
}

test("a resume that is never answered is tried again, and one that is answered late is waited for", async ({ launch, open }) => {
  test.slow();
  const gateway = await launch(...ON);
  const page = await open(gateway);
  const seen = sockets(page);
  await moored(page, { ...QUICK, connectTimeoutMs: 1500 });
  await gateway.misbehave({ resume: "never", resumeTimes: 1, cutAfterTaking: 3 });
  await sending(page, 0, 10);
  await delivered(page, gateway, 10);
  expect(seen.length).toBeGreaterThanOrEqual(3);
  await gateway.misbehave({ resumeDelayMs: 700, cutAfterTaking: 3 });
  await sending(page, 10, 20);
  await delivered(page, gateway, 20);
});

test("no more than the window is out, and what was held goes when the acknowledgements come", async ({ launch, open }) => {
  const gateway = await launch(...ON, "--delivery-window", "8");
  const page = await open(gateway);
  await moored(page, QUICK);
  await gateway.misbehave({ holdAcks: true });
  await sending(page, 0, 40);
  await eventually(() => notes(gateway), (all) => all.length === 8, "a window full");
  await gateway.misbehave();
  await delivered(page, gateway, 40);
  expect((await gateway.state()).connections[0]!.mostUnacknowledged).toBe(8);
});

