/** The measurements as Markdown, and what they say about the targets. Nothing passes or fails here: times are no verdict. */
import { CLIENTS } from "./bundles.mjs";
import { least, median, most, ofLeast, paired } from "./figures.mjs";
import { SHAPES } from "./page/frames.mjs";
import { CASES } from "./page/protocols.mjs";

/** Differences below this are none. */
const NOISE = 1.03;
/** What a frame of a further protocol may cost, times its floor. */
const PROTOCOL_TARGET = 1.3;
const MB = 2 ** 20;
const PEERS = ["reconnecting", "partysocket"];

// A heap may have become smaller by next to nothing: `+ 0` makes zero of minus zero.
const number = (value, digits = 0) => (Number(value.toFixed(digits)) + 0).toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const spread = (values, digits) => `${number(least(values), digits)} / **${number(median(values), digits)}** / ${number(most(values), digits)}`;
const titles = (data) => Object.keys(CLIENTS).filter((name) => name in data);

function table(heads, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(heads), line(heads.map((_, at) => (at === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

export function machine({ date, cpu, cores, memoryGB, system, load, node, chromium, versions }, options) {
  const npm = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${date}: ${cpu}, ${cores} cores, ${memoryGB} GB, ${system}, load ${number(load, 1)} at the start; Node ${node}, ${chromium} headless; ${npm.join(", ")}.`,
    `${options.rounds} rounds after warm-up. Cells with three numbers are least / **median** / most.`,
  ].join("\n");
}

export function inbound(found) {
  const shapes = Object.keys(SHAPES);
  const part = (listeners, heading) => {
    const of = (shape, name) => found[shape][listeners][name];
    const rows = titles(found.chat[listeners]).map((name) => [
      CLIENTS[name].title,
      ...shapes.map((shape) => spread(of(shape, name))),
      shapes.map((shape) => number(ofLeast(of(shape, name), of(shape, "floor")), 2)).join(" "),
      shapes.map((shape) => number(paired(of(shape, name), of(shape, "floor")), 2)).join(" "),
    ]);
    const heads = ["ns per frame", ...shapes.map((shape) => SHAPES[shape].title), "× floor, of the least", "× floor, paired median"];
    return `${heading}\n\n${table(heads, rows)}`;
  };
  return [
    "## Inbound, in the page (a fake socket)",
    part("read", "A listener reads a field of `detail`:"),
    part("unheard", "Nobody listens:"),
  ].join("\n\n");
}

export function net(found) {
  const shapes = Object.keys(SHAPES);
  const rows = titles(found.chat.perSecond).map((name) => [
    CLIENTS[name].title,
    ...shapes.map((shape) => spread(found[shape].perSecond[name])),
    shapes.map((shape) => number(median(found[shape].cpu[name]), 1)).join(" "),
  ]);
  return [
    "## Inbound, over loopback",
    "The browser's own share is nearly all of it: what a client costs cannot be told from the noise here.",
    table(["frames/s", ...shapes.map((shape) => SHAPES[shape].title), "main thread, µs per frame (medians)"], rows),
  ].join("\n\n");
}

export function outbound(found) {
  const rows = titles(found.fake).map((name) => [
    CLIENTS[name].title,
    spread(found.fake[name]),
    number(ofLeast(found.fake[name], found.fake.floor), 2),
    number(paired(found.fake[name], found.fake.floor), 2),
    spread(found.call[name], 2),
    spread(found.perSecond[name]),
  ]);
  return [
    "## Outbound, `send()` of a 119 B message while open",
    table(["client", "fake socket, ns per call", "× floor, of the least", "× floor, paired median", "loopback, µs per call", "loopback, messages/s until all have arrived"], rows),
  ].join("\n\n");
}

export function flush(found) {
  const { messages } = found;
  const rows = titles(found.flush).map((name) => [
    CLIENTS[name].title,
    spread(found.fill[name]),
    spread(found.flush[name], 1),
    number(median(found.held[name]) / MB, 1),
    number(median(found.kept[name]) / MB, 1),
    number(most(found.wasm[name]) / MB, 1),
    spread(found.all[name]),
    spread(found.blocked[name]),
  ]);
  return [
    `## ${number(messages)} messages queued before the socket opens, then flushed`,
    table(
      [
        "client",
        "queued `send()`, ns",
        "flush to a fake socket, ms",
        "JS heap while queued, MB",
        "JS heap kept afterwards, MB",
        "wasm memory afterwards, MB",
        "loopback: all at the server, ms",
        "loopback: page blocked at longest, ms",
      ],
      rows,
    ),
  ].join("\n\n");
}

export function protocols(found) {
  const rows = Object.entries(found).map(([name, { ns, perSecond, cpu }]) => [
    CASES[name].title,
    spread(ns.floor),
    spread(ns.moorline),
    number(ofLeast(ns.moorline, ns.floor), 2),
    `**${number(paired(ns.moorline, ns.floor), 2)}**`,
    number(paired(ns.control, ns.floor), 2),
    `${number(median(perSecond.floor))} ${number(median(perSecond.moorline))}`,
    `${number(median(cpu.floor), 1)} ${number(median(cpu.moorline), 1)}`,
    number(paired(cpu.moorline, cpu.floor), 2),
  ]);
  return [
    "## Inbound, the further protocols",
    "Each against what one writes for it by hand: `JSON.parse`, a `Map` by identifier, run or id, a callback (for answers, a promise). Left in the page (a fake socket), right over loopback.",
    table(
      [
        "frame",
        "floor, ns",
        "moorline, ns",
        "× floor, of the least",
        "× floor, paired median",
        "floor × itself",
        "frames/s (floor, moorline)",
        "main thread, µs per frame (floor, moorline)",
        "× floor, main thread",
      ],
      rows,
    ),
  ].join("\n\n");
}

/** Plain sentences about the targets, of what was measured. */
export function verdict(results) {
  const sentences = [];
  if (results.inbound) {
    const of = (name) =>
      Object.entries(results.inbound).map(([shape, { read }]) => ({
        shape: SHAPES[shape].title,
        least: ofLeast(read[name], read.floor),
        paired: paired(read[name], read.floor),
      }));
    const list = (rows) => rows.map(({ shape, least, paired }) => `${shape} ${number(least, 2)} (paired ${number(paired, 2)})`).join(", ");
    const ours = of("moorline");
    const missed = ours.filter(({ least, paired }) => Math.min(least, paired) > NOISE);
    const control = of("control");
    const doubt = most(control.flatMap(({ least, paired }) => [Math.abs(least - 1), Math.abs(paired - 1)]));
    sentences.push(
      missed.length === 0
        ? `Inbound, with a listener that reads \`detail\`, moorline keeps to its target of 1.00 × the floor within 3 % of noise: ${list(ours)}.`
        : `Inbound, with a listener that reads \`detail\`, moorline misses its target of 1.00 × the floor (3 % noise) for ${list(missed)}.`,
      `The floor compared with itself was off by up to ${number(doubt * 100, 1)} % in this run.`,
    );
    const slower = Object.entries(results.inbound).filter(([, { read }]) => {
      const best = least(PEERS.map((name) => least(read[name])));
      return least(read.moorline) > best * NOISE;
    });
    sentences.push(
      slower.length === 0
        ? "No peer was faster."
        : `A peer was faster for ${slower.map(([shape]) => SHAPES[shape].title).join(", ")}.`,
    );
  }
  if (results.protocols) {
    const rows = Object.entries(results.protocols).map(([name, { ns, cpu }]) => ({
      title: CASES[name].title,
      ratio: Math.min(ofLeast(ns.moorline, ns.floor), paired(ns.moorline, ns.floor)),
      cpu: paired(cpu.moorline, cpu.floor),
    }));
    const list = (rows) => rows.map(({ title, ratio, cpu }) => `${title} ${number(ratio, 2)} (over loopback ${number(cpu, 2)})`).join("; ");
    const missed = rows.filter(({ ratio }) => ratio > PROTOCOL_TARGET);
    sentences.push(
      missed.length === 0
        ? `Every further protocol keeps to ${PROTOCOL_TARGET} × its floor: ${list(rows)}.`
        : `Of the further protocols, above ${PROTOCOL_TARGET} × their floor are ${list(missed)}.`,
    );
  }
  if (results.flush) {
    const { messages, flush, wasm } = results.flush;
    const ratio = least(flush.moorline) / least(PEERS.map((name) => least(flush[name])));
    const medians = median(flush.moorline) / least(PEERS.map((name) => median(flush[name])));
    sentences.push(
      `The flush of ${number(messages)} messages took ${number(ratio, 2)} × the fastest peer's time (medians ${number(medians, 2)} ×), where at most 2 × is the target${Math.min(ratio, medians) <= 2 ? ", which is kept" : ": it is missed"}; wasm memory stood at ${number(most(wasm.moorline) / MB, 1)} MB afterwards.`,
    );
  }
  return sentences.join(" ");
}
