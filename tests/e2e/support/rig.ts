/** What page/rig.js puts into every page, for those who call it through `evaluate`. */
import type { Moorline, MoorlineError, Options, Receipt, Url } from "moorline";

export interface Heard {
  type: string;
  // Whatever the server said: each test knows what it looks for.
  detail: any;
  at: number;
}
export interface Fate {
  status: string;
  code?: string;
  mine?: boolean;
}
export interface Thrown {
  mine: boolean;
  name: string;
  code: string;
  message: string;
  retryable: boolean;
  count?: number;
  cause?: string;
}
export interface Rig {
  Moorline: typeof Moorline;
  MoorlineError: typeof MoorlineError;
  TYPES: string[];
  log: Heard[];
  /** The line that was made last. */
  main: Moorline;
  note(type: string, detail: unknown): void;
  listen(...types: string[]): void;
  until<T>(fits: () => T, what?: string, deadlineMs?: number): Promise<T>;
  next(type: string, deadlineMs?: number): Promise<any>;
  /** A line with short waits between attempts, to the page's own gateway unless `url` says otherwise. */
  line(options?: Options, url?: Url, connect?: boolean): Moorline;
  fate(receipt: Receipt): Promise<Fate>;
  thrown(act: () => unknown): Thrown | undefined;
  clear(): void;
  plain(detail: unknown): any;
}

declare global {
  var rig: Rig;
}
