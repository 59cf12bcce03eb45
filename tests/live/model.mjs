/**
 * A model that does as the prompt says: a loopback HTTP server with the answers of an OpenAI-compatible provider, for the
 * real gateways that ask one. What it answers stands in the last paragraph of what the user said, as words `name=value`:
 *
 *   count=12        the numbers 1 to 12, one a piece
 *   long=200000     a text of so many characters, in pieces of `chunk` (default 1000)
 *   pace=40         milliseconds between two pieces (default 15)
 *   wait=2000       milliseconds before the first
 *   think=5         so many pieces of reasoning before the text
 *   hold=3          stops behind so many pieces until somebody posts to /go
 *   fail=400        an HTTP error of that status
 *   cut=3           the connection breaks behind so many pieces
 *   empty=1         an answer without text
 *   tool=name:{…}   calls a tool first, once for each such word
 *
 * Without any of them it says what it was told. `GET /calls` lists the last 200 questions; `POST /go` lets go of what
 * is held, or of what will be within ten seconds.
 * Run by itself it takes `--port=` and prints {"ready": port}.
 */
import { createServer } from "node:http";
import { isMain, serveUntilSignal } from "./process.mjs";

const LARGEST_BODY = 32 * 1024 * 1024;
const KEPT_CALLS = 200;

/** What openclaw says to the model in the user's name, around the user's words and between them. */
const ASIDES = [
  /<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>.*?(<<<END_OPENCLAW_INTERNAL_CONTEXT>>>|$)/gs,
  /^\[[^\]\n]*\] (Conversation info:.*?\n```\n\n)?/s,
  /^Sender \(untrusted metadata\):\n```json\n.*?\n```\s*/s,
  /\n\nRuntime: agent=[^\n]*$/,
];

/** The words of one message of the user. Where it has several parts, the last with words in it counts. */
function wordsOf({ role, content }) {
  if (role !== "user") return "";
  const parts = typeof content === "string" ? [content] : (content ?? []).map((part) => part.text ?? "");
  const words = parts.map((part) => ASIDES.reduce((text, aside) => text.replace(aside, ""), part).trim());
  return words.findLast((text) => text !== "") ?? "";
}

/** The tool calls that a prompt asks for: JSON behind the name, up to the brace that closes it. */
function toolsOf(text) {
  const calls = [];
  for (const { 0: head, 1: name, index } of text.matchAll(/\btool=([\w.-]+):(?=\{)/g)) {
    const from = index + head.length;
    for (let end = text.indexOf("}", from); end >= 0; end = text.indexOf("}", end + 1)) {
      const json = text.slice(from, end + 1);
      try {
        JSON.parse(json);
      } catch {
        continue;
      }
      calls.push({ name, arguments: json });
      break;
    }
  }
  return calls;
}

/** What a conversation asks for. */
export function script(messages) {
  const said = messages.map(wordsOf);
  const last = said.findLastIndex((text) => text !== "");
  const text = said[last] ?? "";
  // Hermes joins a prompt without an answer to the next one, by an empty line.
  const words = text.slice(text.lastIndexOf("\n\n") + 1);
  const word = (name, otherwise = 0) => Number(new RegExp(`\\b${name}=(\\d{1,9})\\b`).exec(words)?.[1] ?? otherwise);
  const answered = messages.slice(last + 1).filter(({ role }) => role === "tool").length;
  const pieces = [];
  if (word("count") > 0) {
    for (let n = 1; n <= Math.min(word("count"), 100_000); n++) pieces.push(n === 1 ? "1" : ` ${n}`);
  } else if (word("long") > 0) {
    const length = Math.min(word("long"), 8_000_000);
    let whole = "";
    for (let n = 1; whole.length < length; n++) whole += `line ${n} of a long answer\n`;
    const chunk = Math.max(1, word("chunk", 1000));
    for (let at = 0; at < length; at += chunk) pieces.push(whole.slice(at, Math.min(at + chunk, length)));
  } else if (!word("empty")) {
    pieces.push(...`You said: ${text}`.split(/(?<=\s)(?=\S)/));
  }
  return {
    text,
    pieces,
    thoughts: Array.from({ length: Math.min(word("think"), 1000) }, (_, n) => `thought ${n + 1}. `),
    tool: toolsOf(words)[answered],
    pace: word("pace", 15),
    wait: word("wait"),
    hold: word("hold"),
    cut: word("cut"),
    fail: word("fail"),
  };
}

/** Starts the provider. `calls` is what it was asked, `go` lets go of the answers that hold. */
export async function startModel({ port = 0 } = {}) {
  const calls = [];
  const held = new Set();
  let onHeld = () => {};
  let asked = 0;

  /** Lets go of every answer that holds; if none does yet, of the first that will within ten seconds. */
  const go = async () => {
    if (held.size === 0) {
      await new Promise((resolve) => {
        onHeld = resolve;
        setTimeout(resolve, 10_000).unref();
      });
    }
    const released = [...held];
    held.clear();
    for (const release of released) release();
    return released.length;
  };

  async function answer(request, response, body) {
    const { messages = [], stream = false, stream_options: options, tools = [] } = body;
    const asks = script(messages);
    const call = { number: ++asked, stream, text: asks.text.slice(0, 2000), sent: 0, state: "open" };
    call.tools = tools.map((tool) => tool.function?.name ?? tool.name);
    calls.push(call);
    if (calls.length > KEPT_CALLS) calls.shift();
    const gone = new Promise((resolve) => response.once("close", resolve));
    response.once("close", () => {
      if (call.state === "open") call.state = "left";
    });
    const pause = (ms) =>
      ms > 0 && Promise.race([gone, new Promise((resolve) => setTimeout(resolve, Math.min(ms, 600_000)).unref())]);

    if (asks.fail) {
      call.state = `failed ${asks.fail}`;
      response.writeHead(Math.min(Math.max(asks.fail, 400), 599), { "content-type": "application/json" });
      const error = { message: `the prompt asked for ${asks.fail}`, type: "scripted_error", code: "scripted" };
      return response.end(JSON.stringify({ error }));
    }

    const head = { id: `chatcmpl-${call.number}`, created: Math.floor(Date.now() / 1000), model: body.model ?? "scripted" };
    const usage = { prompt_tokens: 10, completion_tokens: asks.pieces.length, total_tokens: 10 + asks.pieces.length };
    const toolCall = asks.tool && { id: `call_${call.number}`, type: "function", function: asks.tool };
    const reason = toolCall ? "tool_calls" : "stop";
    if (!stream) {
      // Gateways ask so for titles and summaries; those are not the conversation, and come at once.
      const message = { role: "assistant", content: toolCall ? null : "A scripted title", tool_calls: toolCall && [toolCall] };
      call.state = "done";
      response.writeHead(200, { "content-type": "application/json" });
      const choices = [{ index: 0, message, finish_reason: reason }];
      return response.end(JSON.stringify({ ...head, object: "chat.completion", choices, usage }));
    }

    const write = (fields) => response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...fields })}\n\n`);
    const delta = (fields) => write({ choices: [{ index: 0, delta: fields, finish_reason: null }] });
    await pause(asks.wait);
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    delta({ role: "assistant", content: "" });
    for (const thought of asks.thoughts) {
      delta({ reasoning_content: thought });
      await pause(asks.pace);
    }
    if (toolCall) delta({ tool_calls: [{ index: 0, ...toolCall }] });
    for (const piece of toolCall ? [] : asks.pieces) {
      if (response.destroyed) return;
      delta({ content: piece });
      call.sent++;
      if (asks.cut && call.sent >= asks.cut) {
        call.state = "cut";
        return response.destroy();
      }
      if (call.sent === asks.hold) {
        call.state = "held";
        let release;
        const released = new Promise((resolve) => held.add((release = resolve)));
        onHeld();
        await Promise.race([gone, released]);
        held.delete(release);
        if (call.state === "held") call.state = response.destroyed ? "left" : "open";
      }
      await pause(asks.pace);
    }
    if (response.destroyed) return;
    call.state = "done";
    write({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
    if (options?.include_usage) write({ choices: [], usage });
    response.end("data: [DONE]\n\n");
  }

  const server = createServer((request, response) => {
    const json = (value, status = 200) => {
      response.writeHead(status, { "content-type": "application/json", "access-control-allow-origin": "*" });
      response.end(JSON.stringify(value));
    };
    const { pathname } = new URL(request.url, "http://localhost");
    if (request.method === "GET" && pathname === "/calls") return json({ asked, calls });
    if (request.method === "POST" && pathname === "/go") {
      return void go().then((released) => json({ released }));
    }
    if (request.method === "GET" && pathname.endsWith("/models")) {
      return json({ object: "list", data: [{ id: "scripted", object: "model", created: 0, owned_by: "moorline" }] });
    }
    if (request.method !== "POST" || !pathname.endsWith("/chat/completions")) {
      return json({ error: { message: `nothing is at ${request.method} ${pathname}` } }, 404);
    }
    const parts = [];
    let size = 0;
    request.on("data", (part) => {
      size += part.length;
      if (size > LARGEST_BODY) return request.destroy();
      parts.push(part);
    });
    request.on("end", () => {
      let body;
      try {
        body = JSON.parse(Buffer.concat(parts).toString());
      } catch (error) {
        return json({ error: { message: `the body is not JSON: ${error.message}` } }, 400);
      }
      answer(request, response, body).catch((error) => response.destroy(error));
    });
    request.on("error", () => {});
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    calls,
    go,
    end: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

if (isMain(import.meta.url)) await serveUntilSignal((options) => startModel({ port: Number(options.port ?? 0) }));
