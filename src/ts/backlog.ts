/** What has come and nobody has read yet. How much of it may wait is its owner's business. */
import type { MoorlineError } from "./error.js";

/** @internal */
export class Backlog<Event> {
  waiting: Event[] = [];
  over = false;
  #error: MoorlineError | undefined;
  #asleep: (() => void)[] = [];

  put(event: Event): void {
    this.waiting.push(event);
    this.#wake();
  }

  /** Nothing more will come. Loops end when all has been read; with the error, if there is one. */
  end(error?: MoorlineError): true {
    this.over = true;
    this.#error = error;
    this.#wake();
    return true;
  }

  /** `taken` hears of each event that goes to this loop. */
  read(taken?: (event: Event) => void): AsyncIterableIterator<Event> {
    let left = false;
    const loop: AsyncIterableIterator<Event> = {
      next: async () => {
        while (!left) {
          if (this.waiting.length) {
            const value = this.waiting.shift()!;
            taken?.(value);
            return { done: false, value };
          }
          if (this.over) {
            if (this.#error) throw this.#error;
            break;
          }
          await new Promise<void>((resolve) => this.#asleep.push(resolve));
        }
        return { done: true, value: undefined };
      },
      // One that waits at that moment ends as well, and takes nothing from others.
      return: async () => {
        left = true;
        this.#wake();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => loop,
    };
    return loop;
  }

  #wake(): void {
    for (const wake of this.#asleep.splice(0)) wake();
  }
}
