// The chunk with which moorline/openclaw signs where a page has no crypto.subtle, against what Node has built in.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "../support/test.js";
import { consumer, inNode } from "./consumer.js";

const project = consumer();
/** The first key of RFC 8032, section 7.1. */
const SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

/** Evaluates `script` in Node with the chunk's exports in scope and every use of crypto.subtle an error. */
async function withChunk<T>(script: string): Promise<T> {
  const chunks = (await readdir(project.installed)).filter((name) => /^ed25519-\w+\.js$/.test(name));
  expect(chunks).toHaveLength(1);
  return inNode<T>(
    project.home,
    `Object.defineProperty(crypto, "subtle", { get() { throw new Error("a page on plain http has no crypto.subtle"); } });
    const { keyPair, publicKey, sign, sha256 } = await import(${JSON.stringify(join(project.installed, chunks[0]!))});
    const hex = (bytes) => Buffer.from(bytes).toString("hex");
    const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
    console.log(JSON.stringify(${script}));`,
  );
}

/** Node's key from the raw 32 bytes: PKCS #8 is a fixed head in front of them (RFC 8410, section 7). */
const key = (secret: string) => createPrivateKey({ key: Buffer.from(`302e020100300506032b657004220420${secret}`, "hex"), format: "der", type: "pkcs8" });
const raw = (secret: string) => createPublicKey(key(secret)).export({ format: "der", type: "spki" }).subarray(-32).toString("hex");

test("keys, signatures and digests are those of an independent implementation, for messages of any length", async () => {
  // Around the block lengths of SHA-512 and SHA-256, and far beyond.
  const messages = [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 20_000].map((length) => Buffer.alloc(length, length).toString("hex"));
  const secrets = [SECRET, "00".repeat(32), "ff".repeat(32)];
  const made = await withChunk<unknown>(
    `${JSON.stringify(messages)}.map((text) => ({ digest: hex(sha256(bytes(text))), signed: ${JSON.stringify(secrets)}.map((secret) => [hex(publicKey(bytes(secret))), hex(sign(bytes(text), bytes(secret)))]) }))`,
  );
  expect(made).toEqual(
    messages.map((text) => ({
      digest: createHash("sha256").update(Buffer.from(text, "hex")).digest("hex"),
      signed: secrets.map((secret) => [raw(secret), sign(null, Buffer.from(text, "hex"), key(secret)).toString("hex")]),
    })),
  );
});

test("the device proof is the one that OpenClaw's page has as its test vector", async () => {
  const id = "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9";
  const text = `v3|${id}|webchat-ui|webchat|operator|operator.read,operator.write|1737264000000|test-token|00000000-0000-4000-8000-000000000000|web|`;
  const made = await withChunk<unknown>(
    `((secret, url) => ({ id: hex(sha256(publicKey(secret))), key: url(publicKey(secret)), signature: url(sign(new TextEncoder().encode(${JSON.stringify(text)}), secret)) }))(bytes("${SECRET}"), (bytes) => Buffer.from(bytes).toString("base64url"))`,
  );
  expect(made).toEqual({
    id,
    key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    signature: "VZJ49G_cKHBKws4bhkjOOE-SlA7OX1l_Y3OmBLSseH8E_GIgxlz5olnzmVEhFuUQtDLzAyG6--1XI64jADnbBQ",
  });
});

test("a new pair fits together, and no two are the same", async () => {
  const pairs = await withChunk<string[][]>("[keyPair(), keyPair()].map((pair) => [hex(pair.secret), hex(pair.public)])");
  for (const [secret, open] of pairs) expect(raw(secret!)).toBe(open);
  expect(pairs[0]).not.toEqual(pairs[1]);
});

test("what others wrote stands in the package with its licence, and only in that chunk", async () => {
  const notices = await readFile(join(project.installed, "THIRD-PARTY-NOTICES.md"), "utf8");
  const names = [...notices.matchAll(/^## (\S+) \S+ \((.+)\)$/gm)].map(([, name, licence]) => `${name} ${licence}`);
  expect(names).toEqual(["@noble/ed25519 MIT", "@noble/hashes MIT"]);
  expect(notices.match(/^Copyright \(c\) 20\d\d Paul Miller/gm)).toHaveLength(2);
  expect(notices.match(/The above copyright notice and this permission notice shall be included/g)).toHaveLength(2);
  const scripts = (await readdir(project.installed)).filter((name) => name.endsWith(".js"));
  const texts = await Promise.all(scripts.map((name) => readFile(join(project.installed, name), "utf8")));
  const theirs = scripts.filter((_, index) => texts[index]!.includes("MIT License (c)"));
  expect(theirs).toEqual([expect.stringMatching(/^ed25519-/)]);
});
