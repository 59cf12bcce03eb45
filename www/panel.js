/**
 * How the line is, in words and figures: the banner, the connection panel and the log of what happened. It reads the
 * line and presses its two buttons, and decides nothing.
 */
const TICK_MS = 250;

/** Why a connection or the line ended, in words. */
export const CAUSES = {
  "attempts-exhausted": "too many failures",
  closed: "the gateway closed it",
  "close-code": "the gateway's close code forbids another try",
  "handshake-timeout": "the gateway did not answer in time",
  heartbeat: "no sign of life",
  lifecycle: "the browser put the page away",
  offline: "this device is offline",
  overloaded: "the gateway is overloaded",
  "pairing-required": "somebody has to let this device in",
  "protocol-unsupported": "the gateway speaks another protocol",
  refused: "the gateway refuses us",
  "server-restart": "the gateway is restarting",
  transport: "the connection broke",
  unauthorized: "the gateway does not let us in",
  "url-provider": "no address to dial",
};

export class Panel {
  #line;
  #parts = {};
  #next = null;
  #ended = null;
  #client = null;
  #everUp = false;
  #shown = "";
  #onTick;

  constructor(line, onTick) {
    this.#line = line;
    this.#onTick = onTick;
    for (const part of document.querySelectorAll("[data-part]")) this.#parts[part.dataset.part] = part;
    const { panel, toggle, hurry, why } = this.#parts;
    panel.open = matchMedia("(min-width: 1024px)").matches;
    toggle.addEventListener("click", () => this.#toggle());
    hurry.addEventListener("click", () => this.connect());
    why.addEventListener("toggle", () => this.#tell());
    line.addEventListener("ws-connected", () => {
      [this.#next, this.#ended, this.#everUp] = [null, null, true];
      this.tick();
    });
    line.addEventListener("ws-reconnecting", ({ detail }) => {
      this.#next = detail;
      this.tick();
    });
    line.addEventListener("ws-disconnected", ({ detail }) => {
      [this.#next, this.#ended] = [null, detail];
      this.tick();
    });
    line.addEventListener("ws-failed", ({ detail }) => {
      this.#ended = { ...detail, failed: true };
      this.tick();
    });
    setInterval(() => document.hidden || this.tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.tick());
    this.tick();
  }

  /** The id that the gateway knows us by. */
  set client(id) {
    this.#client = id;
    this.tick();
  }

  /** The line cannot work at all: said until the page is loaded again. */
  broken(error) {
    this.#ended = { failed: true, message: error.message };
    this.tick();
  }

  tick() {
    const stats = this.#line.stats();
    const { state } = stats;
    const { stateName, attempt, countdown, queue, rtt, client, toggle } = this.#parts;
    document.documentElement.dataset.state = state;
    write(stateName, state);
    write(attempt, this.#next && state === "reconnecting" ? `${this.#next.attempt}${this.#next.maxAttempts < Infinity ? ` of ${this.#next.maxAttempts}` : ""}` : "—");
    write(countdown, state === "reconnecting" ? (this.#seconds() > 0 ? `in ${this.#seconds()} s` : "now") : "—");
    write(queue, queueText(stats));
    write(rtt, state === "connected" && stats.rttMs !== undefined ? `${stats.rttMs < 10 ? stats.rttMs.toFixed(1) : Math.round(stats.rttMs)} ms` : "—");
    write(client, this.#client ? short(this.#client) : "—");
    client.title = this.#client ?? "";
    write(toggle, state === "idle" || state === "closed" ? "Connect" : "Disconnect");
    this.#showBanner(state, stats);
    this.#tell();
    this.#onTick(state);
  }

  /** Begins, or tries at once instead of waiting. */
  connect() {
    if (this.#next) this.#next = { ...this.#next, retryAt: 0 };
    try {
      this.#line.connect();
    } catch (error) {
      this.broken(error);
    }
    this.tick();
  }

  #toggle() {
    const { state } = this.#line;
    if (state === "idle" || state === "closed") this.connect();
    else this.#line.disconnect();
    this.tick();
  }

  #seconds() {
    return this.#next ? Math.max(0, Math.ceil((this.#next.retryAt - Date.now()) / 1000)) : 0;
  }

  #showBanner(state, { queueMessages }) {
    const { banner, news, detail, kept, hurry, announcer } = this.#parts;
    const [head, rest, button] = this.#words(state);
    banner.hidden = !head;
    banner.dataset.state = state;
    write(news, head);
    write(detail, rest);
    write(kept, head && queueMessages ? `${plural(queueMessages, "message")} kept until ${state === "closed" ? "you connect" : "then"}` : "");
    hurry.hidden = !button;
    write(hurry, button);
    // A reader hears that something changed, and not every second of the countdown.
    const heard = head ? `${head}. ${this.#next ? `Attempt ${this.#next.attempt} follows.` : rest}` : this.#everUp ? "Connected." : "";
    if (heard !== this.#shown) write(announcer, (this.#shown = heard));
  }

  #words(state) {
    const ended = this.#ended;
    if (state === "connected") return ["", "", ""];
    if (state === "closed" && ended?.failed) {
      const why = ended.message ?? `${CAUSES[ended.cause] ?? ended.cause}${ended.code ? ` (${ended.code})` : ""}`;
      // What cannot work in this page is not offered again.
      return ["Line closed", ` — ${why}`, ended.message ? "" : "Connect"];
    }
    if (state === "closed") return ["Cast off", " — you disconnected", "Connect"];
    if (state === "reconnecting") {
      const lead = this.#everUp ? "Line lost" : "No line yet";
      const attempt = this.#next ? ` (attempt ${this.#next.attempt})` : "";
      const seconds = this.#seconds();
      return seconds > 0 ? [lead, ` — trying again in ${seconds} s${attempt}`, "Try now"] : [lead, ` — trying now${attempt}`, ""];
    }
    return ["Making fast", " — connecting to the gateway", ""];
  }

  #tell() {
    const { why, story } = this.#parts;
    if (!why.open) return;
    const lines = this.#line.explain();
    if (story.childElementCount === lines.length && story.lastElementChild?.textContent === lines.at(-1)) return;
    const atEnd = story.scrollHeight - story.scrollTop - story.clientHeight < 30;
    story.replaceChildren(
      ...lines.map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }),
    );
    if (atEnd) story.scrollTop = story.scrollHeight;
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function queueText({ queueMessages, queueBytes, oldestWaitsMs }) {
  if (!queueMessages) return "empty";
  const age = oldestWaitsMs >= 1000 ? ` · oldest ${Math.round(oldestWaitsMs / 1000)} s` : "";
  return `${plural(queueMessages, "message")} · ${queueBytes} B${age}`;
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const short = (id) => (id.length > 12 ? `${id.slice(0, 8)}…` : id);
