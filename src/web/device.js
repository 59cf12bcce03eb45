// Who this browser is to OpenClaw gateways: an Ed25519 key pair, made once and kept, and the tokens that gateways gave to it.
//
// Where there is crypto.subtle, the secret key cannot be read by anybody, this page included, and lies in IndexedDB. Where
// there is not (plain http, other than loopback), or nothing to keep such a key in, a chunk with noble's code signs, and the
// secret lies in localStorage. Where nothing can be kept, all of it lives as long as the page.

const NAME = "moorline-openclaw";
const memory = new Map();
let known;

/** The device: made or read once, and again after a failure. */
export function device() {
  known ??= find().catch((error) => {
    known = undefined;
    throw error;
  });
  return known;
}

/** What was kept for a gateway; it belongs to this device alone. */
export const kept = async (gateway) => read(await token(gateway));
export const keep = async (gateway, text) => write(await token(gateway), text);
export const forget = async (gateway) => write(await token(gateway));

const token = async (gateway) => `${NAME} ${(await device()).id} ${gateway}`;

async function find() {
  const db = globalThis.crypto?.subtle && (await opened());
  return (db && (await native(db).catch(() => undefined))) ?? portable();
}

async function native(db) {
  const { subtle } = crypto;
  let pair = await request(db, "readonly", (store) => store.get("key"));
  if (!pair) {
    const made = await subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    // Another tab may have been faster: what it has kept is the one.
    pair = await request(db, "readwrite", (store) => {
      const found = store.get("key");
      found.onsuccess = () => found.result ?? store.put(made, "key");
      return store.get("key");
    });
    pair ??= await request(db, "readonly", (store) => store.get("key"));
  }
  const raw = await subtle.exportKey("raw", pair.publicKey);
  const id = hex(await subtle.digest("SHA-256", raw));
  const sign = async (text) => base64url(await subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(text)));
  return { id, publicKey: base64url(raw), sign };
}

async function portable() {
  const { keyPair, publicKey, sha256, sign } = await import("../ts/ed25519.js");
  const name = `${NAME} key`;
  let secret = bytes(read(name) ?? "");
  if (secret.length !== 32) {
    secret = keyPair().secret;
    write(name, base64url(secret));
  }
  const raw = publicKey(secret);
  return {
    id: hex(sha256(raw)),
    publicKey: base64url(raw),
    sign: async (text) => base64url(sign(new TextEncoder().encode(text), secret)),
  };
}

const opened = () =>
  new Promise((resolve) => {
    try {
      const asked = indexedDB.open(NAME);
      asked.onupgradeneeded = () => asked.result.createObjectStore("device");
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = asked.onblocked = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });

const request = (db, mode, ask) =>
  new Promise((resolve, reject) => {
    const asked = ask(db.transaction("device", mode).objectStore("device"));
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });

function read(name) {
  try {
    return globalThis.localStorage?.getItem(name) ?? memory.get(name);
  } catch {
    return memory.get(name);
  }
}

function write(name, text) {
  memory.delete(name);
  try {
    if (text === undefined) globalThis.localStorage?.removeItem(name);
    else globalThis.localStorage.setItem(name, text);
  } catch {
    if (text !== undefined) memory.set(name, text);
  }
}

const hex = (raw) => Array.from(new Uint8Array(raw), (byte) => byte.toString(16).padStart(2, "0")).join("");

const base64url = (raw) => btoa(String.fromCharCode(...new Uint8Array(raw))).replace(/[+/=]/g, (sign) => ({ "+": "-", "/": "_" })[sign] ?? "");

function bytes(text) {
  try {
    return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
