// The page of the five gateways: each is chosen, talked to, stopped, broken in the middle of an answer, and says how it came back.
import type { BrowserContext } from "@playwright/test";
import { wanted } from "./support/gateway.js";
import { expect, type Gateway, type Page, test } from "./support/test.js";

interface Case {
  name: string;
  /** A version that is not the first. */
  as?: string;
  /** What the conversation says of the answer that a harm hit; and whether its text is whole in the end. */
  restart: [says: RegExp, whole: boolean];
  tear: [says: RegExp, whole: boolean];
}

const GATEWAYS: Record<string, Case> = {
  nexus: {
    name: "Nexus world",
    restart: [/resumed: /, true],
    tear: [/gap: the session is gone, and the answer with it · lost for good/, false],
  },
  "action-cable": {
    name: "Action Cable",
    as: "AnyCable",
    restart: [/gap: the server's history does not reach back so far · resumed: /, true],
    tear: [/gap: the server's history does not reach back so far · resumed: /, true],
  },
  openclaw: {
    name: "OpenClaw",
    as: "2026.9.7",
    // The key of a run that went under is taken, and the run is not there.
    restart: [/restarted: the answer begins anew/, false],
    tear: [/gap: the server left events out · resumed: nothing is missing/, true],
  },
  hermes: {
    name: "Hermes",
    as: "0.20",
    restart: [/lost for good/, false],
    tear: [/lost for good/, false],
  },
  observation: {
    name: "yoi observation",
    restart: [/restarted: the answer begins anew/, true],
    // After an attempt that failed no cursor is shown, and none can be refused.
    tear: [/(gap: what was stored behind our cursor is gone .*)?restarted: the answer begins anew/, true],
  },
};

/** An answer of some seconds. Whatever the last word is, the answer repeats it and is otherwise the same. */
const prompt = (last: string) => `words:120 pace:25 ${last}`;

const launched = (launch: (...flags: string[]) => Promise<Gateway>) => launch("--www", wanted("MOORLINE_WWW"));

async function visit(context: BrowserContext, gateway: Gateway, mishaps: string[], query = ""): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", ({ message }) => mishaps.push(message));
  page.on("console", (said) => {
    if (/Content Security Policy|Refused to/.test(said.text())) mishaps.push(said.text());
  });
  await page.goto(`${gateway.url}agents.html${query}`);
  return page;
}

async function moored(page: Page): Promise<void> {
  await expect(page.locator("html")).toHaveAttribute("data-ready", "true");
  await expect(page.locator("html")).toHaveAttribute("data-state", "connected");
}

async function say(page: Page, text: string): Promise<void> {
  await page.getByTestId("words").fill(text);
  await page.getByTestId("words").press("Enter");
}

const latest = (page: Page) => page.getByTestId("answer").last();
/** The text of the answer that was begun last, without what stands between its parts. */
const answered = async (page: Page) => (await latest(page).locator(".text").allTextContents()).join("");
const growing = (page: Page, length = 40) => expect.poll(async () => (await answered(page)).length, "how much was said").toBeGreaterThan(length);
const over = (page: Page) => expect(latest(page)).toHaveAttribute("aria-busy", "false", { timeout: 30_000 });
const mark = (page: Page) => latest(page).getByTestId("mark");

/** Asks, breaks the line when some of the answer is there, and waits for the end; answers with what was there by then. */
async function broken(page: Page, harm: string): Promise<string> {
  await say(page, prompt(harm));
  await growing(page);
  await page.getByTestId(`harm-${harm}`).click();
  await expect(mark(page).first()).toBeVisible();
  const before = await latest(page).locator(".text").first().textContent();
  await over(page);
  await moored(page);
  return before ?? "";
}

for (const [id, { name, as, restart, tear }] of Object.entries(GATEWAYS)) {
  test(`${name}: an answer streams in, is stopped, and survives a dropped line whole and once`, async ({ launch, context, mishaps }, info) => {
    test.setTimeout(120_000);
    const gateway = await launched(launch);
    const page = await visit(context, gateway, mishaps);
    await page.getByTestId("choice").getByRole("link", { name }).click();
    await expect(page.getByTestId("whom")).toHaveText(name);
    await moored(page);

    await say(page, prompt("twice"));
    await growing(page);
    await expect(latest(page)).toHaveAttribute("aria-busy", "true");
    await over(page);
    const whole = await answered(page);
    expect(whole.split(" ").length).toBeGreaterThan(100);

    await say(page, "hang words:12");
    await growing(page);
    await page.getByTestId("stop").click();
    await expect(latest(page)).toHaveAttribute("data-end", "stopped");
    await expect(page.getByTestId("stop")).toBeHidden();

    const before = await broken(page, "drop");
    expect(await mark(page).allTextContents()).toEqual([expect.stringMatching(/^line lost: .* · back after \d+\.\d s · .*resumed: /)]);
    expect(await answered(page)).toBe(whole.replace("twice", "drop"));
    // Where it was lost stands in the middle of it.
    expect(whole.replace("twice", "drop").startsWith(before.trimEnd())).toBe(true);
    expect(before.length).toBeLessThan(whole.length);
    await page.screenshot({ path: info.outputPath("recovered.png") });
    await info.attach("recovered", { path: info.outputPath("recovered.png"), contentType: "image/png" });

    // What is said while the line is down waits for it.
    await page.getByTestId("panel-toggle").click();
    await expect(page.locator("html")).toHaveAttribute("data-state", "closed");
    if (id !== "observation") {
      await say(page, "words:9");
      await expect(page.getByTestId("mine").last()).toContainText("waits for the line");
      await page.getByTestId("panel-toggle").click();
      await over(page);
      expect(await answered(page)).toContain("You said: words:9");
    }
  });

  test(`${name}: what a restart and a hole do to an answer is said as it is`, async ({ launch, context, mishaps }) => {
    test.setTimeout(120_000);
    const gateway = await launched(launch);
    const page = await visit(context, gateway, mishaps, `?with=${id}${as ? `&as=${encodeURIComponent(as)}` : ""}`);
    await moored(page);
    if (as) await expect(page.getByTestId("dialects").locator("[aria-current]")).toHaveText(as);
    await say(page, prompt("twice"));
    await over(page);
    const whole = await answered(page);
    for (const [harm, [says, isWhole]] of Object.entries({ restart, tear })) {
      await broken(page, harm);
      expect((await mark(page).allTextContents()).join(" · "), harm).toMatch(says);
      const all = whole.replace("twice", harm);
      if (isWhole) expect(await answered(page), harm).toBe(all);
      else expect(all.startsWith(await answered(page)), harm).toBe(true);
    }
  });
}

test("a line that freezes is noticed, and the answer is whole", async ({ launch, context, mishaps }) => {
  const page = await visit(context, await launched(launch), mishaps, "?with=openclaw");
  await moored(page);
  await say(page, "words:120 pace:60");
  await growing(page);
  await page.getByTestId("harm-freeze").click();
  await expect(mark(page)).toContainText("line lost: no sign of life", { timeout: 30_000 });
  await over(page);
  await expect(mark(page)).toContainText(/resumed: /);
  expect(await answered(page)).toMatch(/^You said: words:120 pace:60/);
  expect((await answered(page)).split("You said").length).toBe(2);
});

test("an agent's question is answered by a button", async ({ launch, context, mishaps }) => {
  const page = await visit(context, await launched(launch), mishaps, "?with=hermes");
  await moored(page);
  await say(page, "approve words:12");
  await page.getByTestId("question").getByRole("button", { name: "once" }).click();
  await expect(page.getByTestId("question")).toContainText("answered: once");
  await over(page);
  expect(await answered(page)).toContain("[once]");
});

test("a failure is shown as one, and a tool where it was used", async ({ launch, context, mishaps }) => {
  const gateway = await launched(launch);
  for (const id of Object.keys(GATEWAYS)) {
    const page = await visit(context, gateway, mishaps, `?with=${id}`);
    await moored(page);
    await say(page, "tool words:8");
    await over(page);
    await expect(latest(page).getByTestId("aside").first(), id).toContainText("tide_table");
    await say(page, "fail words:8");
    await over(page);
    // Hermes tells a provider's failure as text.
    await expect(latest(page), id).toContainText(/tide tables are out of reach/);
    await page.close();
  }
});

test("on a screen of a phone's size nothing is cut off, and everything is reached by keyboard", async ({ launch, context, mishaps }, info) => {
  const gateway = await launched(launch);
  const page = await context.newPage();
  await page.setViewportSize({ width: 375, height: 667 });
  page.on("pageerror", ({ message }) => mishaps.push(message));
  await page.goto(`${gateway.url}agents.html?with=action-cable`);
  await moored(page);
  await page.getByTestId("words").focus();
  await page.keyboard.type("a few words");
  await page.keyboard.press("Enter");
  await over(page);
  expect(await page.evaluate(() => [document.documentElement.scrollWidth <= innerWidth, document.documentElement.scrollHeight <= innerHeight])).toEqual([true, true]);
  for (const part of ["words", "send", "panel-state", "harm-drop", "harm-tear"]) await expect(page.getByTestId(part)).toBeInViewport({ ratio: 1 });
  await say(page, "hang words:4");
  await expect(page.getByTestId("stop")).toBeInViewport({ ratio: 1 });
  await page.keyboard.press("Escape");
  await expect(latest(page)).toHaveAttribute("data-end", "stopped");
  await page.screenshot({ path: info.outputPath("phone.png") });
  await info.attach("phone", { path: info.outputPath("phone.png"), contentType: "image/png" });
});

test("where the controls do not obey, the page says so and works", async ({ launch, context, mishaps }) => {
  const gateway = await launched(launch);
  await context.route("**/control/**", (route) => route.fulfill({ status: 403 }));
  const page = await visit(context, gateway, mishaps, "?with=nexus");
  await moored(page);
  await expect(page.getByTestId("unbroken")).toBeVisible();
  await say(page, "a few words");
  await over(page);
  expect(await answered(page)).toContain("You said: a few words");
  await page.getByRole("link", { name: "The harbour, in 3D" }).click();
  await page.getByRole("link", { name: "Five gateways, one line" }).click();
  await expect(page.getByTestId("whom")).toBeVisible();
});
