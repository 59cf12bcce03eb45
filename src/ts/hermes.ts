/** The entry for Hermes agent gateways (docs/protocols/hermes.md). */
import { dialect } from "../web/hermes.js";
import { CallLine } from "./calls.js";
import type { Rules } from "./options.js";

export class Moorline extends CallLine {
  /** @internal */
  static override rules: Rules = { protocol: ["hermes"] };
  /** @internal */
  protected override readonly dialect = dialect;
}
export type { CallOptions, Handler } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type { Run, RunEvent } from "./run.js";
export type * from "./types.js";
