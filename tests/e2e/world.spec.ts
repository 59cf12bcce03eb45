// The world: two people in the harbour, the gateway gone and back, a reload, a small screen, and a browser without WebGL.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext } from "@playwright/test";
import { wanted } from "./support/gateway.js";
import { eventually, expect, type Gateway, type Page, test } from "./support/test.js";

interface World {
  line: { session: { clientId?: string } | null };
  players: Map<string, { x: number; z: number }>;
  me: { id: string };
}
declare global {
  var world: World;
}

const FLAGS = () => ["--www", wanted("MOORLINE_WWW"), "--mount", `/vendor/three=${wanted("MOORLINE_THREE")}`, "--snapshot", "on"];

/** Opens the harbour as somebody of their own, moored. */
async function visit(page: Page, gateway: Gateway, mishaps: string[]): Promise<void> {
  page.on("pageerror", ({ message }) => mishaps.push(message));
  await page.goto(gateway.url);
  await moored(page);
}

/** A scene drawn by software takes what a busy machine has; who is there and what is said does without it. */
async function withoutWebGL(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const { getContext } = HTMLCanvasElement.prototype;
    HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: never[]) {
      return kind.startsWith("webgl") ? null : (getContext.call(this, kind, ...rest) as never);
    } as typeof getContext;
  });
}

async function moored(page: Page): Promise<void> {
  await expect(page.locator("html")).toHaveAttribute("data-state", "connected");
  await expect.poll(() => page.evaluate(() => world.me.id), "who one is").toBeTruthy();
}

const identity = (page: Page) => page.evaluate(() => world.line.session?.clientId);
const stands = (page: Page, id: string) => page.evaluate((id) => ({ ...world.players.get(id)! }), id);

async function say(page: Page, text: string): Promise<void> {
  await page.getByTestId("chat-input").fill(text);
  await page.getByTestId("chat-input").press("Enter");
}

/** The lines of the chat that somebody said, in order. */
const chat = (page: Page) => page.getByTestId("chat-line").locator(".text").allTextContents();

test("two people meet, talk, lose the gateway, keep what they type, and find each other again", async ({ launch, context, mishaps }, info) => {
  test.setTimeout(120_000);
  const folder = await mkdtemp(join(tmpdir(), "moorline-world-"));
  const gateway = await launch(...FLAGS(), "--agents", "on", "--agent-every-ms", "400", "--sessions", join(folder, "sessions.json"));
  const [ann, ben] = [await context.newPage(), await context.newPage()];
  await visit(ann, gateway, mishaps);
  await visit(ben, gateway, mishaps);
  const [annId, benId] = [(await identity(ann))!, (await identity(ben))!];
  expect(annId).not.toBe(benId);

  // Each sees the other, and sees the other walk.
  for (const [page, other] of [[ann, benId], [ben, annId]] as const)
    await expect.poll(() => page.evaluate((id) => world.players.has(id), other), "the other is there").toBe(true);
  const before = await stands(ben, annId);
  await ann.bringToFront();
  await ann.locator("#scene").focus();
  await ann.keyboard.down("w");
  await expect.poll(async () => {
    const { x, z } = await stands(ben, annId);
    return Math.hypot(x - before.x, z - before.z);
  }, "how far the other has walked").toBeGreaterThan(0.5);
  await ann.keyboard.up("w");

  // Chat passes both ways, and each line is there once.
  await say(ann, "ahoy, ben");
  await expect(ben.getByTestId("chat-log")).toContainText("ahoy, ben");
  await say(ben, "ahoy, ann");
  await expect(ann.getByTestId("chat-log")).toContainText("ahoy, ann");
  expect(await chat(ann)).toEqual(["ahoy, ben", "ahoy, ann"]);
  expect(await chat(ben)).toEqual(["ahoy, ben", "ahoy, ann"]);

  // What agents do and what becomes of pull requests appears.
  await expect(ann.getByTestId("agents").locator("li").first()).toBeVisible();
  await gateway.sendFrame({ type: "pr-notification", action: "opened", pr: { number: 4711, title: "Tar the deck", author: "ben" } });
  await expect(ann.getByTestId("notices")).toContainText("#4711 opened");
  await expect(ann.getByTestId("panel-rtt")).toHaveText(/ms$/);
  await ann.screenshot({ path: info.outputPath("moored.png") });
  await info.attach("moored", { path: info.outputPath("moored.png"), contentType: "image/png" });

  // The gateway goes: a countdown, and what is typed is kept and shown as waiting.
  expect(await gateway.stop()).toBe(0);
  for (const page of [ann, ben]) {
    await expect(page.locator("html")).toHaveAttribute("data-state", "reconnecting");
    await expect(page.getByTestId("banner")).toBeVisible();
    await expect(page.getByTestId("banner")).toContainText(/trying again in \d+ s|trying now/);
  }
  for (const text of ["one", "two", "three"]) await say(ann, text);
  await expect(ann.locator('[data-testid=chat-line][data-status="queued"]')).toHaveCount(3);
  await expect(ann.getByTestId("banner")).toContainText(/messages? kept/);
  await expect(ann.getByTestId("panel-queue")).toContainText(/[3-5] messages/);
  await expect(ann.getByTestId("banner")).toContainText(/trying again in \d+ s/);
  await ann.screenshot({ path: info.outputPath("line-lost.png") });
  await info.attach("line-lost", { path: info.outputPath("line-lost.png"), contentType: "image/png" });

  // It is back: the same people, and everything that was typed, once and in order.
  await gateway.start();
  for (const page of [ben, ann]) {
    await page.bringToFront();
    const hurry = page.getByRole("button", { name: "Try now" });
    if (await hurry.isVisible()) await hurry.click({ timeout: 2000 }).catch(() => "it was quicker than we");
    await moored(page);
  }
  expect([await identity(ann), await identity(ben)]).toEqual([annId, benId]);
  await expect(ben.getByTestId("chat-log")).toContainText("three");
  expect((await chat(ben)).slice(-3)).toEqual(["one", "two", "three"]);
  await expect(ann.locator('[data-testid=chat-line][data-status="queued"]')).toHaveCount(0);
  expect((await gateway.received("chat")).map((frame) => frame["text"])).toEqual(["one", "two", "three"]);
  await expect(ann.getByTestId("banner")).toBeHidden();

  // A reload resumes the session.
  await ann.reload();
  await moored(ann);
  expect(await identity(ann)).toBe(annId);
  await expect.poll(() => ann.evaluate((id) => world.players.has(id), benId)).toBe(true);
  await rm(folder, { recursive: true });
});

test("somebody who leaves is gone after the grace period, and a short absence does not flap", async ({ launch, context, mishaps }) => {
  await withoutWebGL(context);
  const gateway = await launch(...FLAGS(), "--grace-ms", "3600000");
  const [ann, ben] = [await context.newPage(), await context.newPage()];
  await visit(ann, gateway, mishaps);
  await visit(ben, gateway, mishaps);
  const benId = (await identity(ben))!;
  await expect.poll(() => ann.evaluate((id) => world.players.has(id), benId)).toBe(true);
  // However long a reload takes, it is a short absence; and a visitor who has not spoken yet may be one who comes back.
  await gateway.post("config", { greetWaitMs: 3_600_000 });
  await ben.reload();
  await moored(ben);
  expect(await identity(ben)).toBe(benId);
  await say(ben, "back already");
  await expect(ann.getByTestId("chat-log")).toContainText("back already");
  expect(await ann.evaluate((id) => world.players.has(id), benId)).toBe(true);
  await expect(ann.getByTestId("chat-log")).not.toContainText("left");
  await gateway.post("config", { graceMs: 0 });
  await ben.close();
  await expect.poll(() => ann.evaluate((id) => world.players.has(id), benId)).toBe(false);
  await expect(ann.getByTestId("chat-log")).toContainText("left");
});

test("on a screen of a phone's size nothing is cut off and everything works", async ({ launch, context, mishaps }, info) => {
  const gateway = await launch(...FLAGS());
  const page = await context.newPage();
  await page.setViewportSize({ width: 375, height: 667 });
  await visit(page, gateway, mishaps);
  await say(page, "from a small boat");
  await expect(page.getByTestId("chat-log")).toContainText("from a small boat");
  expect(await page.evaluate(() => [document.documentElement.scrollWidth <= innerWidth, document.documentElement.scrollHeight <= innerHeight])).toEqual([true, true]);
  for (const part of ["chat-input", "panel-state"]) await expect(page.getByTestId(part)).toBeInViewport({ ratio: 1 });
  await page.screenshot({ path: info.outputPath("phone.png") });
  await info.attach("phone", { path: info.outputPath("phone.png"), contentType: "image/png" });
});

test("without WebGL the page says so, and the line works", async ({ launch, context, mishaps }) => {
  await withoutWebGL(context);
  const gateway = await launch(...FLAGS());
  const page = await context.newPage();
  await visit(page, gateway, mishaps);
  await expect(page.getByTestId("no-webgl")).toBeVisible();
  await say(page, "in the dark");
  await eventually(() => gateway.received("chat"), ({ length }) => length === 1, "the chat");
});
