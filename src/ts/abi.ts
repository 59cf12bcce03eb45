/** Both halves of the driver, in one chunk: Rust's glue and the page's. */
import begin, { explain, type InitOutput, initSync as beginSync, open as openLine, received, text } from "#abi/moorline.js";
import type { MoorlineError } from "./error.js";
import { type Given, Page } from "../web/page.js";

/** What wasm exports, once it is there. */
let exports: InitOutput | undefined;

/** @internal */
export const open = (given: Given): void => Page.open({ explain, open: openLine, received, text }, exports!, given);
/**
 * Instantiates wasm, or throws what names the cause and the cure.
 * @internal
 */
export async function init(file: Promise<Response>, ErrorType: typeof MoorlineError): Promise<void> {
  try {
    const response = await file;
    if (!response.ok) throw new Error(`${new URL(response.url).pathname} answered ${response.status}`);
    exports = await begin({ module_or_path: response });
  } catch (cause) {
    throw unavailable(cause, ErrorType);
  }
}

/** @internal */
export function initSync(module: BufferSource, ErrorType: typeof MoorlineError): void {
  try {
    exports = beginSync({ module });
  } catch (cause) {
    throw unavailable(cause, ErrorType);
  }
}

// The class comes with the call: imported, it would be a file of its own that the page has to wait for.
function unavailable(cause: unknown, ErrorType: typeof MoorlineError): MoorlineError {
  const { message } = cause as Error;
  if (/Content.Security.Policy|unsafe-eval|CSP/i.test(message)) {
    const cure = `add 'wasm-unsafe-eval' to it, as in "script-src 'self' 'wasm-unsafe-eval'"`;
    return new ErrorType("wasm.csp", `the Content-Security-Policy forbids WebAssembly: ${cure} (${message})`, { cause });
  }
  const cure = `serve moorline_bg.wasm beside the script as application/wasm, or import from "moorline/inline"`;
  const more = { cause };
  return new ErrorType("wasm.unavailable", `moorline's WebAssembly cannot be loaded: ${message}; ${cure}`, more);
}
