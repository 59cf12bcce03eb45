/**
 * The Nexus world: typed frames and no runs. This gateway's crew answers whoever asks, in frames of its own, which the page
 * routes; what a resumed session missed of an answer, the gateway says first.
 */
import { Turn } from "./agents-turn.js";

const FRAMES = ["answer-begun", "answer-text", "answer-note", "answer-so-far", "answer-end"];

export default {
  id: "nexus",
  name: "Nexus world",
  says: "Typed frames and a token: the session outlives the socket, and the page routes frames of its own.",
  load: () => import("/pkg/index.js"),
  tries: ["a few words", "a long answer", "think, use a tool", "slow and long", "fail"],

  open({ Moorline, options, gateway, talk }) {
    const line = new Moorline(gateway.socket("api/world/ws"), {
      ...options,
      routes: Object.fromEntries(FRAMES.map((type) => [type, type])),
      session: { storage: "session", key: "moorline-agents-nexus" },
    });
    const turns = new Map();
    const tell = (deed) => (frame) => {
      const turn = turns.get(frame.id);
      if (turn) turn.put(deed(frame));
      if (turn?.over) turns.delete(frame.id);
    };
    line.on("answer-begun", tell(() => ({ type: "started" })));
    line.on("answer-text", tell(({ text }) => ({ type: "delta", text })));
    line.on("answer-note", tell((frame) => ({ type: "note", frame })));
    line.on("answer-so-far", tell(({ text }) => ({ type: "resumed", text, says: "the crew repeats all of it" })));
    line.on("answer-end", tell(ended));
    line.on("session-init", ({ clientId }) => talk.known(clientId));
    line.addEventListener("ws-connected", ({ detail }) => {
      talk.known(line.session?.clientId);
      if (detail.recovered) return;
      // Whoever comes without a session is somebody else, and gets nothing of what the other asked.
      for (const [id, turn] of turns) if (turn.sent()) fail(id, turn);
    });
    const fail = (id, turn) => {
      turns.delete(id);
      turn.put({ type: "gap", reason: "the session is gone, and the answer with it" });
      turn.put({ type: "error", error: Object.assign(new Error("the gateway does not know who asked"), { retryable: true }) });
    };
    return {
      line,
      aside,
      say(text) {
        const id = crypto.randomUUID?.() ?? String(Math.random());
        const receipt = line.send({ type: "ask", id, text });
        const turn = new Turn(() => line.send({ type: "ask-stop", id }));
        turn.sent = () => receipt.status !== "queued";
        turns.set(id, turn);
        receipt.sent.catch((error) => turns.delete(id) && turn.put({ type: "error", error: Object.assign(error, { retryable: true }) }));
        return turn;
      },
    };
  },
  harms: {
    restart: { steps: [["down", { ms: 1200, code: 1001 }]], says: "It goes down for a moment. Its sessions are stored, and outlive that." },
    tear: { steps: [["expire"], ["faults", { reset: true }]], says: "Every token becomes invalid, and the line is cut." },
  },
};

function ended({ text, outcome, error }) {
  if (outcome === "stopped") return { type: "aborted", text };
  return outcome === "failed" ? { type: "error", error: new Error(error) } : { type: "final", text, frame: true };
}

function aside({ kind, text, code, failed }) {
  return { text, code, kind: failed ? "bad" : kind };
}
