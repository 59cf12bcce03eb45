/** OpenClaw: an answer is a run of the package's, and its idempotency key finds it again. */
const ORIGINS = { inject: "put in by somebody else", queued: "from the queue", other: "begun elsewhere" };

export default {
  id: "openclaw",
  name: "OpenClaw",
  says: "A device that signs, and runs under idempotency keys: after a loss the key finds the run again.",
  load: () => import("/pkg/openclaw.js"),
  dialects: { "2026.9.6": "", "2026.9.7": "?version=2026.9.7", "protocol 3": "?protocol=3" },
  tries: ["a few words", "a long answer", "use a tool", "slow and long", "fail"],

  open({ Moorline, options, gateway, talk, dialect }) {
    const sessionKey = `page-${crypto.randomUUID?.() ?? Math.random()}`;
    const line = new Moorline(gateway.socket(`openclaw${dialect}`), { ...options, openclaw: { token: "moorline-openclaw", sessionKey } });
    line.on("run-started", ({ run, origin }) => talk.answer(run, { from: ORIGINS[origin], aside }));
    line.on("openclaw-hello", ({ payload }) => talk.known(payload?.server?.connId ?? payload?.connId));
    return {
      line,
      aside,
      say: (message) => line.run("chat.send", { sessionKey, message }),
    };
  },
  harms: {
    restart: { steps: [["openclaw/restart", { downMs: 1200, startingMs: 400 }]] },
    tear: { steps: [["openclaw/gap", { count: 3 }]], says: "The gateway leaves out three numbers: events are missing." },
  },
};

function aside({ event, payload }) {
  if (event !== "agent" || payload?.stream !== "tool") return undefined;
  const { phase, name, args, result, isError } = payload.data ?? {};
  if (phase === "start") return { text: `uses ${name}`, code: JSON.stringify(args) };
  return { text: isError ? `${name} failed` : `${name} says`, code: String(result), kind: isError ? "bad" : "tool" };
}
