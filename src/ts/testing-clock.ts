/**
 * Time that a test moves. It stands in for `setTimeout`, `setInterval`, what clears them, `performance.now` and `Date.now`; not for
 * `new Date()`, `requestAnimationFrame`, or the time stamps of the browser's own events.
 */

interface Alarm {
  id: number;
  due: number;
  everyMs: number | undefined;
  ring: () => void;
}

/** Far above what a page's own timers reach: one of theirs can still be cleared. */
const FIRST_ID = 1_000_000_000;
/** A timer that sets itself again without a wait would hold the test for ever. */
const MOST_AT_ONCE = 10_000;
/** How long `until` waits for what needs no timer: a file, a storage, a promise of the browser's. */
const REAL_MS = 10_000;

/** See `virtualClock`. */
export class VirtualClock {
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
    now: Object.getOwnPropertyDescriptor(performance, "now"),
    monotonic: () => Performance.prototype.now.call(performance),
    wall: Date.now,
  };
  #alarms: Alarm[] = [];
  #next = FIRST_ID;
  #monotonic = performance.now();
  #ahead: number;
  #channel: MessageChannel | undefined;

  /** @internal */
  constructor(now: number) {
    this.#ahead = now - this.#monotonic;
    const set = (call: (...given: unknown[]) => unknown, waitMs: unknown, given: unknown[], repeats: boolean) => {
      const ms = Math.max(0, Math.trunc(Number(waitMs)) || 0);
      const everyMs = repeats ? Math.max(1, ms) : undefined;
      const id = this.#next++;
      this.#alarms.push({ id, due: this.#monotonic + (everyMs ?? ms), everyMs, ring: () => call(...given) });
      return id;
    };
    const clear = (id: unknown) => {
      if (typeof id === "number" && id >= FIRST_ID) this.#alarms = this.#alarms.filter((alarm) => alarm.id !== id);
      else this.#real.clearTimeout.call(globalThis, id as number);
    };
    Object.assign(globalThis, {
      setTimeout: (call: () => void, ms?: number, ...given: unknown[]) => set(call, ms, given, false),
      setInterval: (call: () => void, ms?: number, ...given: unknown[]) => set(call, ms, given, true),
      clearTimeout: clear,
      clearInterval: clear,
    });
    Object.defineProperty(performance, "now", { configurable: true, writable: true, value: () => this.#monotonic });
    Date.now = () => Math.floor(this.#monotonic + this.#ahead);
  }

  /** Milliseconds, as `performance.now()` says them. */
  get now(): number {
    return this.#monotonic;
  }

  /** Lets `ms` pass: each timer rings at its time, and what its promises lead to happens before the next one rings. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await this.#settle();
    while (await this.#ring(end));
    this.#monotonic = Math.max(this.#monotonic, end);
  }

  /**
   * Lets time pass, timer by timer, until `fits` answers something true, and answers with that. Throws after `limitMs` of virtual
   * time; where no timer is set, after 10 s of the real one.
   */
  async until<T>(fits: () => T, limitMs = 600_000): Promise<T> {
    const end = this.#monotonic + limitMs;
    const patience = this.#real.monotonic() + REAL_MS;
    for (;;) {
      await this.#settle();
      const found = fits();
      if (found) return found;
      if (await this.#ring(end)) continue;
      if (this.#alarms.length > 0 || this.#real.monotonic() > patience)
        throw new Error(`did not come true within ${limitMs} ms of the clock: ${fits}`);
      await new Promise((resolve) => this.#real.setTimeout.call(globalThis, resolve, 1));
    }
  }

  /** The machine sleeps: the wall clock is `ms` on, `performance.now()` stood still, and no timer has come nearer. */
  async sleep(ms: number): Promise<void> {
    await this.#settle();
    this.#ahead += ms;
  }

  /** The page is frozen: both clocks are `ms` on, and what should have rung meanwhile rings late, once. */
  async freeze(ms: number): Promise<void> {
    await this.#settle();
    this.#monotonic += ms;
    this.#alarms.sort((one, other) => one.due - other.due);
    for (const alarm of this.#alarms) alarm.due = Math.max(alarm.due, this.#monotonic);
    await this.advance(0);
  }

  /** Timers that are set and have not rung. */
  get timers(): number {
    return this.#alarms.length;
  }

  /** Gives the page its own clocks back. What is still set never rings. */
  uninstall(): void {
    const { setTimeout, clearTimeout, setInterval, clearInterval, now, wall } = this.#real;
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval });
    if (now) Object.defineProperty(performance, "now", now);
    else Reflect.deleteProperty(performance, "now");
    Date.now = wall;
    this.#alarms = [];
    this.#channel?.port1.close();
    this.#channel = undefined;
  }

  [Symbol.dispose](): void {
    this.uninstall();
  }

  /** Rings the next timer that is due by then; answers whether there was one. */
  async #ring(end: number): Promise<boolean> {
    const next = this.#alarms.reduce<Alarm | undefined>((first, alarm) => (first && first.due <= alarm.due ? first : alarm), undefined);
    if (!next || next.due > end) return false;
    this.#busy = next.due > this.#monotonic ? 0 : this.#busy + 1;
    if (this.#busy > MOST_AT_ONCE) throw new Error(`${MOST_AT_ONCE} timers rang and the clock did not move: one sets itself again without a wait`);
    this.#monotonic = Math.max(this.#monotonic, next.due);
    if (next.everyMs === undefined) this.#alarms.splice(this.#alarms.indexOf(next), 1);
    else {
      // Behind those that are due at the same time.
      next.due = this.#monotonic + next.everyMs;
      this.#alarms.push(...this.#alarms.splice(this.#alarms.indexOf(next), 1));
    }
    try {
      next.ring();
    } catch (error) {
      // As a browser has it: told, and the others ring.
      queueMicrotask(() => {
        throw error;
      });
    }
    await this.#settle();
    return true;
  }
  #busy = 0;

  /** All that promises lead to, without a timer. */
  #settle(): Promise<void> {
    const { port1, port2 } = (this.#channel ??= new MessageChannel());
    return new Promise((resolve) => {
      port1.onmessage = () => resolve();
      port2.postMessage(0);
    });
  }
}

/**
 * Puts time into the test's hands until `uninstall()`. To be called before a line is made: what began with the page's own clock
 * would see it jump.
 * @param now what `Date.now()` says at first. Default: what it says
 */
export function virtualClock(now = Date.now()): VirtualClock {
  return new VirtualClock(now);
}
