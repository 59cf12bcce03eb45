/** The entry for OpenClaw gateways (docs/protocols/openclaw.md). */
import { dialect } from "../web/openclaw.js";
import { CallLine } from "./calls.js";
import type { Rules } from "./options.js";

export class Moorline extends CallLine {
  /** @internal */
  static override rules: Rules = { protocol: ["openclaw"] };
  /** @internal */
  protected override readonly dialect = dialect;
}
export type { CallOptions, Handler } from "./calls.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type { Run, RunEvent } from "./run.js";
export type * from "./types.js";
