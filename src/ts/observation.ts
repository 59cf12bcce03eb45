/** The entry for observation. */
import { dialect } from "../web/observation.js";
import type { Rules } from "./options.js";
import { ProtocolLine } from "./protocol.js";

export class Moorline extends ProtocolLine {
  /** @internal */
  static override rules: Rules = { protocol: ["observation"] };
  /** @internal */
  protected override readonly dialect = dialect;
}
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
