/** Wasm from bytes in JavaScript, at once. */
import letters from "#abi/bytes.js";
import { initSync, open } from "./abi.js";
import { MoorlineError } from "./error.js";
import type { Abi } from "./line.js";

let abi: Abi | undefined;

export function instantiate(): Abi {
  if (!abi) initSync(bytes(), MoorlineError);
  return (abi = { open });
}

/** As xtask/src/package.rs writes them: `!` and a space lift the letter behind them. */
function bytes(): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(letters.length);
  let count = 0;
  let more = 0;
  for (let at = 0; at < letters.length; at++) {
    const code = letters.charCodeAt(at);
    if (code < 34) more = (34 - code) * 91;
    else {
      all[count++] = more + code - (code > 92 ? 36 : 35);
      more = 0;
    }
  }
  return all.subarray(0, count);
}
