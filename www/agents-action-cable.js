/** Action Cable: an answer is what a channel broadcasts. Which of it is a run's, and what was missed, is the channel's to say. */
import { Turn } from "./agents-turn.js";

/** How long the channel may take to speak of a question that a dead socket had. */
const PATIENCE_MS = 3000;

export default {
  id: "action-cable",
  name: "Action Cable",
  says: "Rails' channels: subscribe, perform, hear. Rails forgets what it sent meanwhile; AnyCable plays it again.",
  load: () => import("/pkg/action-cable.js"),
  dialects: { Rails: "", AnyCable: "anycable" },
  tries: ["a few words", "a long answer", "think, use a tool", "slow and long", "fail"],

  open({ Moorline, options, gateway, talk, dialect }) {
    const line = new Moorline(gateway.socket("cable"), { ...options, actionCable: { anycable: dialect === "anycable" } });
    // A session of the agent's for this page alone.
    const session_id = 1 + Math.floor(Math.random() * 2 ** 32);
    const channel = line.subscribe({ channel: "AgentChannel", session_id });
    talk.known(String(session_id));
    /** What was asked and has not begun, and what has: by the number of its run. */
    let asked = [];
    /** What the channel says before the package has said whether anything is missing. */
    let returning = null;
    const runs = new Map();

    const turnOf = (run) => {
      if (!runs.has(run) && asked.length) {
        runs.set(run, Object.assign(asked.shift(), { seq: 0 }));
        runs.get(run).put({ type: "started" });
      }
      return runs.get(run);
    };
    const hear = (message) => {
      const { type, run, seq, content } = message;
      const turn = run === undefined ? undefined : turnOf(run);
      if (!turn || turn.over) return;
      if (type === "agent_message") turn.put(ended(message));
      else if (type === "agent_delta" || type === "agent_partial") {
        // A piece is told again to who catches up.
        if (seq <= turn.seq && !(turn.torn && type === "agent_partial")) return;
        turn.seq = seq;
        if (type === "agent_delta") return turn.put({ type: "delta", text: content });
        turn.torn = false;
        turn.put({ type: "resumed", text: content, says: "the channel repeats all of it" });
      } else turn.put({ type: "note", frame: message });
    };
    const returned = () => {
      const heard = returning ?? [];
      returning = null;
      heard.forEach(hear);
    };
    channel.on("message", (message) => {
      if (returning) returning.push(message);
      else hear(message);
    });
    channel.on("away", () => {
      returning ??= [];
      for (const turn of asked) turn.doubtful = turn.sent;
    });
    channel.on("confirmed", ({ reconnected }) => reconnected || returned());
    // One of the two follows each return: by then everything that is told by itself of what was missed is here.
    channel.on("resumed", () => {
      returned();
      runs.forEach((turn) => turn.put({ type: "resumed", text: turn.text }));
      setTimeout(giveUp, PATIENCE_MS);
    });
    channel.on("gap", ({ reason }) => {
      talk.gap(reason);
      runs.forEach((turn) => (turn.torn = true));
      returned();
      // What nobody plays again, the channel can be asked for.
      channel.perform("catch_up").catch((error) => talk.fault(error.message));
      setTimeout(giveUp, PATIENCE_MS);
    });
    channel.on("rejected", (error) => talk.fault(error.message));
    const giveUp = () => {
      // Neither the history nor what goes on speaks of it: it went under with the socket.
      for (const turn of asked.filter((turn) => turn.doubtful)) turn.put({ type: "error", error: unknown() });
      asked = asked.filter((turn) => !turn.over);
    };
    return {
      line,
      aside,
      say(content) {
        const turn = new Turn(() => channel.perform("cancel").catch((error) => talk.fault(error.message)));
        asked.push(turn);
        channel.perform("speak", { content }).then(
          () => (turn.sent = true),
          (error) => {
            asked = asked.filter((other) => other !== turn);
            turn.put({ type: "error", error });
          },
        );
        return turn;
      },
    };
  },
  harms: {
    restart: { steps: [["cable/restart", { downMs: 1200 }]] },
    tear: { steps: [["cable/kill", { downMs: 600 }], ["cable/forget", { history: true, epoch: true }]], says: "The line is cut, and the server forgets its history meanwhile." },
  },
};

const unknown = () => Object.assign(new Error("a socket had it and died: it may have arrived or not"), { retryable: true });

function ended({ content, outcome, error }) {
  if (outcome === "cancelled") return { type: "aborted", text: content };
  if (outcome === "failed") return { type: "error", error: new Error(error) };
  return { type: "final", text: content, frame: true };
}

function aside({ type, content, name, arguments: given, is_error: isError }) {
  if (type === "agent_thinking") return { text: content, kind: "thought" };
  if (type === "tool_call") return { text: `uses ${name}`, code: JSON.stringify(given) };
  return type === "tool_result" ? { text: isError ? "it failed" : "it says", code: content, kind: isError ? "bad" : "tool" } : undefined;
}
