/**
 * `<moor-line url="…">`: a line for pages without a script of their own. Attributes are the options in kebab-case
 * (`reconnect-max-delay-ms="5000"`), `target` is `window` or a selector, and the attribute `state` can be styled.
 */
import { Moorline } from "./inline.js";
import type { Options } from "./types.js";

const GROUPS = ["reconnect", "heartbeat", "queue", "session", "nexus"];
/** Attributes that any element may have. */
const OWN = "url target state id class style slot hidden title lang dir role part tabindex nonce translate".split(" ");

// On a server there are no elements, and importing this must do no harm.
const Base = globalThis.HTMLElement ?? class {};

export class MoorLineElement extends Base {
  /** The line, while the element is in a document. */
  line: Moorline | undefined;

  connectedCallback(): void {
    if (this.line) return;
    const options: Options = {};
    const target = this.getAttribute("target");
    if (target && target !== "window") options.target = document.querySelector(target) ?? this;
    for (const { name, value } of this.attributes) if (!/^(data-|aria-|on)/.test(name) && !OWN.includes(name))
      put(options as Record<string, unknown>, name, value);
    this.line = new Moorline(this.getAttribute("url") ?? "/api/world/ws", options);
    for (const type of ["ws-connected", "ws-disconnected", "ws-reconnecting", "ws-failed", "ws-error"] as const)
      this.line.addEventListener(type, () => this.#show());
    this.line.connect();
    this.setAttribute("state", "connecting");
  }

  disconnectedCallback(): void {
    // An element that is only moved comes back within the same task.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.line?.dispose();
      this.line = undefined;
      this.removeAttribute("state");
    });
  }

  #show(): void {
    if (this.line) this.setAttribute("state", this.line.state);
  }
}

function put(options: Record<string, unknown>, name: string, text: string): void {
  const group = GROUPS.find((known) => name.startsWith(`${known}-`));
  const key = (group ? name.slice(group.length + 1) : name).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  // A session's key may look like a number.
  const number = name !== "session-key" && text.trim() !== "" && !Number.isNaN(+text);
  const value = name === "queue-persist" ? text !== "false" : number ? +text : text;
  if (group) options[group] = { ...(options[group] as object), [key]: value };
  else options[key] = value;
}

globalThis.customElements?.get("moor-line") ?? globalThis.customElements?.define("moor-line", MoorLineElement);
