/** What became of one message. The queue settles it; here it is only told. */
import { MoorlineError } from "./error.js";
import type { ErrorCode, ReceiptStatus } from "./types.js";

const STATUS: ReceiptStatus[] = ["queued", "sent", "acked", "expired", "evicted", "rejected", "unknown"];

/** As Rust numbers them. */
const SENT = 1;
const ACKED = 2;

/** What the queue tells all receipts at once: a flush that touched each of thousands would spend most of its time on that. */
interface Book {
  /** Messages before this id that have no other fate have been sent. */
  sentBefore: number;
  /** Messages before this id that have no other fate have been acknowledged. */
  ackedBefore: number;
  /** The gateway acknowledges. */
  numbered: boolean;
  /** How many receipts somebody waits for. */
  asked: number;
}

export class Receipt {
  #book: Book | undefined;
  #id = 0;
  #settled = 0;
  #why: MoorlineError | undefined;
  /** Whether each has been answered. */
  #asked: (() => boolean)[] | undefined;

  /** `sent` may still become `unknown`, if the socket that took it dies before anything shows that it got through. */
  get status(): ReceiptStatus {
    return STATUS[this.#fate]!;
  }

  /** Settles when the browser has written it out; rejects if it never will. */
  get sent(): Promise<void> {
    return this.#reaches(SENT);
  }

  /** Settles when the gateway has acknowledged it; rejects with `send.unacknowledged` where it does not acknowledge. */
  get acked(): Promise<void> {
    return this.#reaches(ACKED);
  }

  /** @internal Queued, as number `id`. */
  place(book: Book, id: number): void {
    this.#book = book;
    this.#id = id;
    if (this.#asked) book.asked++;
  }

  /** @internal */
  settle(fate: number, why?: MoorlineError): void {
    this.#settled = fate;
    this.#why = why;
    if (!this.#asked) return;
    this.#asked = this.#asked.filter((answer) => !answer());
    if (this.#asked.length) return;
    this.#asked = undefined;
    if (this.#book) this.#book.asked--;
  }

  get #fate(): number {
    if (this.#settled > SENT) return this.#settled;
    const before = (id: number | undefined) => id !== undefined && ((id - this.#id) | 0) > 0;
    return before(this.#book?.ackedBefore) ? ACKED : before(this.#book?.sentBefore) ? SENT : this.#settled;
  }

  #reaches(least: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const answer = () => {
        const fate = this.#fate;
        // There is more to come.
        if (fate < least && fate === SENT && this.#book?.numbered) return false;
        if (fate >= least && fate <= ACKED) {
          resolve();
          return true;
        }
        const code = `send.${fate === SENT ? "unacknowledged" : this.status}` as ErrorCode;
        reject(this.#why ?? new MoorlineError(code, this.status));
        return true;
      };
      if (this.#fate && answer()) return;
      if (!this.#asked && this.#book) this.#book.asked++;
      (this.#asked ??= []).push(answer);
    });
  }
}
