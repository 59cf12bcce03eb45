/** The entry for servers that speak JSON-RPC 2.0 (docs/protocols/json-rpc.md). */
import { dialect } from "../web/json-rpc.js";
import { CallLine } from "./calls.js";
import type { Rules } from "./options.js";

export class Moorline extends CallLine {
  /** @internal */
  static override rules: Rules = { protocol: ["json-rpc"] };
  /** @internal */
  protected override readonly dialect = dialect;
}
export type { CallOptions, Handler } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type { Run, RunEvent } from "./run.js";
export type * from "./types.js";
