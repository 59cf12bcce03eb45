/**
 * Where one can stand: the decks as rectangles, what stands in the way as circles, and the way from one point to
 * another. Plain numbers; what the decks look like is harbour.js.
 */

/** Drawn decks, as [x0, z0, x1, z1]; y is 0 on all of them. */
export const DECKS = {
  square: [-9, -6, 9, 6],
  landward: [-2, 6, 2, 27],
  western: [-19, -1.6, -9, 1.6],
  westernFloat: [-26, -4.5, -19, 4.5],
  northern: [3.4, -17, 6.6, -6],
  northernFloat: [1, -23, 9, -17],
};

/** Posts, crates, a mast: [x, z, radius]. */
export const OBSTACLES = [
  [7.1, 4.2, 1.35],
  [-7.6, -4.7, 0.45],
  [7.6, -4.7, 0.45],
  [-23.6, 2.6, 0.9],
];

const EDGE = 0.45;
/** Walkways reach this far into the deck they join, so that the inset leaves no gap. */
const JOIN = 1.4;

const inset = ([x0, z0, x1, z1], [w, n, e, s] = [EDGE, EDGE, EDGE, EDGE]) => [x0 + w, z0 + n, x1 - e, z1 - s];
const AREAS = [
  inset(DECKS.square),
  inset(DECKS.landward, [EDGE, -JOIN, EDGE, EDGE]),
  inset(DECKS.western, [-JOIN, EDGE, -JOIN, EDGE]),
  inset(DECKS.westernFloat),
  inset(DECKS.northern, [EDGE, -JOIN, EDGE, -JOIN]),
  inset(DECKS.northernFloat),
];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const into = ([x0, z0, x1, z1], { x, z }) => ({ x: clamp(x, x0, x1), z: clamp(z, z0, z1) });
const inside = ([x0, z0, x1, z1], { x, z }) => x >= x0 && x <= x1 && z >= z0 && z <= z1;
const apart = (a, b) => Math.hypot(a.x - b.x, a.z - b.z);
const areaOf = (point) => AREAS.findIndex((area) => inside(area, point));

/** The point one can stand on that is nearest to `point`. */
export function nearest(point) {
  const open = clear(point);
  if (areaOf(open) >= 0) return open;
  const candidates = AREAS.map((area) => into(area, open));
  return candidates.reduce((best, next) => (apart(next, open) < apart(best, open) ? next : best));
}

/** One step from `from` by (dx, dz), sliding along edges and around what stands there. */
export function step(from, dx, dz) {
  const tries = [
    { x: from.x + dx, z: from.z + dz },
    { x: from.x + dx, z: from.z },
    { x: from.x, z: from.z + dz },
  ];
  for (const to of tries) {
    const open = clear(to);
    if (areaOf(open) >= 0) return open;
  }
  return { x: from.x, z: from.z };
}

/** Way points from `from` to the place nearest to `to`, over the decks between. */
export function path(from, to) {
  const goal = nearest(to);
  const first = areaOf(nearest(from));
  const last = areaOf(goal);
  const cameFrom = new Map([[first, -1]]);
  const open = [first];
  for (const here of open) {
    if (here === last) break;
    AREAS.forEach((_, next) => {
      if (!cameFrom.has(next) && overlap(AREAS[here], AREAS[next])) {
        cameFrom.set(next, here);
        open.push(next);
      }
    });
  }
  const points = [goal];
  for (let here = last; cameFrom.get(here) >= 0; here = cameFrom.get(here))
    points.unshift(overlap(AREAS[here], AREAS[cameFrom.get(here)]));
  return points;
}

/** Somewhere on the square, for who has just come. */
export function arrival() {
  return nearest({ x: (Math.random() - 0.5) * 9, z: Math.random() * 5 - 1.5 });
}

/** The middle of what two areas share, or `null`. */
function overlap(a, b) {
  const x0 = Math.max(a[0], b[0]);
  const z0 = Math.max(a[1], b[1]);
  const x1 = Math.min(a[2], b[2]);
  const z1 = Math.min(a[3], b[3]);
  return x0 <= x1 && z0 <= z1 ? { x: (x0 + x1) / 2, z: (z0 + z1) / 2 } : null;
}

function clear({ x, z }) {
  for (const [ox, oz, radius] of OBSTACLES) {
    const distance = Math.hypot(x - ox, z - oz);
    if (distance >= radius) continue;
    const away = distance > 0.001 ? radius / distance : 0;
    return away ? { x: ox + (x - ox) * away, z: oz + (z - oz) * away } : { x: ox + radius, z: oz };
  }
  return { x, z };
}
