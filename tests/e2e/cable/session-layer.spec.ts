// The session layer over a real Rails server, whose own adapter swaps broadcasts as it likes: what may be shown is in order, whole
// and once, through switches, restarts and a process that is killed.
import type { AgentSession, Said } from "moorline/agent-session";
import type { Moorline } from "moorline/action-cable";
import { eventually, expect, type Page, test } from "./test.js";

interface Layer {
  line: Moorline;
  agent: AgentSession;
  heard: Record<string, any[]>;
}
declare global {
  var layer: Layer;
}

async function begun(page: Page, url: string, sessionId: number): Promise<void> {
  await page.evaluate(
    async ([url, sessionId]) => {
      const { Moorline } = (await import("/pkg/action-cable.js" as string)) as typeof import("moorline/action-cable");
      const { AgentSession } = (await import("/pkg/agent-session.js" as string)) as typeof import("moorline/agent-session");
      const line = new Moorline(url, { target: null });
      const agent = new AgentSession(line, { sessionId });
      const heard: Record<string, any[]> = { session: [], sessions: [], refused: [], confirmed: [], away: [] };
      for (const type of ["session", "sessions", "refused"] as const) agent.addEventListener(type, ({ detail }) => heard[type]?.push(detail));
      for (const type of ["confirmed", "away"] as const) agent.subscription.on(type, (detail) => heard[type]?.push(detail));
      globalThis.layer = { line, agent, heard };
      line.connect();
    },
    [url, sessionId] as const,
  );
  await heard(page, "confirmed", 1);
}

const heard = (page: Page, type: string, count: number) =>
  eventually(() => page.evaluate((type) => layer.heard[type] ?? [], type), (all) => all.length >= count, `${count} × ${type}`);
const shown = (page: Page, count: number): Promise<string[]> =>
  eventually(() => page.evaluate(() => layer.agent.messages as Said[]), (all) => all.length >= count && all.every(({ pending }) => !pending), `${count} messages`).then((all) =>
    all.map(({ role, content }) => `${role}: ${content}`),
  );
const speak = (page: Page, text: string) => page.evaluate((text) => layer.agent.speak(text), text);
const talk = (...texts: string[]) => texts.flatMap((text) => [`user: ${text}`, `assistant: echo: ${text}`]);

test("what is spoken and answered is in order, however the server swaps it", async ({ open, rails }) => {
  const { page } = await open(null);
  await begun(page, rails.cable, 11);
  const texts = Array.from({ length: 20 }, (_, number) => `line ${number}`);
  for (const [number, text] of texts.entries()) {
    await speak(page, text);
    await shown(page, 2 * (number + 1));
  }
  expect(await shown(page, 40)).toEqual(talk(...texts));
});

test("sessions are made, left, listed and come back to; a restart and a kill bring the page back to where it was", async ({ open, rails }) => {
  const { page } = await open(null);
  await begun(page, rails.cable, 21);
  await speak(page, "in the first");
  await shown(page, 2);
  await page.evaluate(() => layer.agent.createSession());
  const [{ id }] = await heard(page, "session", 1);
  await speak(page, "in the second");
  expect(await shown(page, 2)).toEqual(talk("in the second"));
  await page.evaluate(() => layer.agent.listSessions());
  const [sessions] = await heard(page, "sessions", 1);
  expect(sessions.map(({ id }: { id: number }) => id)).toEqual(expect.arrayContaining([id, 21]));

  await rails.post("restart");
  await heard(page, "away", 1);
  const spoken = speak(page, "while away");
  await heard(page, "confirmed", 2);
  await spoken;
  expect(await shown(page, 4)).toEqual(talk("in the second", "while away"));
  expect(await page.evaluate(() => layer.agent.sessionId)).toBe(id);

  // The sessions of this server die with its process: the page is told, and is where its subscription leads.
  await rails.stop("SIGKILL");
  await heard(page, "away", 2);
  await rails.start();
  await heard(page, "confirmed", 3);
  const [gone] = await heard(page, "refused", 1);
  expect(gone).toEqual({ message: "Session not found" });
  await heard(page, "session", 2);
  expect(await page.evaluate(() => layer.agent.sessionId)).toBe(21);
  await speak(page, "anew");
  expect((await shown(page, 2)).slice(-2)).toEqual(talk("anew"));
});
