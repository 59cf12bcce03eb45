/**
 * Ed25519 and SHA-256 without `crypto.subtle`, which a page has on https and on loopback alone. Of noble, in a chunk that only
 * such a page loads. Every call answers at once, in a few milliseconds.
 */
import { getPublicKey, hashes, sign as signature, utils } from "@noble/ed25519";
import { sha256 as digest, sha512 } from "@noble/hashes/sha2.js";

// What `@noble/ed25519` hashes with when it is not to wait for `crypto.subtle`.
hashes.sha512 = sha512;

/** A new pair, 32 bytes each, from `crypto.getRandomValues`, which every page has. */
export function keyPair(): { secret: Uint8Array; public: Uint8Array } {
  const secret = utils.randomSecretKey();
  return { secret, public: getPublicKey(secret) };
}

/** The public key, 32 bytes, that belongs to a secret one. */
export const publicKey = (secret: Uint8Array): Uint8Array => getPublicKey(secret);

/** The signature, 64 bytes, of these bytes. */
export const sign = (bytes: Uint8Array, secret: Uint8Array): Uint8Array => signature(bytes, secret);

/** The digest, 32 bytes. */
export const sha256 = (bytes: Uint8Array): Uint8Array => digest(bytes);
