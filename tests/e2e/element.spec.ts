// <moor-line>: attributes are the options, the state can be styled, moving keeps the line and removing ends it.
import { arrivals, eventually, expect, next, type Page, test, types } from "./support/test.js";

const withElement = (page: Page, html: string) =>
  page.evaluate(async (html) => {
    const path = "/pkg/element.js";
    await import(path);
    document.body.insertAdjacentHTML("beforeend", html);
  }, html);

interface MoorLine extends HTMLElement {
  line?: { send(frame: unknown): unknown; state: string; stats(): { connections: number } };
}

test("an element in the document connects, and its events reach the window", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await withElement(page, '<moor-line url="/api/world/ws"></moor-line>');
  expect(await next(page, "ws-connected")).toMatchObject({ url: gateway.ws });
  await next(page, "session-init");
  await page.evaluate(() => void document.querySelector<MoorLine>("moor-line")!.line!.send({ type: "chat", text: "from an element" }));
  expect(await next(page, "chat-message")).toMatchObject({ text: "from an element" });
});

test("without a url it dials the page's own gateway", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await withElement(page, "<moor-line></moor-line>");
  expect(await next(page, "ws-connected")).toMatchObject({ url: gateway.ws });
});

test("attributes are the options, in kebab case", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await withElement(
    page,
    `<moor-line url="${gateway.ws}" reconnect-base-delay-ms="33" reconnect-jitter="none" reconnect-max-attempts="1" session-storage="memory"
      connect-timeout-ms="5000" class="dark" data-mine="1" aria-label="line" title="the line"></moor-line>`,
  );
  await next(page, "session-init");
  expect(await page.evaluate(() => localStorage.length)).toBe(0);
  await gateway.post("down", { code: 1011 });
  expect(await next(page, "ws-reconnecting")).toMatchObject({ delayMs: 33, maxAttempts: 1 });
  expect(await next(page, "ws-failed")).toMatchObject({ attempts: 1 });
});

test("the attribute state follows the line and can be styled", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.addStyleTag({ content: "moor-line { display: block; color: rgb(1, 2, 3); } moor-line[state=connected] { color: rgb(4, 5, 6); }" });
  await withElement(page, '<moor-line url="/api/world/ws" reconnect-base-delay-ms="200" reconnect-jitter="none"></moor-line>');
  const element = page.locator("moor-line");
  await expect(element).toHaveAttribute("state", "connected");
  await expect(element).toHaveCSS("color", "rgb(4, 5, 6)");
  await gateway.post("down", { code: 1011 });
  await expect(element).toHaveAttribute("state", "reconnecting");
  await expect(element).toHaveCSS("color", "rgb(1, 2, 3)");
  await gateway.post("up");
  await expect(element).toHaveAttribute("state", "connected");
  await gateway.post("close", { code: 1008 });
  await expect(element).toHaveAttribute("state", "closed");
});

test("events go to the target that the attribute selects", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await page.evaluate(() => {
    document.body.insertAdjacentHTML("beforeend", '<div id="stage"></div>');
    document.querySelector("#stage")!.addEventListener("ws-connected", (event) => rig.note("on-stage", (event as CustomEvent).detail));
  });
  await withElement(page, '<moor-line url="/api/world/ws" target="#stage"></moor-line>');
  expect(await next(page, "on-stage")).toMatchObject({ url: gateway.ws });
  expect(await types(page)).toEqual(["on-stage"]);
});

test("an element that is moved keeps its line", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await withElement(page, '<div id="a"><moor-line url="/api/world/ws"></moor-line></div><div id="b"></div>');
  await next(page, "ws-connected");
  const same = await page.evaluate(async () => {
    const element = document.querySelector<MoorLine>("moor-line")!;
    const { line } = element;
    document.querySelector("#b")!.append(element);
    await new Promise((resolve) => setTimeout(resolve, 0));
    return element.line === line && line?.state === "connected";
  });
  expect(same).toBe(true);
  await page.evaluate(() => void document.querySelector<MoorLine>("moor-line")!.line!.send({ type: "mark" }));
  await arrivals(gateway, "mark", 1);
  expect((await gateway.state()).totals.accepted).toBe(1);
});

test("an element that is removed disposes of its line, and makes a new one when it is back", async ({ launch, open }) => {
  const gateway = await launch();
  const page = await open(gateway);
  await withElement(page, '<moor-line url="/api/world/ws"></moor-line>');
  await next(page, "ws-connected");
  await page.evaluate(() => {
    const element = document.querySelector<MoorLine>("moor-line")!;
    Object.assign(globalThis, { element, line: element.line });
    element.remove();
  });
  await eventually(() => gateway.state(), ({ connections }) => connections.length === 0, "the end of the connection");
  const after = await page.evaluate(() => {
    const { element, line } = globalThis as unknown as { element: MoorLine; line: MoorLine["line"] };
    return [element.line === undefined, element.getAttribute("state"), rig.thrown(() => line!.send({}))?.code];
  });
  expect(after).toEqual([true, null, "disposed"]);
  await page.evaluate(() => document.body.append((globalThis as unknown as { element: MoorLine }).element));
  expect(await next(page, "ws-connected")).toMatchObject({ recovered: true });
});
