/**
 * The chat: its log, its input, and beside each line of one's own what became of it, as its receipt says. Lines of
 * others come from world.js.
 */
const LOG_LENGTH = 200;
const FATES = {
  queued: "waiting",
  sent: "sent",
  acked: "delivered",
  unknown: "may not have arrived",
  expired: "expired",
  evicted: "gave way",
  rejected: "not sent",
};
const FAILED = new Set(["unknown", "expired", "evicted", "rejected"]);

export class Chat {
  #log = document.querySelector("#chat-log");
  #input = document.querySelector("#chat-input");
  #fault = document.querySelector("#chat-fault");
  #send;
  #mine = [];

  /** `send(text)` returns the receipt, or throws. */
  constructor(send) {
    this.#send = send;
    document.querySelector("#chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#input.addEventListener("keydown", ({ key }) => key === "Escape" && this.#input.blur());
    addEventListener("keydown", (event) => {
      const free = event.target === document.body || event.target instanceof HTMLCanvasElement;
      if (event.key !== "Enter" || !free) return;
      event.preventDefault();
      this.#input.focus();
    });
  }

  /** What somebody else said. */
  said(name, color, text) {
    const { line } = this.#line(name, color, text);
    line.dataset.status = "received";
    this.#put(line);
  }

  /** That somebody came or went; what is returned may still be reworded. */
  note(text) {
    const line = document.createElement("li");
    line.className = "note";
    line.textContent = text;
    this.#put(line);
    return line;
  }

  /** Shows what the receipts say by now: what was sent may still turn out to be uncertain. */
  refresh() {
    for (const entry of this.#mine) {
      const { status } = entry.receipt;
      if (entry.line.dataset.status === status) continue;
      entry.line.dataset.status = status;
      entry.mark.textContent = FATES[status] ?? status;
      if (FAILED.has(status)) this.#offerAgain(entry);
    }
  }

  /** The name and colour under which one's own lines are shown. */
  as = () => ({ name: "You", color: "#fff" });

  #submit() {
    const text = this.#input.value.trim();
    if (text && this.#say(text)) this.#input.value = "";
  }

  #say(text) {
    let receipt;
    try {
      receipt = this.#send(text);
    } catch (error) {
      this.#fault.textContent = `Not taken: ${error.message}`;
      return false;
    }
    this.#fault.textContent = "";
    const { name, color } = this.as();
    const { line, mark } = this.#line(name, color, text);
    line.classList.add("mine");
    const entry = { text, line, mark, receipt };
    this.#mine.push(entry);
    if (this.#mine.length > LOG_LENGTH) this.#mine.shift();
    this.refresh();
    this.#put(line);
    // Either way the receipt has settled; refresh reads which.
    receipt.sent.then(
      () => this.refresh(),
      () => this.refresh(),
    );
    return true;
  }

  #line(name, color, text) {
    const line = document.createElement("li");
    line.className = "line";
    line.dataset.testid = "chat-line";
    const [who, what, mark] = ["b", "span", "em"].map((tag) => document.createElement(tag));
    who.textContent = name;
    who.style.color = color;
    what.textContent = text;
    what.className = "text";
    mark.className = "fate";
    line.append(who, " ", what, " ", mark);
    return { line, mark };
  }

  #offerAgain(entry) {
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "send again";
    again.addEventListener("click", () => this.#say(entry.text) && again.remove());
    entry.line.append(again);
  }

  #put(line) {
    const log = this.#log;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(line);
    while (log.childElementCount > LOG_LENGTH) log.firstElementChild.remove();
    if (atEnd || line.classList.contains("mine")) log.scrollTop = log.scrollHeight;
  }
}
