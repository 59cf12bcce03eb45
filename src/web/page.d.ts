// The face of page.js, for the shim.
import type * as Glue from "#abi/moorline.js";
import type { MoorlineError } from "../ts/error.js";
import type { Receipt } from "../ts/receipt.js";
import type { Options, Session, Url } from "../ts/types.js";

export interface Given {
  line: EventTarget;
  url: Url;
  options: Options;
  /** Event types for which the line itself has, or once had, a listener. */
  heard: Set<string>;
  ErrorType: typeof MoorlineError;
}

export declare class Page {
  static open(glue: Pick<typeof Glue, "explain" | "open" | "received" | "text">, exports: Glue.InitOutput, given: Given): Page;
  readonly state: number;
  readonly events: {
    readonly dead: MoorlineError | undefined;
    on(type: string, listener: (detail: never) => void): () => void;
  };
  readonly socket: {
    send(text: string, receipt: Receipt, bytes: number, delivery: number, key?: string, ttlMs?: number): number;
    waiting(): unknown[];
  };
  readonly store: {
    readonly session: Session | null;
    load(): Session | null | Promise<Session | null>;
  };
  connect(): void;
  disconnect(code: number, reason: string): void;
  save(data: object): void;
  forget(): void;
  retry(baseMs: number, maxMs: number, maxAttempts: number): void;
  explain(): string[];
  stats(): Record<string, number>;
  dispose(): void;
}
