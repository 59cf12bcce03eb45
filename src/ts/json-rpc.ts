/** The entry for servers that speak JSON-RPC 2.0 (docs/protocols/json-rpc.md). */
import { dialect } from "../web/json-rpc.js";
import { BATCH } from "../web/rust.js";
import { CallLine, type Handler } from "./calls.js";
import type { Rules } from "./options.js";
import type { LineOptions } from "./types.js";

export interface JsonRpcOptions extends LineOptions {
  protocol?: "json-rpc";
}

export class Moorline extends CallLine<JsonRpcOptions> {
  /** @internal */
  static override rules: Rules = { protocol: ["json-rpc"] };
  /** @internal */
  protected override readonly dialect = dialect;
  readonly #offs = new Map<string, () => void>();
  #gathers = false;

  /**
   * Makes one message, an array, of the calls and notifications that `make` begins before it returns. Each of them settles
   * by itself. Answers with what `make` answers. Servers need not take batches; one that does not answers none of them.
   */
  batch<T>(make: () => T): T {
    // One within another is part of it.
    if (this.#gathers) return make();
    this.#mark(true);
    try {
      return make();
    } finally {
      this.#mark(false);
    }
  }

  /**
   * Answers the server's calls of this method, instead of whoever did before, and hears its notifications: those are events
   * called `rpc-` and the method's name as well. What the handler throws is the call's error; its `code` (-32603 where there
   * is no whole number), `message` and `data` are kept. Returns what ends it.
   */
  override handle(method: string, handler: Handler): () => void {
    const { signal } = new AbortController();
    this.#offs.get(method)?.();
    const off = this.on(`rpc-${method}`, async (frame: { params?: unknown }) => {
      await handler(frame.params, { signal, frame });
    });
    this.#offs.set(method, off);
    const end = super.handle(method, handler);
    return () => {
      off();
      end();
    };
  }

  #mark(begins: boolean): void {
    const handle = this.nextHandle();
    this.act((page) => page.command(BATCH, handle, undefined, [], begins ? 1 : 0));
    this.#gathers = begins;
  }
}
export type { CallOptions, Handler } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
