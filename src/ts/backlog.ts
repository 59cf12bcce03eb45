/** What has come and nobody has read yet. How much of it may wait is its owner's business. */
import type { MoorlineError } from "./error.js";

/** A loop that waits. While one does, no event can. */
interface Sleeper<Event> {
  loop: object;
  taken: ((event: Event) => void) | undefined;
  resolve(result: IteratorResult<Event>): void;
  reject(error: MoorlineError): void;
}

/** @internal */
export class Backlog<Event> {
  waiting: Event[] = [];
  over = false;
  #error: MoorlineError | undefined;
  #asleep: Sleeper<Event>[] = [];

  /** To the loop that has waited longest, at once: a stream has no time for more turns of the promises than it takes. */
  put(event: Event): void {
    // Nearly always there is one at the most, and `pop` costs a fraction of `shift`.
    const sleeper = this.#asleep.length > 1 ? this.#asleep.shift() : this.#asleep.pop();
    if (!sleeper) {
      this.waiting.push(event);
      return;
    }
    sleeper.taken?.(event);
    sleeper.resolve({ done: false, value: event });
  }

  /** Nothing more will come. Loops end when all has been read; with the error, if there is one. */
  end(error?: MoorlineError): true {
    this.over = true;
    this.#error = error;
    for (const { resolve, reject } of this.#asleep.splice(0)) error ? reject(error) : resolve(OVER);
    return true;
  }

  /** `taken` hears of each event that goes to this loop. */
  read(taken?: (event: Event) => void): AsyncIterableIterator<Event> {
    let left = false;
    const loop: AsyncIterableIterator<Event> = {
      next: () => {
        if (!left && !this.waiting.length && !this.over)
          return new Promise((resolve, reject) => void this.#asleep.push({ loop, taken, resolve, reject }));
        if (left || !this.waiting.length) return left || !this.#error ? Promise.resolve(OVER) : Promise.reject(this.#error);
        const value = this.waiting.shift()!;
        taken?.(value);
        return Promise.resolve({ done: false, value });
      },
      // One that waits at that moment ends as well, and takes nothing from others.
      return: async () => {
        left = true;
        const mine = this.#asleep.filter((sleeper) => sleeper.loop === loop);
        this.#asleep = this.#asleep.filter((sleeper) => sleeper.loop !== loop);
        for (const { resolve } of mine) resolve(OVER);
        return OVER;
      },
      [Symbol.asyncIterator]: () => loop,
    };
    return loop;
  }
}

const OVER: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });
