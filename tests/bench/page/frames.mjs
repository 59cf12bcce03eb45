/**
 * The frames that are measured, and the table that every client routes them by. Pages and the server share them; how
 * they travel is not decided here.
 */

/** Frame type → event name, the same for everybody. */
export const ROUTES = [
  ["session-init", "session-init"],
  ["chat", "chat-message"],
  ["chat-message", "chat-message"],
  ["status-update", "status-update"],
  ["pr-notification", "pr-notification"],
  ["player-joined", "player-joined"],
  ["player-left", "player-left"],
  ["player-moved", "player-moved"],
];

/** What a gateway says first. */
export const GREETING = JSON.stringify({ type: "session-init", token: "bench-token", clientId: "bench-client" });

/** The same numbers in every run. */
export function dice(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 4294967296) * below);
  };
}

const WORDS = "anchor beacon cable drift ebb ferry gale harbour inlet jetty keel lantern mooring north oar pier quay".split(" ");

export const words = (pick, length) => {
  let text = "";
  while (text.length < length) text += `${WORDS[pick(WORDS.length)]} `;
  return text.slice(0, length);
};

const name = (pick, letter, digits) => letter + String(pick(10 ** digits)).padStart(digits, "0");

/** Fills `frame[key]` so that the text has so many bytes. */
function padded(pick, frame, key, bytes) {
  const missing = bytes - JSON.stringify({ ...frame, [key]: "" }).length;
  return { ...frame, [key]: words(pick, missing).replace(/ $/, ".") };
}

const chat = (pick, type) =>
  padded(pick, { type, sender: words(pick, 6).trim(), senderId: name(pick, "c", 8), at: 1_790_000_000_000 + pick(9_999) }, "text", 119);

function playerMoved(pick) {
  const fixed = (least) => least + pick(900_000) / 1000;
  return padded(pick, { type: "player-moved", x: fixed(1), z: -fixed(1), ry: pick(6283) / 1000 }, "id", 85);
}

const task = (pick) => ({
  id: name(pick, "t", 6),
  title: words(pick, 24).trim(),
  progress: pick(1000) / 1000,
  done: pick(2) === 1,
  labels: [WORDS[pick(17)], WORDS[pick(17)]],
});

const status = (pick, tasks, bytes) =>
  padded(
    pick,
    {
      type: "status-update",
      agent: { id: name(pick, "a", 6), name: words(pick, 8).trim(), position: { x: pick(9999) / 100, z: -pick(9999) / 100 } },
      status: WORDS[pick(17)],
      tasks: Array.from({ length: tasks }, () => task(pick)),
    },
    "note",
    bytes,
  );

/** What a shape is called, how big its frames are, what they become, and which field a listener reads. */
export const SHAPES = {
  chat: { title: "chat, 119 B", event: "chat-message", field: "text", variants: 1024, make: (pick) => chat(pick, "chat-message") },
  player: { title: "player-moved, 85 B", event: "player-moved", field: "id", variants: 1024, make: playerMoved },
  status: { title: "nested status, 390 B", event: "status-update", field: "note", variants: 1024, make: (pick) => status(pick, 1, 390) },
  large: { title: "status, 16 KB", event: "status-update", field: "note", variants: 64, make: (pick) => status(pick, 120, 16_384) },
};

/** All texts of a shape, each another. */
export function texts(shape) {
  const pick = dice(shape.length * 7919);
  const { variants, make } = SHAPES[shape];
  return Array.from({ length: variants }, () => JSON.stringify(make(pick)));
}

/** A fresh object for a message to the gateway; 119 bytes as text. */
export function outbound() {
  const pick = dice(119);
  const sample = Array.from({ length: 64 }, () => chat(pick, "chat"));
  let at = 0;
  return () => {
    const { type, sender, senderId, at: time, text } = sample[at++ & 63];
    return { type, sender, senderId, at: time, text };
  };
}
