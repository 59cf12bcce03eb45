/** A client on its stand: a server of its own, the path to it, and a page of an origin and a storage of its own. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { Path } from "./proxy.mjs";

const CONNECT_MS = 30_000;
/** So many are put up at a time: a machine that starts thirty pages at once starts none of them in time. */
const HANDS = 4;
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const until = (at) => sleep(at - Date.now());

/** Whether it came true in time. */
export async function wait(limitMs, look) {
  const end = Date.now() + limitMs;
  while (!(await look())) {
    if (Date.now() > end) return false;
    await sleep(50);
  }
  return true;
}

/** What each is busy with. */
const hands = Array.from({ length: HANDS }, () => Promise.resolve());
let turn = 0;

export class Stand {
  #site;

  /** Connected. `bench` is what all stands share: the browser, the scripts, the places. Those who ask first are up first. */
  static up(bench, name, client, delayMs = 0) {
    const hand = turn++ % HANDS;
    const up = hands[hand].then(() => Stand.#raise(bench, name, client, delayMs));
    hands[hand] = up.catch(() => {});
    return up;
  }

  static async #raise(bench, name, client, delayMs) {
    const stand = new Stand();
    stand.client = client;
    try {
      stand.end = await client.end(bench.places);
      stand.path = await Path.to(stand.end.port, delayMs);
      stand.#site = await site(bench.scripts.get(name), bench.places.pkg);
      stand.page = await bench.browser.open(`http://127.0.0.1:${stand.#site.address().port}/`, { alone: true });
      await stand.connect();
      if (!(await wait(CONNECT_MS, () => stand.page.bench("ready")))) throw new Error(`${client.title} did not connect`);
    } catch (error) {
      await stand.down();
      throw error;
    }
    return stand;
  }

  connect() {
    return this.page.bench("connect", this.end.address(this.path.port));
  }

  async down() {
    await this.page?.close();
    await this.path?.close();
    await this.end?.close();
    this.#site?.closeAllConnections();
    this.#site?.close();
  }
}

async function site(script, pkg) {
  const server = createServer(async (request, response) => {
    const say = (status, type, body) => response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/") return say(200, "text/html", '<!doctype html><meta charset="utf-8"><script type="module" src="/app.js"></script>');
    if (pathname === "/app.js") return say(200, TYPES[".js"], script);
    const file = /^\/pkg\/([\w.-]+)$/.exec(pathname)?.[1];
    const type = file && TYPES[path.extname(file)];
    try {
      if (type) return say(200, type, await readFile(path.join(pkg, file)));
    } catch {
      // A file that is not there is answered like any other unknown address.
    }
    say(404, "text/plain", "not here");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}
