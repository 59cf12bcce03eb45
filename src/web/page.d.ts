// The face of page.js, for the shim.
import type * as Glue from "#abi/moorline.js";
import type { MoorlineError } from "../ts/error.js";
import type { Dialect } from "../ts/protocol.js";
import type { Receipt } from "../ts/receipt.js";
import type { LineOptions, Session, State, Url } from "../ts/types.js";

/** Whoever has a handle. `true` says that nothing more will come for it. */
export interface Hearer {
  told(word: number, frame: any, number: number, text: string): boolean;
}

export interface Given {
  line: EventTarget;
  url: Url;
  options: LineOptions;
  /** Event types for which the line itself has, or once had, a listener. */
  heard: Set<string>;
  ErrorType: typeof MoorlineError;
  /** Hears of the page when it may be called: at once, or when the storage has answered (`queue.persist`). */
  here(page: Page): void;
  dialect?: Dialect;
  /** Answers with who hears of what the server has begun. */
  began?(page: Page, handle: number, word: number, frame: any, text: string): Hearer | undefined;
}

export declare class Page {
  static open(glue: Pick<typeof Glue, "explain" | "open" | "received" | "text">, exports: Glue.InitOutput, given: Given): void;
  readonly state: State;
  readonly events: {
    readonly dead: MoorlineError | undefined;
    readonly handles: Map<number, Hearer>;
    on(type: string, listener: (detail: never) => void): () => void;
    dispatch(type: string, detail: unknown): void;
  };
  readonly socket: {
    send(text: string, receipt: Receipt, bytes: number, delivery: number, key?: string, ttlMs?: number): number;
    waiting(): unknown[];
  };
  readonly store: {
    readonly session: Session | null;
    load(): Session | null | Promise<Session | null>;
  };
  command(verb: number, handle: number, hearer?: Hearer, texts?: (string | undefined)[], number?: number): void;
  clear(): void;
  connect(): void;
  disconnect(code: number, reason: string): void;
  save(data: object): void;
  forget(): void;
  renew(): void;
  retry(baseMs: number, maxMs: number, maxAttempts: number): void;
  explain(): string[];
  stats(): Record<string, number>;
  dispose(): void;
}
