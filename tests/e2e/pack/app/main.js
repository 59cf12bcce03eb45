// A page of somebody who installed the package: what it hears is written where a test can read it.
import { Moorline } from "moorline";

const line = new Moorline(new URLSearchParams(location.search).get("ws"));
const note = (name, value) => document.documentElement.setAttribute(`data-${name}`, value);
addEventListener("session-init", ({ detail }) => note("client", detail.clientId));
addEventListener("chat-message", ({ detail }) => note("echo", detail.text));
addEventListener("ws-error", ({ detail }) => note("error", `${detail.code}: ${detail.message}`));
line.connect();
line.send({ type: "chat", text: "out of the box" });
