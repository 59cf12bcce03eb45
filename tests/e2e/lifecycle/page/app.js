// A page as one writes it: it has a line from the start, whose url and options stand in the query. Beside what the line says, it
// notes what the browser says of the page, and what nobody caught.
import "/rig/rig.js";

const { url, options } = JSON.parse(decodeURIComponent(location.search.slice(1)) || "{}");
for (const type of ["pagehide", "pageshow"]) addEventListener(type, ({ persisted }) => rig.note(type, { persisted }));
for (const type of ["online", "offline", "focus", "blur"]) addEventListener(type, () => rig.note(type));
for (const type of ["visibilitychange", "freeze", "resume"])
  document.addEventListener(type, () => rig.note(type, { visible: document.visibilityState }));
addEventListener("error", ({ message }) => rig.note("uncaught", message));
addEventListener("unhandledrejection", ({ reason }) => rig.note("uncaught", String(reason)));

// What tells this life of the page from another.
rig.born = Math.random();
rig.line(options, url);
