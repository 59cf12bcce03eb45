// Two clients as the scenarios of moorline/testing see them: moorline, and a plain one as one writes it by hand.
import { Moorline } from "/pkg/index.js";

export function moorline() {
  const told = [];
  let hear;
  let line;
  return {
    connect(url, storage) {
      line = new Moorline(url, { target: null, session: { storage }, routes: { "scenario-frame": "scenario-frame" } });
      line.on("scenario-frame", (frame) => hear(frame));
      line.on("ws-gap", () => told.push("gap"));
      line.on("ws-resumed", () => told.push("resumed"));
      line.on("ws-error", ({ code }) => code === "storage.denied" && told.push("storage"));
      line.connect();
    },
    send: (frame) => line.send(frame),
    onFrame: (given) => (hear = given),
    told: () => told,
    close: () => line?.dispose(),
  };
}

// Comes back a second after each close, and keeps what is sent while it is away.
export function plain() {
  const waiting = [];
  let hear, socket, url, timer;
  const open = () => {
    socket = new WebSocket(url);
    socket.onopen = () => waiting.splice(0).forEach((text) => socket.send(text));
    socket.onmessage = ({ data }) => hear(JSON.parse(data));
    socket.onclose = () => (timer = setTimeout(open, 1000));
  };
  return {
    connect: (given) => ((url = given), open()),
    send: (frame) => (socket.readyState === 1 ? socket.send(JSON.stringify(frame)) : waiting.push(JSON.stringify(frame)), undefined),
    onFrame: (given) => (hear = given),
    close: () => (clearTimeout(timer), socket && ((socket.onclose = null), socket.close())),
  };
}
