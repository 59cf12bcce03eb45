/** Wasm from bytes in JavaScript, at once. */
import base64 from "#abi/bytes.js";
import * as glue from "#abi/moorline.js";
import type { Abi } from "./line.js";

let ready = false;

export function instantiate(): Abi {
  if (!ready) glue.initSync({ module: Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)) });
  ready = true;
  return glue;
}
