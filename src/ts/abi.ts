/** Both halves of the driver, in one chunk: Rust's glue and the page's. */
import * as glue from "#abi/moorline.js";
import { MoorlineError } from "./error.js";
import { type Given, Page } from "../web/page.js";

/** @internal */
export const open = (given: Given): Page => Page.open(glue.Handle, given);
/**
 * Instantiates wasm, or throws what names the cause and the cure.
 * @internal
 */
export async function init(file: Promise<Response>): Promise<void> {
  try {
    const response = await file;
    if (!response.ok) throw new Error(`${new URL(response.url).pathname} answered ${response.status}`);
    await glue.default({ module_or_path: response });
  } catch (cause) {
    throw unavailable(cause);
  }
}

/** @internal */
export function initSync(module: BufferSource): void {
  try {
    glue.initSync({ module });
  } catch (cause) {
    throw unavailable(cause);
  }
}

/** @internal */
export function unavailable(cause: unknown): MoorlineError {
  const { message } = cause as Error;
  if (/Content.Security.Policy|unsafe-eval|CSP/i.test(message)) {
    const cure = `add 'wasm-unsafe-eval' to it, as in "script-src 'self' 'wasm-unsafe-eval'"`;
    return new MoorlineError("wasm.csp", `the Content-Security-Policy forbids WebAssembly: ${cure} (${message})`, { cause });
  }
  const cure = `serve moorline_bg.wasm beside the script as application/wasm, or import from "moorline/inline"`;
  const more = { cause, retryable: true };
  return new MoorlineError("wasm.unavailable", `moorline's WebAssembly cannot be loaded: ${message}; ${cure}`, more);
}
