// The JavaScript half of src/protocol/openclaw.rs: what is read from a frame in the page, and what only a page can do.

import { device, forget, keep, kept } from "./device.js";

// The text of a message: a string, or the text blocks among its parts.
const textOf = (message) => {
  const content = message?.content ?? message;
  if (typeof content === "string") return content;
  // Nearly always one, and there is one of these in each delta.
  if (content?.length === 1 && content[0]?.type === "text") return content[0].text || "";
  return Array.isArray(content) ? content.map((part) => (part?.type === "text" && part.text) || "").join("") : undefined;
};

const given = (text) => text || undefined;

export const dialect = {
  name: "openclaw",
  sessionKey: "moorline-openclaw",
  wildcard: "openclaw-",
  own: ["gap", "hello"],
  // Text that streams is told from the rest by its type, so that it finds its reader without a question.
  type(frame) {
    const kind = frame?.type;
    if (kind !== "event") return kind === "res" ? kind : undefined;
    const { event, payload } = frame;
    if (event === "chat" && payload?.state === "delta") return "chat:delta";
    return event === "agent" && payload?.stream !== "assistant" ? "agent:note" : event;
  },
  topic: (frame) => frame.payload?.runId,
  order: ({ seq }) => (typeof seq === "number" ? seq : NaN),
  result: (frame) => frame.payload,
  // The message is the truth; what comes without one replaces or is appended.
  delta({ payload }, before) {
    const { message, replace, deltaText } = payload;
    const text = textOf(message) ?? (replace ? deltaText : undefined);
    if (text === undefined) return { text: before + (deltaText ?? ""), appended: deltaText ?? "" };
    // V8 compares a slice thirty times faster than `startsWith` does, and the text is long.
    return { text, appended: text.slice(0, before.length) === before ? text.slice(before.length) : undefined };
  },
  // `place` is that of a row in a history, from 1.
  whole(frame, place) {
    const { message, replace, deltaText, messages, inFlightRun } = frame?.payload ?? {};
    if (place) return textOf(messages?.[place - 1]);
    return textOf(message) ?? inFlightRun?.text ?? (replace ? deltaText : undefined);
  },
  error(frame, place) {
    const payload = place ? frame.payload.messages[place - 1] : frame.payload;
    const cause = frame.error ?? payload;
    const message = cause?.message ?? cause?.errorMessage ?? cause?.summary ?? "the gateway says no more";
    return { message: String(message), retryable: frame.error?.retryable, cause };
  },
  async ask(what, text, { url, events }) {
    const gateway = url.replace(/[?#].*/, "");
    switch (what) {
      case "device": {
        const { id, publicKey } = await device();
        return [id, publicKey, given(await kept(gateway))];
      }
      case "sign":
        return [await (await device()).sign(text)];
      case "keep":
        await keep(gateway, text);
        break;
      case "forget":
        await forget(gateway);
        break;
      case "gap":
        events.dispatch("openclaw-gap", { missed: +text });
        break;
      default: {
        const scopes = text.split(",");
        const sentence = `the gateway did not grant ${scopes.join(", ")}: calls that need it will fail`;
        events.dispatch("ws-error", new events.ErrorType("auth.scopes", sentence, { cause: { missing: scopes } }));
      }
    }
    return [];
  },
};
