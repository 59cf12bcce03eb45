/** Wasm from a file beside the script. */
import { MoorlineError } from "./error.js";
import type { Abi } from "./line.js";

let loading: Promise<Abi> | undefined;

export function load(): Promise<Abi> {
  loading ??= bring().catch((error) => {
    // The next line may have better luck.
    loading = undefined;
    throw error;
  });
  return loading;
}

async function bring(): Promise<Abi> {
  // Both at once: the page waits for the slower of the two.
  const file = fetch(new URL("./moorline_bg.wasm", import.meta.url));
  file.catch(() => {});
  const abi = await import("./abi.js");
  await abi.init(file, MoorlineError);
  return abi;
}
