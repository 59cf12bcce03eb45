/** Serves one page twice: with `createConsumer` of @rails/actioncable, and with the one of moorline/action-cable. */
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { wanted } from "./rails.js";

export type Client = "@rails/actioncable" | "moorline/action-cable";

const PAGE = fileURLToPath(new URL("./page", import.meta.url));
const TYPES: Record<string, string> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Where a page gets each client from. This is all in which the two pages differ. */
const MODULES: Record<Client, string> = {
  "@rails/actioncable": "/rails/actioncable.esm.js",
  "moorline/action-cable": "/pkg/action-cable.js",
};

export class Site {
  readonly #server: Server = createServer((request, response) => {
    this.#read(request.url ?? "/").then(
      ({ type, body }) => response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(body),
      () => response.writeHead(404).end(),
    );
  });

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  page(client: Client): string {
    return `${this.origin}/?client=${encodeURIComponent(client)}`;
  }

  async #read(asked: string): Promise<{ type: string; body: string | Buffer }> {
    const { pathname, searchParams } = new URL(asked, "http://localhost");
    if (pathname === "/") {
      const html = await readFile(path.join(PAGE, "index.html"), "utf8");
      const module = MODULES[searchParams.get("client") as Client];
      if (!module) throw new Error("no such client");
      return { type: TYPES[".html"] as string, body: html.replace("CREATE_CONSUMER", module) };
    }
    const [, folder, ...rest] = pathname.split("/");
    const root = { page: PAGE, pkg: wanted("MOORLINE_PKG"), rails: path.join(wanted("MOORLINE_E2E"), "node_modules/@rails/actioncable/app/assets/javascripts") }[folder ?? ""];
    if (!root || rest.includes("..")) throw new Error("no such file");
    const type = TYPES[path.extname(pathname)];
    if (!type) throw new Error("no such type");
    return { type, body: await readFile(path.join(root, ...rest)) };
  }
}
