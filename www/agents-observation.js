/** yoi: what a worker does is observed behind a cursor, what it is told goes by HTTP. An answer lies between two of its events. */
import { Turn } from "./agents-turn.js";

const RUNTIME = "runtime-a";

export default {
  id: "observation",
  name: "yoi observation",
  says: "Events behind a cursor, commands by HTTP: after a loss the stream goes on behind the last event.",
  load: () => import("/pkg/observation.js"),
  tries: ["a few words", "a long answer", "think, use a tool", "slow and long", "fail"],

  async open({ Moorline, options, gateway, talk }) {
    const worker = await hire(gateway);
    // Commands and stream share one address, and HTTP goes to no other origin: so it is not the proxy's.
    const line = new Moorline(gateway.socket(`api/runtimes/${RUNTIME}/workers/${worker}/`, { direct: true }), options);
    talk.known(worker);
    /** What was asked, in order; the first is being answered. */
    const asked = [];
    let block = "";
    let closed = "";
    let replays = false;

    const end = (event) => {
      asked.shift()?.put(event);
      block = closed = "";
    };
    const deeds = {
      text_delta({ text }, turn) {
        block += text;
        turn?.put({ type: "delta", text });
      },
      text_done({ text }, turn) {
        // What the block says in the end is what it says.
        if (text !== block) turn?.put({ type: "delta", text: closed + text, replace: true });
        closed += text;
        block = "";
      },
      run_end: ({ result }, turn) => end(result === "finished" ? { type: "final", text: turn?.text, frame: true } : { type: "aborted", text: turn?.text }),
      error: ({ message }) => end({ type: "error", error: new Error(message) }),
      /** Of a stream that begins anew, the first snapshot is the truth. */
      snapshot({ entries, in_flight: flying, status }, turn) {
        if (!replays) return;
        replays = false;
        closed = textAfterPrompt(entries);
        block = (flying?.blocks ?? []).filter(({ kind }) => kind === "text").map(({ text }) => text).join("");
        if (closed + block) turn?.put({ type: "delta", text: closed + block });
        if (turn && status === "idle") end({ type: "final", text: turn.text, frame: true });
      },
    };
    const observation = line.observe();
    follow();

    async function follow() {
      try {
        for await (const { type, event, data, reason } of observation) {
          const turn = asked[0];
          if (type === "gap") talk.gap(reason);
          else if (type === "resumed") turn?.put({ type, text: turn.text });
          else if (type === "restarted") {
            replays = true;
            turn?.put({ type });
          } else if (type === "event" && (!replays || event === "snapshot")) {
            if (deeds[event]) deeds[event](data ?? {}, turn);
            else turn?.put({ type: "note", frame: { event, data } });
          }
        }
      } catch (error) {
        talk.fault(error.message);
      }
    }
    return {
      line,
      aside,
      say(content) {
        const turn = new Turn(() => line.cancel("the page wants it so").catch((error) => talk.fault(error.message)));
        asked.push(turn);
        line.input(content).then(
          () => turn.put({ type: "started" }),
          (error) => {
            asked.splice(asked.indexOf(turn) >>> 0, 1);
            turn.put({ type: "error", error });
          },
        );
        return turn;
      },
      harms: {
        drop: { steps: [["observation/drop", { worker }]] },
        freeze: "Not with this one: its commands and its stream share an address, which the fault proxy is not.",
        restart: { steps: [["observation/restart", { downMs: 1200 }]] },
        tear: { steps: [["observation/down", { downMs: 600 }], ["observation/expire", { worker, keep: 0 }]], says: "The line is cut, and the stored events expire meanwhile." },
      },
    };
  },
};

/** A worker of this page's own: two who observe one make the server store every event twice. */
async function hire(gateway) {
  const worker = `page-${Math.random().toString(36).slice(2, 10)}`;
  return gateway.obeys && (await gateway.control("observation/worker", { worker }).then(() => true, () => false)) ? worker : "worker-00000001";
}

function textAfterPrompt(entries = []) {
  const prompt = entries.findLastIndex(({ kind }) => kind === "user_message");
  return entries.slice(prompt + 1).filter(({ kind }) => kind === "text").map(({ text }) => text).join("");
}

function aside({ event, data }) {
  if (event === "thinking_done") return { text: data.text, kind: "thought" };
  if (event === "tool_call_done") return { text: `uses ${data.name}`, code: data.arguments };
  return event === "tool_result" ? { text: data.is_error ? "it failed" : "it says", code: data.output, kind: data.is_error ? "bad" : "tool" } : undefined;
}
