// The JavaScript half of src/protocol/json_rpc.rs: what is read from a frame in the page.

// What we say of a message ourselves: nothing in it can pass for one of these.
class Mark {
  constructor(type, count) {
    this.type = type;
    this.count = count;
  }
}
const GARBLED = new Mark("rpc.garbled");

// Whatever is no notification and no answer is treated as a call, and refused as one if it is none.
function type(frame) {
  if (frame instanceof Mark) return frame.type;
  const { jsonrpc, method, id, params, result, error } = frame ?? {};
  if (method === undefined && (result !== undefined || error !== undefined)) {
    if (error === undefined && typeof id === "number") return "rpc.result";
    return error !== undefined && (id ?? null) === null ? "rpc.error" : "rpc.answer";
  }
  const silent = typeof method === "string" && id === undefined && jsonrpc === "2.0" && (params === undefined || typeof params === "object");
  return silent && !method.startsWith("rpc.") ? method : "rpc.call";
}

export const dialect = {
  name: "json-rpc",
  wildcard: "rpc-",
  own: ["error"],
  parse(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return [GARBLED];
    }
    if (!Array.isArray(message) || message.length === 0) return [message];
    const calls = message.filter((frame) => type(frame) === "rpc.call").length;
    return calls ? [new Mark("rpc.batch", calls), ...message] : message;
  },
  type,
  // A result has no topic: its number says whose it is.
  order: (frame) => (frame?.result !== undefined && typeof frame.id === "number" ? frame.id : NaN),
  result: (frame) => frame.result,
  error: ({ error }) => ({ message: error?.message ?? "an answer without a result or an error", cause: error }),
  called: ({ method, params }) => ({ method, params }),
};
