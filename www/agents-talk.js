/**
 * The conversation: what was said, answers as they grow, and in them, at its place, where the line was lost and how it
 * came back. What has to be shown comes from agents.js; here it is only made visible.
 */
import { CAUSES } from "./panel.js";

const LOG_LENGTH = 200;

const GAPS = {
  "no-history": "the server keeps nothing of what it sent meanwhile",
  "history-rejected": "the server's history does not reach back so far",
  "no-answer": "the server does not say what was missed",
  "not-found": "the server knows nothing of it any more",
  seq: "the server left events out",
  "cursor-expired": "what was stored behind our cursor is gone",
  "cursor-malformed": "the server does not understand our cursor",
  restarted: "the server counts anew",
  "slow-consumer": "this page read too slowly",
};

const gapText = (reason) => GAPS[reason] ?? reason;
const away = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

export class Talk {
  /** The page may want to know when nothing or something is being answered. */
  onChange = () => {};
  #log = document.querySelector("#log");
  #fault = document.querySelector("#fault");
  #open = new Set();
  #following = true;
  /** Marks of the loss that lasts, and when it began. */
  #loss = null;
  #panel = null;
  #id = null;

  constructor() {
    // What takes room from the log, such as the news that the line is lost, does not push the newest words out of sight.
    this.#log.addEventListener("scroll", () => (this.#following = this.#atEnd()));
    new ResizeObserver(() => this.#following && this.#toEnd()).observe(this.#log);
  }

  /** Where it stands which session one is known by. */
  set panel(panel) {
    this.#panel = panel;
    this.known(this.#id);
  }

  known(id) {
    if (typeof id !== "string") return;
    this.#id = id;
    if (this.#panel) this.#panel.client = id;
  }

  /** The answer that was begun last and goes on. */
  get latest() {
    return [...this.#open].at(-1)?.turn;
  }

  fault(text) {
    write(this.#fault, text);
  }

  /** What one said oneself; answers with what tells its fate. */
  mine(text) {
    const item = make("li", "mine");
    item.dataset.testid = "mine";
    const fate = make("small");
    item.append(make("span", "", text), fate);
    this.#put(item, true);
    return (state, words) => {
      item.dataset.fate = state;
      write(fate, words);
    };
  }

  note(text) {
    this.#put(make("li", "note", text));
  }

  /** Shows an answer until it ends. `aside` reads from a frame what else there is to tell. */
  async answer(turn, { from = "", aside = () => undefined, fate = () => {}, again } = {}) {
    const answer = new Answer(turn, from, again);
    this.#put(answer.item);
    this.#open.add(answer);
    this.onChange();
    // What is asked while the line is down waits, and that is no loss.
    if (this.#loss) answer.away(true);
    for await (const event of turn) {
      const atEnd = this.#atEnd();
      if (event.type === "started") fate("taken", "✓ taken");
      if (event.type === "error") fate("failed", "not answered");
      if (event.type === "final" || event.type === "aborted") fate("taken", "✓");
      answer.show(event, aside);
      if (atEnd) this.#toEnd();
    }
    this.#open.delete(answer);
    this.onChange();
  }

  lost({ cause, willReconnect }) {
    const text = !willReconnect && cause === "closed" ? "nobody tries again" : (CAUSES[cause] ?? cause);
    if (this.#loss) {
      // An attempt that failed is no loss; that none follows is news.
      if (!willReconnect) for (const mark of this.#loss.marks) mark.say("over", "line ended", text);
      return;
    }
    const marks = [...this.#open].map((answer) => answer.lost());
    if (!marks.length) marks.push(this.#mark());
    for (const mark of marks) mark.say("lost", willReconnect ? "line lost" : "line ended", text);
    this.#loss = { since: Date.now(), marks };
  }

  back({ recovered }) {
    if (!this.#loss) return;
    const { since, marks } = this.#loss;
    for (const mark of marks) mark.say("back", "", `back after ${away(since)}`);
    // Where nothing was under way, nothing more will be said.
    if (!this.#open.size) for (const mark of marks) mark.settle("resumed", "", recovered ? "the session is the one from before" : "nothing was under way");
    for (const answer of this.#open) answer.away(false);
    this.#loss = null;
  }

  /** Something is missing, and the package cannot say of which answer. */
  gap(reason) {
    const answers = [...this.#open];
    if (answers.length) for (const answer of answers) answer.show({ type: "gap", reason });
    else this.#mark().settle("gap", "gap", gapText(reason));
  }

  /** Asks the user, until there is an answer or nobody waits for one. */
  question({ text, code, choices, secret, signal, answer }) {
    const row = asideRow({ text, code, kind: "question" });
    row.dataset.testid = "question";
    const form = make("form");
    let given = false;
    const send = async (value) => {
      given = true;
      for (const control of form.elements) control.disabled = true;
      const word = await answer(value).then(
        () => (secret ? "answered" : `answered: ${value}`),
        (error) => error.message,
      );
      form.replaceWith(make("small", "", word));
    };
    for (const choice of choices) {
      const button = make("button", "", choice);
      button.type = "button";
      button.addEventListener("click", () => send(choice));
      form.append(button);
    }
    if (!choices.length) {
      const [input, button] = [make("input"), make("button", "", "Answer")];
      Object.assign(input, { type: secret ? "password" : "text", autocomplete: "off", required: true });
      input.setAttribute("aria-label", text);
      form.append(input, button);
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        send(input.value);
      });
    }
    signal.addEventListener("abort", () => !given && form.replaceWith(make("small", "", "nobody waits for an answer any more")));
    row.append(form);
    const answering = [...this.#open].at(-1);
    if (answering) answering.put(row);
    else this.#put(row);
    this.#toEnd();
  }

  /** A mark between two answers. Two that follow each other are one. */
  #mark() {
    const last = this.#log.lastElementChild;
    if (last?.mark && !last.mark.settled) return last.mark;
    const mark = new Mark("li");
    mark.element.mark = mark;
    this.#put(mark.element);
    return mark;
  }

  #atEnd() {
    const log = this.#log;
    return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  }

  #toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #put(item, always = false) {
    const stay = always || this.#atEnd();
    this.#log.append(item);
    while (this.#log.childElementCount > LOG_LENGTH) this.#log.firstElementChild.remove();
    if (stay) this.#toEnd();
  }
}

/** One answer: its text in parts, between which stands what happened at that place. */
class Answer {
  item = make("li", "theirs");
  #state = make("small");
  #said = make("div", "said");
  #text = "";
  /** `at`: how much of the text stands before it. */
  #cuts = [];
  #parts = [];
  #mark = null;
  #again;

  constructor(turn, from, again) {
    this.turn = turn;
    this.#again = again;
    this.item.dataset.testid = "answer";
    this.item.setAttribute("aria-busy", "true");
    const head = make("header");
    head.append(make("b", "", "Agent"), this.#state);
    this.item.append(head, this.#said);
    write(this.#state, from || "waiting for its turn");
    this.#paint();
  }

  /** The line is down: nothing comes, and nothing is known. */
  away(is) {
    this.item.dataset.away = is;
  }

  /** A mark at the place that the text has reached. */
  lost() {
    this.away(true);
    return (this.#mark = this.#mark?.settled === false ? this.#mark : this.#cut(new Mark("div")));
  }

  put(row) {
    this.#cut({ element: row });
  }

  show(event, aside) {
    switch (event.type) {
      case "started":
        write(this.#state, "answering");
        this.#mark?.settle("resumed", "resumed", "the server has the question");
        break;
      case "delta":
        write(this.#state, "answering");
        this.#grow(event.replace ? event.text : this.#text + event.text);
        break;
      case "note": {
        const told = aside?.(event.frame);
        if (told) this.#tell(told);
        break;
      }
      case "resumed":
        this.#grow(event.text);
        this.#verdict("resumed", event.says ?? "nothing is missing");
        break;
      case "restarted":
        this.#forget();
        this.#verdict("restarted", "the answer begins anew");
        break;
      case "gap":
        this.#mark ??= this.#cut(new Mark("div"));
        this.#mark.say("gap", "gap", gapText(event.reason));
        break;
      case "final":
        this.#grow(event.text);
        // An end that the package could only infer brings no text.
        if (this.#mark && !this.#mark.settled) {
          if (event.frame) this.#verdict("resumed", "its end brought the whole text");
          else this.#mark.settle("over", "over", "what is missing will not come");
        }
        this.#end("done", "");
        break;
      case "aborted":
        this.#grow(event.text ?? this.#text);
        this.#end("stopped", "stopped");
        break;
      case "error":
        this.#mark?.settle("over", "lost for good");
        this.#end("failed", "failed");
        this.#fail(event.error);
    }
  }

  /** Thoughts in a row are one. */
  #tell(told) {
    const last = this.#cuts.at(-1);
    const goesOn = told.kind === "thought" && last?.element.dataset.kind === "thought" && last.at === this.#text.length;
    if (goesOn) last.element.append(` ${told.text.trim()}`);
    else this.#cut({ element: asideRow(told) });
  }

  #verdict(kind, words) {
    if (!this.#mark) this.#mark = this.#cut(new Mark("div"));
    this.#mark.settle(kind, kind, words);
    this.#mark = null;
    this.away(false);
  }

  #end(end, state) {
    this.item.dataset.end = end;
    write(this.#state, state);
    this.item.removeAttribute("data-away");
    // What grew in silence is read out now.
    this.item.setAttribute("aria-busy", "false");
  }

  #fail({ message, retryable }) {
    const row = asideRow({ text: message, kind: "bad" });
    row.dataset.testid = "failure";
    if (retryable && this.#again) {
      const button = make("button", "", "Ask again");
      button.type = "button";
      button.addEventListener("click", () => {
        button.remove();
        this.#again();
      });
      row.append(" ", button);
    }
    this.#cut({ element: row });
  }

  #cut(thing) {
    this.#cuts.push({ at: this.#text.length, element: thing.element });
    this.#paint();
    return thing;
  }

  #forget() {
    for (const { element } of this.#cuts) if (!element.classList.contains("mark")) element.remove();
    this.#cuts = this.#cuts.filter(({ element }) => element.classList.contains("mark"));
    this.#grow("");
  }

  /** What stood where stays as far as the text is still the same. */
  #grow(text) {
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) {
      let same = 0;
      while (same < text.length && text[same] === this.#text[same]) same += 1;
      for (const cut of this.#cuts) cut.at = Math.min(cut.at, same);
    }
    this.#text = text;
    this.#paint();
  }

  #paint() {
    while (this.#parts.length <= this.#cuts.length) {
      const part = make("span", "text");
      this.#parts.push(part);
    }
    const row = this.#parts.slice(0, this.#cuts.length + 1).flatMap((part, n) => [part, ...(this.#cuts[n] ? [this.#cuts[n].element] : [])]);
    if (row.length !== this.#said.childElementCount) this.#said.replaceChildren(...row);
    // The space between two words ends a part, and begins none.
    const edges = [0, ...this.#cuts.map(({ at }) => at + /^\s*/.exec(this.#text.slice(at))[0].length), this.#text.length];
    for (let n = 0; n + 1 < edges.length; n += 1) writePart(this.#parts[n], this.#text.slice(edges[n], edges[n + 1]), n < this.#cuts.length);
  }
}

/** Where the line was lost, and in words what became of that. */
class Mark {
  settled = false;
  #words = make("span");

  constructor(tag) {
    this.element = make(tag, "mark");
    this.element.dataset.testid = "mark";
    this.element.append(this.#words);
  }

  say(kind, head, text) {
    if (kind !== "back") this.element.dataset.kind = kind;
    const word = make("i");
    word.dataset.word = kind;
    if (head) word.append(make("strong", "", head), text ? `: ${text}` : "");
    else word.append(text ?? "");
    this.#words.lastElementChild?.append(" ·");
    this.#words.append(...(this.#words.childElementCount ? [" ", word] : [word]));
  }

  /** The last word on it. */
  settle(kind, head, text) {
    if (this.settled) return;
    this.settled = true;
    this.say(kind, head, text);
  }
}

function asideRow({ text, code, kind = "tool" }) {
  const row = make("span", "aside", text);
  row.dataset.kind = kind;
  row.dataset.testid = "aside";
  if (code) row.append(" ", make("code", "", code));
  return row;
}

/** What stands between the last word and a row of its own is there, and takes no room. */
function writePart(part, text, ends) {
  if (part.textContent === text && part.dataset.ends === String(ends)) return;
  part.dataset.ends = ends;
  const words = ends ? text.trimEnd() : text;
  part.textContent = words;
  if (words === text) return;
  const space = make("span", "", text.slice(words.length));
  space.hidden = true;
  part.append(space);
}

function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
