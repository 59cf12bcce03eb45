/** The one error class. */
import type { ErrorCode, MoorlineErrorLike } from "./types.js";

export class MoorlineError extends Error implements MoorlineErrorLike {
  override readonly name = "MoorlineError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  declare readonly count?: number;

  constructor(code: ErrorCode, message: string, more: { cause?: unknown; count?: number; retryable?: boolean } = {}) {
    super(message, more);
    this.code = code;
    this.retryable = !!more.retryable;
    if (more.count) this.count = more.count;
  }
}

export function refuse(code: ErrorCode, message: string, cause?: unknown): never {
  throw new MoorlineError(code, message, { cause });
}
