/** What the entries of the further protocols share: a line that speaks one, with wasm's bytes in a chunk behind its first call. */
import type { Given, Hearer, Page } from "../web/page.js";
import { type Abi, Line } from "./line.js";
import type { LineOptions } from "./types.js";

/**
 * The JavaScript half of a protocol: what is read from a frame before Rust is asked, and after.
 * @internal
 */
export interface Dialect {
  readonly name: string;
  /** Under which key its session is stored. */
  readonly sessionKey?: string;
  /** The prefix of the events that frames without a route become. */
  readonly wildcard?: string;
  /** Types that would become one of the line's own events there: a server's frame of such a type is `ws-unhandled`. */
  readonly own?: readonly string[];
  /** The frames of one message; throws where there is no JSON. Without it, a message is one frame. */
  parse?(text: string): unknown[];
  /** What the route table knows a frame by. */
  type(frame: any): unknown;
  /** Whose a delta is. Without it, a delta is the result of the call whose handle is its number. */
  topic?(frame: any): unknown;
  /** What frames are counted by. */
  order?(frame: any): number;
  /** What only a page can do, asked by Rust: up to three texts are the answer. */
  ask?(what: string, text: string, env: { readonly url: string }): Promise<(string | undefined)[]> | (string | undefined)[];
}

/** Loads once, and again after a failure: the next line may have better luck. */
let loading: Promise<Abi> | undefined;

export abstract class ProtocolLine<O extends LineOptions = LineOptions> extends Line<O> {
  /** @internal */
  protected abstract readonly dialect: Dialect;
  #handles = 0;

  /**
   * A handle that the server began; the default knows of none.
   * @internal
   */
  protected began(_page: Page, _handle: number, _word: number, _frame: any, _text: string): Hearer | undefined {
    return undefined;
  }

  /** @internal */
  protected nextHandle(): number {
    return ++this.#handles;
  }

  /** @internal */
  protected override load(): Promise<Abi> {
    loading ??= import("./bytes.js")
      .then(({ instantiate }) => instantiate())
      .catch((error) => {
        loading = undefined;
        throw error;
      });
    const { dialect } = this;
    const began = this.began.bind(this);
    return loading.then((abi) => ({ open: (given: Given) => abi.open({ ...given, dialect, began }) }));
  }
}
