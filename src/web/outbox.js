// The durable outbox (`queue.persist`): the messages of the queue as they lie in the page's own storage, so that the next
// page goes on where this one ended. It loads only where it is asked for, and decides nothing: what becomes of a message is
// the queue's word, and is noted here.
//
// A *slot* is the place of one page at a time, by a Web Lock of its name. It holds a *mark*, one line of fixed width that can
// be written where nothing else finds room, and the messages by their numbers: in localStorage, at once, while they are few
// and small, else in IndexedDB. What lies before the mark's `tried` may have been handed to a socket.

// As in rust.js; a file that both imported would be one more that every page waits for.
const RING = 2;
const ADOPT = 28;
const SKIPPED = 29;
const KEPT = 30;

// What localStorage holds of one slot at the most, and of one message, in characters: it has room for 5 million of a whole
// origin, and the page stands still while it is written.
const SMALL = 262144;
const LARGE = 32768;
// Numbers are reserved by so many: none is used twice, whatever is lost.
const BLOCK = 1024;
// How many may be marked as tried at once where that takes a while.
const STRIDE = 256;
// How far the oldest and the newest number may lie apart: what is further was not written by us.
const SPAN = 1048576;
// The page before this one, in the same tab, may still be on its way out.
const PATIENCE_MS = 1000;
// Where a message lies; both, where IndexedDB might have been too slow.
const LOCAL = 1;
const DB = 2;
// Fates, as Rust numbers them.
const SENT = 1;
const REJECTED = 5;
const MARK = /^1 ([0-9a-f]{16}) (\d{10}) (\d{10}) (\d{10}) (\d{10}|-{10}) ([01])$/;

// Lines of this page that were disposed of and are still writing.
const leaving = new Set();

/** Hands to a page what earlier ones left, before anything that it says itself, and keeps what it sends from then on. */
export async function keep(page, { line, options }, start) {
  const outbox = await Outbox.open(page.store.key, page.events, options.connectTimeoutMs ?? 10_000);
  page.kept = outbox;
  // Disposed of meanwhile: nothing of it was taken.
  if (line.state === "closed") return page.dispose();
  outbox.adopt(page.socket, page.rust);
  start();
  outbox.begin();
}

export class Outbox {
  /** What is kept under the key, and the lease of it. `patienceMs`: how long a storage may take to answer. */
  static async open(key, events, patienceMs) {
    await Promise.all(leaving);
    const outbox = new Outbox(`${key}.outbox`, events, patienceMs);
    await outbox.lease();
    await outbox.read();
    return outbox;
  }

  constructor(name, events, patienceMs) {
    this.name = name;
    this.events = events;
    this.patienceMs = patienceMs;
    this.local = Shelf.of("localStorage");
    this.session = Shelf.of("sessionStorage");
    this.slot = undefined;
    this.release = undefined;
    this.socket = this.rust = undefined;
    this.database = undefined;
    this.usesDb = false;
    this.marksInDb = false;
    this.stream = "";
    // Messages by number, in order.
    this.held = new Map();
    this.unwritten = [];
    this.isScheduled = false;
    // How many of them lie somewhere or are on their way, and what they take of localStorage.
    this.placed = 0;
    this.size = 0;
    this.triedBefore = 0;
    this.next = 0;
    // What the mark says, and whether it has been written; `final`: it counts, for nobody was to write any more.
    this.markTried = 0;
    this.markNext = 0;
    this.marking = 0;
    this.text = "";
    this.final = false;
    // A socket that had messages is gone, and what it did not settle is not tried any more.
    this.hasTried = false;
    this.isCut = false;
    this.isDenied = false;
    this.news = [];
    this.writing = new Set();
    this.listening = new AbortController();
  }

  // The lease.

  /** The slot of this tab, what a page that is gone left, or a new slot. */
  async lease() {
    const own = this.session?.get(this.name) ?? undefined;
    const full = this.full();
    const mine = full.find((slot) => slot === own);
    try {
      if (mine && (await this.take(mine, patience()))) return;
      for (const slot of full) if (await this.take(slot)) return;
      if (own?.startsWith(`${this.name}.`) && (await this.take(own))) return;
      return await this.takeNew();
    } catch {
      // Without Web Locks nobody can say whether a page is still there: only what the page before this one, in the same tab,
      // has left for good is taken over.
      const left = /\d/.test(MARK.exec(this.local?.get(own) ?? "")?.[5]);
      this.settle(left ? own : `${this.name}.${hex(8)}`);
    }
  }

  async takeNew() {
    const full = this.full();
    for (let n = 0; ; n++) {
      const slot = `${this.name}.${n}`;
      if (!full.includes(slot) && (await this.take(slot))) return;
    }
  }

  takeElsewhere() {
    return this.takeNew().catch(() => this.settle(`${this.name}.${hex(8)}`));
  }

  /** Takes the lock of a slot and holds it; throws where there are no locks. */
  async take(slot, how = { ifAvailable: true }) {
    const release = await new Promise((resolve, reject) => {
      const hold = (lock) => {
        if (lock === null) return resolve(undefined);
        return new Promise((end) => resolve(end));
      };
      navigator.locks.request(slot, how, hold).catch((error) => (how.signal?.aborted ? resolve(undefined) : reject(error)));
    });
    if (!release) return false;
    this.release = release;
    this.settle(slot);
    return true;
  }

  settle(slot) {
    this.slot = slot;
    this.session?.set(this.name, slot);
  }

  /** The slots in which something lies, as far as localStorage knows. */
  full() {
    const slots = new Set();
    for (const key of this.local?.keys(`${this.name}.`) ?? []) {
      const [slot, id] = key.slice(this.name.length + 1).split(".");
      if (id !== undefined || this.local.get(key).endsWith("1")) slots.add(`${this.name}.${slot}`);
    }
    return [...slots].sort((one, other) => one.length - other.length || (one < other ? -1 : 1));
  }

  // What earlier pages left.

  async read() {
    const { local, slot } = this;
    const found = new Map();
    let mark = MARK.exec(local?.get(slot) ?? "");
    for (const key of local?.keys(`${slot}.`) ?? []) {
      const id = key.slice(slot.length + 1);
      if (/^\d{1,10}$/.test(id)) found.set(+id, [local.get(key), LOCAL]);
      else local.remove(key);
    }
    if (mark?.[6] !== "0") {
      // Where localStorage knows of nothing, nothing is missed.
      const rows = await this.rows().catch((error) => void ((mark || !local) && this.deny(error)));
      if (!rows && mark) return this.moveOn();
      for (const [id, raw] of rows ?? []) {
        if (id < 0) mark ??= MARK.exec(raw);
        found.set(id, [found.get(id)?.[0] ?? raw, DB | (found.get(id)?.[1] ?? 0)]);
      }
      found.delete(-1);
    }
    const all = [...found].map(([id, [raw, at]]) => ({ ...parsed(raw, id), id, at, size: at & LOCAL ? raw.length : 0 }));
    const numbers = mark?.slice(2, 6).map(Number) ?? [];
    let [from, tried, next] = numbers;
    const trusted = mark && (next - from) >>> 0 <= SPAN && (tried - from) >>> 0 <= (next - from) >>> 0;
    const stream = trusted ? mark[1] : all.findLast((one) => one.stream)?.stream;
    let kept = all.filter((one) => stream && one.stream === stream);
    if (!trusted) {
      // Without the mark nobody knows what was handed over: all of it may have been.
      kept.sort((one, other) => one.id - other.id);
      from = kept[0]?.id ?? 0;
      tried = Math.min(from + SPAN, kept.at(-1)?.id ?? 0) + 1;
      next = tried + BLOCK;
    }
    kept = kept.filter((one) => (one.id - from) >>> 0 < (next - from) >>> 0);
    kept.sort((one, other) => ((one.id - from) >>> 0) - ((other.id - from) >>> 0));
    // Another stream's, and what was settled, are what an interrupted cleaning left.
    const ours = all.filter((one) => !trusted || ((!one.stream || one.stream === stream) && !ahead(from, one.id)));
    const count = Math.max(ours.length, numbers[3] || 0) - kept.length;
    if (count > 0) this.tell("storage.corrupt", "messages that were kept are missing, or are not what was written", { count });
    // Of a stream of which nothing is left the numbers may be forgotten, and a new one cannot be taken for it.
    this.stream = kept.length > 0 ? stream : hex(16);
    if (kept.length > 0) [this.triedBefore, this.next] = [tried >>> 0, next >>> 0];
    for (const message of kept) {
      this.held.set(message.id, message);
      this.placed++;
      this.size += message.size;
      this.usesDb ||= (message.at & DB) !== 0;
    }
    // The new mark stands before the old messages go: whoever is interrupted here leaves strays.
    this.mark();
    const others = all.filter((one) => this.held.get(one.id) !== one);
    for (const { id, at } of others) if (at & LOCAL) local.remove(`${slot}.${id}`);
    this.erase(others.filter(({ at }) => at & DB).map(({ id }) => id));
  }

  /** What lies here cannot be read now: it is left to another page, and this one begins elsewhere. */
  async moveOn() {
    this.release?.();
    this.release = undefined;
    await this.takeElsewhere();
    this.stream = hex(16);
    this.mark();
  }

  /** Hands what was found to the queue, in order, each by its number; from here on it is heard what becomes of them. */
  adopt(socket, rust) {
    this.socket = socket;
    this.rust = rust;
    this.listen(socket);
    const base = this.first();
    const found = [...this.held.values()];
    rust.say([this.stream], ADOPT, base, ahead(this.triedBefore, base) ? this.triedBefore : base);
    socket.base = base;
    let next = base;
    const skip = (numbers) => {
      socket.texts.length = socket.receipts.length += numbers;
      if (numbers > 0) rust.tell(SKIPPED, numbers);
    };
    for (const { id, text, bytes, key, ttl, expires } of found) {
      skip((id - next) >>> 0);
      next = (id + 1) >>> 0;
      socket.texts.push(text);
      socket.receipts.push(undefined);
      // A clock that was put back makes nothing live longer than it was to.
      rust.say([key], KEPT, bytes, 0, ttl === null ? NaN : Math.min(Math.max(0, expires - Date.now()), ttl));
    }
    skip((this.next - next) >>> 0);
  }

  listen(socket) {
    const { send, handOver, settle, forget } = socket;
    socket.send = (text, receipt, bytes, delivery, key, ttlMs) => {
      const id = (socket.base + socket.texts.length) >>> 0;
      this.add(id, text, bytes, delivery, key, ttlMs);
      const refused = send.call(socket, text, receipt, bytes, delivery, key, ttlMs);
      if (refused !== 0) this.forget(id, 1);
      return refused;
    };
    // A page that ends in between must not leave as untried what it has tried, nor much as tried that it has not.
    socket.handOver = (id, from, count, limit) => {
      let taken = 0;
      while (taken < count) {
        const stride = Math.min(16, count - taken);
        if (!this.tried((from + taken + stride) >>> 0)) break;
        const more = handOver.call(socket, id, (from + taken) >>> 0, stride, limit);
        taken += more;
        if (more === stride && socket.buffered() < limit) continue;
        if (more < stride) this.untried((from + taken) >>> 0);
        break;
      }
      return taken;
    };
    socket.settle = (from, count, fate) => {
      // Where the gateway acknowledges, what was sent may have to be sent again.
      if (fate !== SENT || !socket.numbered) this.forget(from, count);
      settle.call(socket, from, count, fate);
    };
    socket.forget = (ws) => {
      forget.call(socket, ws);
      // Where the gateway numbers nothing, what is not settled by the next look is with us alone.
      this.isCut ||= this.hasTried && !socket.numbered;
    };
  }

  /** The page hears from here on, and the browser is listened to. */
  begin() {
    const { signal } = this.listening;
    const on = (target, type, act) => target?.addEventListener?.(type, act, { signal });
    on(globalThis, "pagehide", (event) => this.putAway(event.persisted));
    on(globalThis.document, "freeze", () => this.secure());
    on(globalThis.document, "visibilitychange", () => document.visibilityState === "hidden" && this.secure());
    on(globalThis, "pageshow", (event) => event.persisted && this.comeBack());
    const { news } = this;
    this.news = undefined;
    for (const error of news) this.events.dispatch("ws-error", error);
  }

  // What the queue says.

  add(id, text, bytes, delivery, key, ttlMs) {
    this.next = (id + 1) >>> 0;
    // What may not wait is not kept.
    if (delivery === 1) return;
    const expires = ttlMs === undefined ? null : Date.now() + ttlMs;
    this.held.set(id, { id, text, bytes, key: delivery === 2 ? (key ?? "") : null, ttl: ttlMs ?? null, expires, at: 0 });
    this.unwritten.push(id);
    if (this.isScheduled) return;
    // What is sent and settled within one task is never written.
    this.isScheduled = true;
    queueMicrotask(() => this.write());
  }

  /** All before this number is about to be handed to a socket; `false`: not yet, and Rust is called when it may be. */
  tried(before) {
    if (this.slot === undefined) return false;
    this.rejoin();
    this.hasTried = true;
    if (ahead(before, this.triedBefore)) this.triedBefore = before;
    // What lies nowhere needs no mark.
    if (this.placed === 0) return true;
    if (!this.final && !ahead(before, this.markTried) && !ahead(before, this.markNext)) return this.marking === 0;
    if (this.marksInDb && ahead(this.next, before)) this.triedBefore = ahead(this.next, before + STRIDE) ? (before + STRIDE) >>> 0 : this.next;
    return this.mark();
  }

  /** The socket refused what comes from here on. */
  untried(from) {
    this.triedBefore = from;
    if (this.placed > 0 && !this.marksInDb) this.mark();
  }

  forget(from, count) {
    const rows = [];
    const before = this.held.size;
    for (let id = from; count-- > 0; id = (id + 1) >>> 0) {
      const message = this.held.get(id);
      if (message === undefined) continue;
      this.held.delete(id);
      if (message.at !== 0 || message.pending) this.placed--;
      if (message.at & LOCAL) {
        this.size -= message.size;
        this.local.remove(`${this.slot}.${id}`);
      }
      if (message.at & DB || message.pending) rows.push(id);
    }
    if (this.final && this.held.size < before) this.mark();
    this.erase(rows);
  }

  /** How many messages the next page would find. */
  count() {
    return [...this.held.values()].filter(({ at }) => at !== 0).length;
  }

  /** The line is disposed of: what is kept stays for the next one, and what is not is rejected. */
  leave() {
    this.listening.abort();
    this.putAway(false);
    const { receipts = [], base } = this.socket ?? {};
    for (const { id, at, pending } of this.held.values()) {
      const place = (id - base) >>> 0;
      const receipt = receipts[place];
      const lose = () => receipt?.settle(REJECTED);
      pending?.catch(lose);
      if (at !== 0 || pending) continue;
      receipts[place] = undefined;
      lose();
    }
    // What Rust says of them from here on is said to this page alone.
    this.held = new Map();
    this.close();
  }

  /** Gives the slot away when all is written. */
  close() {
    const done = Promise.allSettled([...this.writing]).then(async () => {
      (await this.database?.catch(() => {}))?.close();
      this.release?.();
      leaving.delete(done);
    });
    leaving.add(done);
  }

  // Writing.

  write() {
    this.isScheduled = false;
    if (this.slot === undefined) return;
    const fresh = this.unwritten.map((id) => this.held.get(id)).filter((one) => one && one.at === 0 && !one.pending);
    this.unwritten.length = 0;
    if (fresh.length === 0) return;
    this.rejoin();
    this.placed += fresh.length;
    if (this.final || ahead(this.triedBefore, this.markTried) || ahead(this.next, this.markNext)) this.mark();
    const rest = fresh.filter((one) => {
      one.raw = `${JSON.stringify([this.stream, one.text.length, one.bytes, one.key, one.ttl, one.expires])}\n${one.text}`;
      return one.raw.length > LARGE || this.size + one.raw.length > SMALL || !this.putLocal(one);
    });
    if (rest.length === 0) return;
    const pending = this.change((store) => rest.forEach((one) => store.put(one.raw, [this.slot, one.id])));
    for (const one of rest) one.pending = pending;
    const done = (where) => (one) => {
      one.at |= where;
      one.pending = one.raw = undefined;
    };
    pending.then(
      () => rest.forEach(done(DB)),
      (error) => {
        const lost = rest.filter((one) => this.held.get(one.id) === one && !this.putLocal(one));
        rest.forEach(done(0));
        this.placed -= lost.length;
        if (lost.length > 0) this.deny(error);
      },
    );
    if (this.usesDb) return;
    // The next page has to know where to look.
    this.usesDb = true;
    this.mark();
  }

  /** Whether it lies in localStorage now. */
  putLocal(one) {
    if (one.at & LOCAL) return true;
    if (!this.local?.set(`${this.slot}.${one.id}`, one.raw)) return false;
    one.at |= LOCAL;
    one.size = one.raw.length;
    this.size += one.size;
    if (!one.pending) one.raw = undefined;
    return true;
  }

  erase(ids) {
    if (ids.length > 0) this.change((store) => ids.forEach((id) => store.delete([this.slot, id]))).catch(() => {});
  }

  /** Writes the mark; `false`: it takes a while, and Rust is called when it stands. */
  mark(final = false) {
    const first = this.first();
    const tried = ahead(this.triedBefore, first) ? this.triedBefore : first;
    const next = final ? this.next : (this.next + BLOCK) >>> 0;
    const count = final ? digits(this.count()) : "-".repeat(10);
    const text = (this.text = ["1", this.stream, digits(first), digits(tried), digits(next), count, +this.usesDb].join(" "));
    this.final = final;
    [this.markTried, this.markNext] = [tried, next];
    if (!this.marksInDb && this.local?.set(this.slot, text)) return true;
    this.marksInDb = true;
    this.marking++;
    this.change((store) => store.put(text, [this.slot, -1]))
      .catch((error) => this.deny(error))
      .then(() => --this.marking || this.rust?.tell(RING));
    return false;
  }

  rejoin() {
    if (!this.isCut) return;
    this.isCut = false;
    this.triedBefore = this.first();
  }

  first() {
    const [first = this.next] = this.held.keys();
    return first;
  }

  // The page's comings and goings.

  /** What IndexedDB has not confirmed goes to localStorage too, as far as there is room. */
  secure() {
    if (this.slot === undefined) return;
    this.write();
    for (const message of this.held.values()) if (message.pending) this.putLocal(message);
  }

  putAway(persisted) {
    if (this.slot === undefined) return;
    this.secure();
    this.rejoin();
    // A page that may come back without a lock has to find its messages where they were.
    if (this.release || !persisted) this.mark(true);
    // A slot without a lock is no other tab's: empty, it is nobody's.
    if (!this.release && !persisted && this.held.size === 0) this.local?.remove(this.slot);
    // A page that holds a lock cannot come back at all: with nothing to keep it needs none.
    if (!this.release || !persisted || this.held.size > 0 || this.marksInDb) return;
    this.release();
    this.slot = this.release = undefined;
  }

  async comeBack() {
    const { slot, release } = this;
    if (slot !== undefined && !release) return;
    // Until it is known whose they are, no message is handed over.
    this.slot = this.release = undefined;
    release?.();
    const isOurs = async () => (await this.take(slot, patience())) && (await this.marked()) === this.text;
    if (slot === undefined || !(await isOurs().catch(() => false))) {
      this.release?.();
      await this.takeElsewhere();
      if (slot !== undefined) this.lose();
      this.mark();
    }
    this.write();
    this.rust.tell(RING);
  }

  /** The browser took the lock from a page that slept, and another page took over what was kept: here it is of unknown fate. */
  lose() {
    this.held = new Map();
    this.placed = this.size = 0;
    this.usesDb = false;
    this.stream = hex(16);
    this.triedBefore = this.next;
    this.rust.say([this.stream], ADOPT, this.next, this.next);
  }

  async marked() {
    if (!this.marksInDb) return this.local.get(this.slot);
    return (await this.rows()).find(([id]) => id < 0)?.[1];
  }

  // IndexedDB.

  open() {
    this.database ??= new Promise((resolve, reject) => {
      const asked = indexedDB.open("moorline", 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore("outbox");
      asked.onerror = () => reject(asked.error);
      const late = setTimeout(() => reject(new Error("IndexedDB does not answer")), Math.min(this.patienceMs, 2 ** 31 - 1));
      asked.onsuccess = () => {
        clearTimeout(late);
        asked.result.onversionchange = () => asked.result.close();
        resolve(asked.result);
      };
    });
    return this.database;
  }

  async rows() {
    const store = (await this.open()).transaction("outbox").objectStore("outbox");
    const range = IDBKeyRange.bound([this.slot, -1], [this.slot, Infinity]);
    const [keys, values] = await Promise.all([store.getAllKeys(range), store.getAll(range)].map(answer));
    return keys.map(([, id], at) => [id, values[at]]);
  }

  /** All of it, or none. */
  change(act) {
    const done = this.open().then(
      (db) =>
        new Promise((resolve, reject) => {
          const transaction = db.transaction("outbox", "readwrite");
          transaction.oncomplete = () => resolve();
          transaction.onabort = () => reject(transaction.error);
          act(transaction.objectStore("outbox"));
          // A page that ends does not wait for what it asked; what was committed is written all the same.
          transaction.commit?.();
        }),
    );
    const known = done.catch(() => {}).then(() => this.writing.delete(known));
    this.writing.add(known);
    return done;
  }

  // Said once: what follows from it is not news.
  deny(error) {
    if (this.isDenied) return;
    this.isDenied = true;
    this.tell("storage.denied", "the storage refused; what waits is kept in memory alone", { cause: error });
  }

  tell(code, message, more) {
    const error = new this.events.ErrorType(code, message, more);
    if (this.news) this.news.push(error);
    else this.events.dispatch("ws-error", error);
  }
}

/** A storage of the browser's; nothing in it throws. */
class Shelf {
  static of(name) {
    try {
      return globalThis[name] && new Shelf(globalThis[name]);
    } catch {
      return undefined;
    }
  }

  constructor(storage) {
    this.storage = storage;
  }

  keys(head) {
    try {
      return Object.keys(this.storage).filter((key) => key.startsWith(head));
    } catch {
      return [];
    }
  }

  get(key) {
    try {
      return this.storage.getItem(key);
    } catch {
      return null;
    }
  }

  set(key, text) {
    try {
      this.storage.setItem(key, text);
      return true;
    } catch {
      return false;
    }
  }

  remove(key) {
    try {
      this.storage.removeItem(key);
    } catch {
      // It stays, and is known by its number.
    }
  }
}

/** A message as it was written, or nothing. */
function parsed(raw, id) {
  try {
    const end = raw.indexOf("\n");
    const [stream, length, bytes, key, ttl, expires] = JSON.parse(raw.slice(0, end));
    const text = raw.slice(end + 1);
    JSON.parse(text);
    const time = ttl === null ? expires === null : ttl >= 0 && expires > 0;
    const size = text.length === length && bytes >= length && bytes <= length * 3;
    if (id >>> 0 === id && /^[0-9a-f]{16}$/.test(stream) && size && time && (key === null || typeof key === "string"))
      return { stream, text, bytes, key, ttl, expires };
  } catch {
    // Not ours.
  }
}

const answer = (asked) =>
  new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });

/** Whether one number comes after another: half of the number space away means before. */
const ahead = (one, other) => ((one - other) | 0) > 0;

const patience = () => ({ signal: AbortSignal.timeout(PATIENCE_MS) });

const digits = (number) => String(number).padStart(10, "0");

const hex = (length) =>
  Array.from(crypto.getRandomValues(new Uint8Array(length / 2)), (byte) => byte.toString(16).padStart(2, "0")).join("");
