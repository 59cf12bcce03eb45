/** What became of one message. The queue settles it; here it is only told. */
import { MoorlineError } from "./error.js";
import type { ErrorCode, ReceiptStatus } from "./types.js";

const STATUS: ReceiptStatus[] = ["queued", "sent", "acked", "expired", "evicted", "rejected", "unknown"];

/** As Rust numbers them. */
const SENT = 1;
const ACKED = 2;

/** What the queue tells all receipts at once: a flush that touched each of thousands would spend most of its time on that. */
interface Book {
  /** Of a message that has no other fate: whether it was acknowledged, sent, or neither. */
  fate(id: number): number;
  /** The gateway acknowledges. */
  numbered: boolean;
  /** How many answers somebody waits for. */
  asked: number;
}

export class Receipt {
  #book: Book | undefined;
  #id = 0;
  #settled = 0;
  #why: MoorlineError | undefined;
  #asked = NOBODY;

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
    book.asked += this.#asked.length;
  }

  /** @internal */
  settle(fate: number, why?: MoorlineError): void {
    this.#settled = fate;
    this.#why = why;
    if (this.#book) this.#book.asked -= this.#asked.length;
    for (const tell of this.#asked) tell();
    this.#asked = NOBODY;
  }

  get #fate(): number {
    return this.#settled > SENT ? this.#settled : this.#book?.fate(this.#id) || this.#settled;
  }

  async #reaches(least: number): Promise<void> {
    let fate;
    // Where the gateway acknowledges, there is more to come.
    while (!(fate = this.#fate) || (fate < least && this.#book?.numbered))
      await new Promise<void>((tell) => {
        this.#asked = [...this.#asked, tell];
        if (this.#book) this.#book.asked++;
      });
    if (fate < least || fate > ACKED) throw this.#why ?? new MoorlineError(`send.${fate === SENT ? "unacknowledged" : this.status}` as ErrorCode, this.status);
  }
}

const NOBODY: (() => void)[] = [];
