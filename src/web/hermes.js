// The JavaScript half of src/protocol/hermes.rs: what is read from a frame in the page.

// Text that is no JSON: nothing that a server sends can pass for it.
const GARBLED = Symbol();

// An answer that brings events or questions: they come first, as if they had come by themselves.
function unpack(frame) {
  if (frame?.method !== undefined) return [frame];
  const { events, truncated, open_requests: asked } = frame?.result ?? {};
  if (!Array.isArray(events) && !Array.isArray(asked)) return [frame];
  const missed = truncated === false && Array.isArray(events) ? events : [];
  return [...missed.map((params) => ({ method: "event", params, replayed: true })), ...(Array.isArray(asked) ? asked : []), frame];
}

function line(text) {
  try {
    return unpack(JSON.parse(text));
  } catch {
    return [GARBLED];
  }
}

const said = (frame) => {
  const text = frame.params?.payload?.text;
  return typeof text === "string" ? text : undefined;
};

export const dialect = {
  name: "hermes",
  sessionKey: "moorline-hermes",
  wildcard: "hermes-",
  own: ["session", "session-lost", "question"],
  parse(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return text.split("\n").filter((one) => one.trim()).flatMap(line);
    }
    return unpack(frame);
  },
  type(frame) {
    if (frame === GARBLED) return "rpc.garbled";
    const { method, id = null, error, result } = frame ?? {};
    if (method === "event" && id === null) {
      const type = frame.params?.type;
      // Types of ours, which no server has.
      return typeof type === "string" && type.startsWith("rpc.") ? undefined : type;
    }
    if (method !== undefined) return id === null ? undefined : "rpc.call";
    if (error !== undefined && id === null) return "rpc.error";
    return error !== undefined || result !== undefined ? "rpc.answer" : undefined;
  },
  // Whether anybody is there: the one thing that may be asked without being let in.
  async ask(_what, _text, { url }) {
    const { ok } = await fetch(new URL("status", url.replace(/^ws/, "http")), { cache: "no-store", credentials: "omit" });
    return ok ? ["alive"] : [];
  },
  topic: (frame) => frame.params?.session_id,
  order: (frame) => (typeof frame.params?.seq === "number" ? frame.params.seq : NaN),
  result: (frame) => frame.result,
  error: ({ error, params }, retryable) => ({
    message: error?.message ?? params?.payload?.message ?? params?.payload?.text ?? "",
    cause: error ?? params?.payload,
    retryable: retryable === 1,
  }),
  // A question may be an event or a call.
  called: ({ method, params }) =>
    method === "event" ? { method: params.type.replace(".request", ""), params: params.payload } : { method, params },
  // Between two segments of an answer stand two line breaks, which a first segment does not need.
  delta(frame, before) {
    const text = said(frame) ?? "";
    const appended = before ? text : text.replace(/^\n+/, "");
    return { text: before + appended, appended };
  },
  // What ends a segment of the text; an interim text may be one that did not stream.
  note(frame, before) {
    const { type, payload } = frame.params ?? {};
    if (type === "tool.start") return { text: before, appended: "" };
    if (type !== "message.interim") return undefined;
    const appended = payload?.already_streamed ? "" : (before && "\n\n") + (said(frame) ?? "");
    return { text: before + appended, appended };
  },
  // The end says the last segment only, and is the authority for that one. A transcript has the rows behind the prompt.
  whole(frame, row, before, from) {
    const { inflight, messages } = frame?.result ?? {};
    if (row && Array.isArray(messages)) {
      const end = messages.findIndex(({ role }, at) => at >= row && role === "user");
      const rows = messages.slice(row, end < 0 ? undefined : end).filter(({ role }) => role === "assistant");
      return rows.map(({ text }) => text).join("\n\n");
    }
    if (inflight) return `${inflight.assistant ?? ""}`.replace(/^\n+/, "");
    const text = frame && said(frame);
    if (text === undefined) return undefined;
    const tail = before.slice(from);
    // An interrupted turn of 0.17 says that it was interrupted, and not what there was of it.
    if (frame.params.payload.status === "interrupted" && !text.trim().startsWith(tail.trim())) return before;
    const lead = tail.length - tail.trimStart().length;
    if (tail.trim() === text.trim()) return before.slice(0, from + lead) + text.trimStart();
    if (before.trimEnd().endsWith(text.trim())) return before.trimEnd();
    const head = before.slice(0, from).trimEnd();
    return head ? `${head}\n\n${text}` : text;
  },
};
