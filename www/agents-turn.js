/**
 * An answer of a gateway that knows no runs, told in the words of one, so that the page reads all five alike. What the
 * words mean is said by the package's `RunEvent`.
 */
export class Turn {
  /** The whole text so far. */
  text = "";
  over = false;
  #waiting = [];
  #wake = null;

  constructor(cancel) {
    this.cancel = cancel;
  }

  put(event) {
    if (this.over) return;
    const { type, text } = event;
    if (type === "delta" && !event.replace) this.text += text;
    else if (type === "restarted") this.text = "";
    else if (text !== undefined) this.text = text;
    this.over = ["final", "error", "aborted"].includes(type);
    this.#waiting.push(event);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      if (this.#waiting.length) yield this.#waiting.shift();
      else if (this.over) return;
      else await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}
