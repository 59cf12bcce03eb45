/** The one error class. */
import type { ErrorCode, MoorlineErrorLike } from "./types.js";

export class MoorlineError extends Error implements MoorlineErrorLike {
  override readonly name = "MoorlineError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  declare readonly count?: number;

  constructor(code: ErrorCode, message: string, more: { cause?: unknown; count?: number; retryable?: boolean } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.retryable = more.retryable ?? false;
    if (more.count !== undefined) this.count = more.count;
  }
}
