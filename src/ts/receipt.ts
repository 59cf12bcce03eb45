/** What became of one message. The queue settles it; here it is only told. */
import { MoorlineError } from "./error.js";
import type { ErrorCode, ReceiptStatus } from "./types.js";

const STATUS: ReceiptStatus[] = ["queued", "sent", "acked", "expired", "evicted", "rejected", "unknown"];

export class Receipt {
  #fate = 0;
  #why: MoorlineError | undefined;
  #asked: ((receipt: Receipt) => void)[] | undefined;

  /** `sent` may still become `unknown`, if the socket that took it dies before anything shows that it got through. */
  get status(): ReceiptStatus {
    return STATUS[this.#fate]!;
  }

  /** Settles when the browser has written it out; rejects if it never will. */
  get sent(): Promise<void> {
    return this.#when((fate) => fate === 1 || fate === 2);
  }

  /** Settles when the gateway has acknowledged it; rejects with `send.unacknowledged` where it does not acknowledge. */
  get acked(): Promise<void> {
    return this.#when((fate) => fate === 2);
  }

  /** @internal */
  settle(fate: number, why?: MoorlineError): void {
    this.#fate = fate;
    this.#why = why;
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.forEach((tell) => tell(this));
  }

  #when(good: (fate: number) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const answer = () => {
        if (good(this.#fate)) return resolve();
        const { status } = this;
        const code = (status === "sent" ? "send.unacknowledged" : `send.${status}`) as ErrorCode;
        const retryable = status === "expired" || status === "evicted" || status === "rejected";
        reject(this.#why ?? new MoorlineError(code, `the message is ${status}`, { retryable }));
      };
      if (this.#fate) answer();
      else (this.#asked ??= []).push(answer);
    });
  }
}
