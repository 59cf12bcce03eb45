// A page that speaks one of the further protocols, the one that its URL names: what Rust says of the line is written where a
// test can read it.
const entries = {
  "action-cable": () => import("moorline/action-cable"),
  openclaw: () => import("moorline/openclaw"),
  "json-rpc": () => import("moorline/json-rpc"),
  hermes: () => import("moorline/hermes"),
  observation: () => import("moorline/observation"),
};
const query = new URLSearchParams(location.search);
const note = (name, value) => document.documentElement.setAttribute(`data-${name}`, value);

entries[query.get("entry")]().then(({ Moorline }) => {
  const line = new Moorline(query.get("ws"), { target: null });
  line.on("ws-error", ({ code, message }) => note("error", `${code}: ${message}`));
  line.connect();
  // A line that observes dials once it knows what.
  line.observe?.();
  setInterval(() => note("explained", line.explain().join("; ")), 20);
});
