// The JavaScript half of storage.rs: where a session is kept. Nothing here throws: what a storage refuses is told once, and
// the session lives on in memory.

import { CORRUPT, NOTHING_STORED, RESTORED, RESTORE_DENIED, WRITE_DENIED } from "./rust.js";

// What is longer was not written by us.
const LONGEST = 65536;

export class Store {
  constructor(storage = "local", key = "hermes-session", events) {
    this.key = key;
    this.events = events;
    this.rust = undefined;
    // The session as last saved or found.
    this.session = null;
    this.told = false;
    try {
      this.storage =
        storage === "local" ? globalThis.localStorage : storage === "session" ? globalThis.sessionStorage : storage;
    } catch (error) {
      this.refused = error;
    }
    // Where a session is shared by tabs, how far each has heard is its own.
    try {
      this.tab = storage === "local" ? globalThis.sessionStorage : undefined;
    } catch {
      // Then it lies with the session.
    }
    // A worker has no storage of this kind, and "memory" wants none.
    if (typeof this.storage?.getItem !== "function") this.storage = undefined;
  }

  restore() {
    const refused = (error) => (this.isNews(error) ? this.rust.tell(RESTORE_DENIED) : this.hand(this.session));
    if (this.refused) return refused(this.refused);
    let found;
    try {
      found = this.storage?.getItem(this.key);
    } catch (error) {
      return refused(error);
    }
    if (typeof found?.then === "function") found.then((text) => this.found(text), refused);
    else this.found(found);
  }

  found(text) {
    // What the page saved meanwhile is newer than what was stored.
    if (this.session !== null || text === null || text === undefined) return this.hand(this.session);
    let session;
    try {
      session = typeof text === "string" && text.length <= LONGEST ? JSON.parse(text) : undefined;
    } catch {
      session = undefined;
    }
    if (session === null || typeof session !== "object" || Array.isArray(session)) return this.rust.tell(CORRUPT);
    const known = typeof session.token === "string" || typeof session.savedAt === "number";
    if (known) this.session = session;
    this.hand(session);
  }

  hand(session) {
    if (session === null) return this.rust.tell(NOTHING_STORED);
    const { token, clientId, savedAt } = session;
    const { epoch, seen } = this.tab ? this.cursor(clientId) : session;
    const age = typeof savedAt === "number" ? Date.now() - savedAt : NaN;
    this.rust.say([token, clientId, seen >= 0 ? epoch : undefined], RESTORED, seen >>> 0, seen / 2 ** 32, age);
  }

  save(data) {
    this.session = { ...data, savedAt: Date.now() };
    this.write((storage) => storage.setItem(this.key, JSON.stringify(this.session)));
  }

  saveToken(token, clientId, epoch, seen) {
    // What the page has saved with the token stays with it.
    const own = this.session?.token === token ? this.session : undefined;
    const cursor = epoch === undefined ? undefined : { epoch, seen };
    try {
      this.tab?.setItem(`${this.key}.cursor`, JSON.stringify({ clientId, ...cursor }));
    } catch {
      // The next page of this tab has none.
    }
    this.save({ ...own, token, clientId, ...(this.tab ? undefined : cursor) });
  }

  // Of the client that it was for, and of no other.
  cursor(clientId) {
    try {
      const found = JSON.parse(this.tab.getItem(`${this.key}.cursor`));
      if (found.clientId === clientId) return found;
    } catch {
      // None, or not ours.
    }
    return {};
  }

  clear() {
    this.session = null;
    this.write((storage) => storage.removeItem(this.key));
  }

  write(act) {
    if (this.storage === undefined) return;
    const denied = (error) => this.isNews(error) && this.rust.tell(WRITE_DENIED);
    try {
      const pending = act(this.storage);
      if (typeof pending?.then === "function") pending.then(undefined, denied);
    } catch (error) {
      denied(error);
    }
  }

  // The first refusal is told; those that follow from it are not news.
  isNews(error) {
    if (this.told) return false;
    this.events.cause = error;
    return (this.told = true);
  }

  /** What is stored now: the storage's word, at once where it can, or memory's where it has none. */
  load() {
    const read = (text) => {
      try {
        const session = typeof text === "string" && text.length <= LONGEST ? JSON.parse(text) : null;
        if (session !== null && typeof session === "object" && !Array.isArray(session)) return session;
      } catch {
        // Not ours.
      }
      return this.session;
    };
    try {
      const found = this.storage?.getItem(this.key);
      return typeof found?.then === "function" ? found.then(read, () => this.session) : read(found);
    } catch {
      // Refused: the line has told of it, or will when it needs the session.
      return this.session;
    }
  }
}
