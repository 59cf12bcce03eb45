/** Wasm from a file beside the script. */
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
  const url = new URL("./moorline_bg.wasm", import.meta.url);
  // Both at once: the page waits for the slower of the two.
  const [abi, response] = await Promise.all([import("./abi.js"), fetch(url)]);
  if (!response.ok) throw new Error(`${url.pathname} answered ${response.status}`);
  await abi.init({ module_or_path: response });
  return abi;
}
