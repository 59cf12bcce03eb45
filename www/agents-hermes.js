/** Hermes: an answer is a run of the package's, although the server's turns have no names; its questions wait for ours. */
const TOKEN = "moorline-hermes";

export default {
  id: "hermes",
  name: "Hermes",
  says: "JSON-RPC 2.0 and two session ids: after a loss the turn is taken up from what the server holds of it.",
  load: () => import("/pkg/hermes.js"),
  dialects: { 0.19: "&version=0.19", "0.20": "&version=0.20", 0.17: "&version=0.17" },
  tries: ["a few words", "a long answer", "think, use a tool", "approve it first", "slow and long", "fail"],

  open({ Moorline, options, gateway, talk, dialect }) {
    const session = { storage: "session", key: "moorline-agents-hermes" };
    const line = new Moorline(gateway.socket(`api/ws?token=${TOKEN}${dialect}`), { ...options, session });
    line.on("run-started", ({ run }) => talk.answer(run, { from: "begun by the server", aside }));
    line.on("hermes-session", ({ result }) => talk.known(result?.stored_session_id ?? result?.session_key));
    line.on("hermes-session-lost", () => talk.gap("the server has forgotten the session; this is a new one"));
    line.on("hermes-question", ({ kind, payload, signal, answer }) => {
      const secret = kind === "sudo" || kind === "secret";
      const [first] = payload.questions ?? [payload];
      const choices = kind === "approval" ? (payload.choices ?? ["once", "deny"]) : (first.choices ?? []);
      const text = payload.description ?? first.question ?? payload.prompt ?? `The agent asks for ${kind}.`;
      talk.question({ text, code: payload.command, choices, secret, signal, answer });
    });
    return {
      line,
      aside,
      say: (text) => line.run("prompt.submit", { text }),
    };
  },
  harms: {
    restart: { steps: [["hermes/restart", { downMs: 1200, kill: true }]] },
    tear: { steps: [["hermes/reap"], ["faults", { reset: true }]], says: "The server forgets the session that nobody watches, and the line is cut." },
  },
};

function aside({ params }) {
  const { type, payload = {} } = params ?? {};
  if (type === "tool.start") return { text: `uses ${payload.name}`, code: payload.args_text ?? payload.context };
  if (type === "tool.complete") return { text: `${payload.name} says`, code: payload.summary ?? payload.result_text ?? JSON.stringify(payload.result) };
  return undefined;
}
