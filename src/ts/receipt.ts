/** What became of one message. The queue settles it; here it is only told. */
import { MoorlineError } from "./error.js";
import type { ErrorCode, ReceiptStatus } from "./types.js";

const STATUS: ReceiptStatus[] = ["queued", "sent", "acked", "expired", "evicted", "rejected", "unknown"];

/** As Rust numbers them. */
const SENT = 1;
const ACKED = 2;
const UNKNOWN = 6;

export class Receipt {
  #fate = 0;
  #why: MoorlineError | undefined;
  #asked: (() => void)[] = [];

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

  /** @internal */
  settle(fate: number, why?: MoorlineError): void {
    this.#fate = fate;
    this.#why = why;
    for (const tell of this.#asked.splice(0)) tell();
  }

  #reaches(least: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const answer = () => {
        const fate = this.#fate;
        if (fate >= least && fate <= ACKED) return resolve();
        const code = `send.${fate === SENT ? "unacknowledged" : this.status}` as ErrorCode;
        reject(this.#why ?? new MoorlineError(code, `the message is ${this.status}`, { retryable: fate > ACKED && fate < UNKNOWN }));
      };
      if (this.#fate) answer();
      else this.#asked.push(answer);
    });
  }
}
