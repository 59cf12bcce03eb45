/** The JavaScript halves of the protocols read from a frame what their native twins in tests/sim/dialect.rs read. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "@playwright/test";
import { build } from "esbuild";

interface Read {
  type: string | null;
  topic: string | null;
  order: number | null;
}
const path = fileURLToPath(new URL("../golden/dialects.json", import.meta.url));
const golden = JSON.parse(readFileSync(path, "utf8")) as Record<string, { text: string; frames: Read[] | null }[]>;
const word = (value: unknown) => (typeof value === "string" ? value : null);

for (const [protocol, messages] of Object.entries(golden))
  test(`what ${protocol}'s half reads from a frame is what the golden file says`, async () => {
    const entry = fileURLToPath(new URL(`../../src/web/${protocol}.js`, import.meta.url));
    const nodePaths = [fileURLToPath(new URL("./node_modules", import.meta.url))];
    const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false, nodePaths });
    const { dialect } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString("base64")}`);
    for (const { text, frames } of messages) {
      let parsed: unknown[] | undefined;
      try {
        parsed = dialect.parse ? dialect.parse(text) : [JSON.parse(text)];
      } catch {
        parsed = undefined;
      }
      const read = parsed?.map((frame) => {
        const type = word(dialect.type(frame));
        // The others are asked only of frames with a route.
        const topic = type === null ? null : word(dialect.topic?.(frame));
        const order = type === null ? NaN : (dialect.order?.(frame) ?? NaN);
        return { type, topic, order: Number.isNaN(order) ? null : order };
      });
      expect(read ?? null, text).toEqual(frames);
    }
  });
