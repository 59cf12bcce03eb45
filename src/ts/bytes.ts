/** Wasm from bytes in JavaScript, at once. */
import base64 from "#abi/bytes.js";
import { initSync, open } from "./abi.js";
import { MoorlineError } from "./error.js";
import type { Abi } from "./line.js";

let abi: Abi | undefined;

export function instantiate(): Abi {
  if (!abi) initSync(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)), MoorlineError);
  return (abi = { open });
}
