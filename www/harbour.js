/**
 * The harbour itself: decks, lanterns, boats, the lighthouse, the far shore, and how they move on their own. Sky and
 * water are sea.js; who and what comes over the line stands elsewhere.
 */
import * as THREE from "three";
import { DECKS } from "./ground.js";
import { HAZE, SUN, WATER_LEVEL, makeSky, makeWater, swell } from "./sea.js";
import { Heap, glowSprite, glowTexture, hull, rope } from "./shapes.js";

const WOOD = ["#86705c", "#917a64", "#7b6654", "#9a836b", "#826d5a"];
const PILE = "#4a3630";
const IRON = "#2c2f3e";
const LAMPLIGHT = "#ffbe6e";
const ROPE = "#c9b08a";

/** Foot of each mast that carries lights over the square. */
const MASTS = [
  [-7.6, -4.7],
  [7.6, -4.7],
];
const MAST_HEIGHT = 6.4;

const LANTERNS = [
  [-8.6, 5.5],
  [8.6, 5.5],
  [-8.6, -5.6],
  [8.6, -5.6],
  [-2.3, 12],
  [2.3, 19],
  [-18.6, -2],
  [-25.5, 4],
  [6.9, -12],
  [1.5, -22.5],
  [8.5, -22.5],
];

/** Repeatable noise: the same planks, houses and hills on each visit. */
function dice(seed) {
  return () => {
    seed = (seed * 1664525 + 1013904223) % 4294967296;
    return seed / 4294967296;
  };
}

/** `calm` stills what moves by itself. */
export function makeHarbour({ calm = false } = {}) {
  const group = new THREE.Group();
  const roll = dice(7);
  const wood = new Heap();

  for (const deck of Object.values(DECKS)) layDeck(wood, deck, roll);
  layQuay(wood, roll);
  for (const [x, z] of LANTERNS) raiseLantern(wood, x, z);
  for (const [x, z] of MASTS) wood.post("#5b4236", [0.09, 0.15, MAST_HEIGHT], [x, 0, z], 8).box("#5b4236", [1.6, 0.09, 0.09], [x, MAST_HEIGHT - 0.9, z]);
  const bollards = [[-8.4, 2.6], [-8.4, -2.8], [8.4, 1.4], [8.4, -2.6], [-3.2, -5.6], [1.2, -5.6], [-20.2, 4.0], [-24.6, -4.0], [3.9, -11], [3.9, -15]];
  for (const [x, z] of bollards) wood.post(IRON, [0.2, 0.25, 0.42], [x, 0, z], 8).post(IRON, [0.31, 0.31, 0.12], [x, 0.4, z], 8);
  stackCargo(wood);

  const lampAt = LANTERNS.map(([x, z]) => [x, 2.42, z]);
  const bulbs = festoon();
  const light = dusk(lampAt, bulbs);
  group.add(wood.baked(light), lampHeads(lampAt, bulbs), glows(lampAt, 3.4, 0.85), glows(bulbs, 1.1, 0.85), ...movingLight());

  const mirrored = [0, 2, 3, 6, 9, 10].map((index) => [...lampAt[index], LAMPLIGHT]);
  const { water, flow } = makeWater(mirrored);
  group.add(makeSky(), water, farShore(roll, light));

  const boats = moorBoats(group, light);
  const lighthouse = makeLighthouse(light);
  group.add(lighthouse.group);

  return {
    group,
    fog: new THREE.Fog(HAZE, 40, 210),
    update(time) {
      const slow = calm ? 0 : time;
      flow(calm ? time * 0.15 : time);
      for (const { body, x, z, heading } of boats) {
        body.position.y = swell(x, z, slow) + body.userData.draught;
        body.rotation.set(Math.sin(slow * 0.9 + x) * 0.03, heading, Math.sin(slow * 0.7 + z) * 0.045);
      }
      lighthouse.turn(slow);
    },
  };
}

/** All light on what stands still. */
function dusk(lampAt, bulbs) {
  const lamp = new THREE.Color("#ffa552").multiplyScalar(2);
  const bulb = new THREE.Color("#ffb76a").multiplyScalar(0.1);
  const above = ([x, y, z]) => [x, y + 0.25, z];
  return {
    sky: new THREE.Color("#8d97cf").multiplyScalar(0.8),
    ground: new THREE.Color("#3d3352").multiplyScalar(0.8),
    sun: SUN.clone().setY(0.3).normalize(),
    sunColor: new THREE.Color("#ff9a70").multiplyScalar(0.85),
    lamps: [...lampAt.map((at) => ({ at: above(at), color: lamp, reach: 9.5 })), ...bulbs.map((at) => ({ at, color: bulb, reach: 9 }))],
  };
}

/** The same light, for the few things that move about in it. */
function movingLight() {
  const afterglow = new THREE.DirectionalLight("#ff9d72", 1.9);
  afterglow.position.copy(SUN).setY(0.35);
  const overhead = new THREE.PointLight("#ffc888", 30, 20, 1.5);
  overhead.position.set(0, 4.6, -2);
  const side = new THREE.DirectionalLight("#ffd3a0", 0.75);
  side.position.set(0.7, 0.8, 1);
  return [new THREE.HemisphereLight("#a9a8e8", "#54405a", 1.9), afterglow, overhead, side];
}

function layDeck(heap, [x0, z0, x1, z1], roll) {
  const alongX = x1 - x0 < z1 - z0;
  const width = 0.46;
  const length = alongX ? z1 - z0 : x1 - x0;
  // Planks lie across the longer side.
  const count = Math.round(length / width);
  for (let n = 0; n < count; n++) {
    const middle = (alongX ? z0 : x0) + ((n + 0.5) * length) / count;
    const color = WOOD[Math.floor(roll() * WOOD.length)];
    const wobble = (roll() - 0.5) * 0.16;
    const across = (alongX ? x1 - x0 : z1 - z0) + wobble;
    const thick = 0.14;
    const y = -thick / 2 + (roll() - 0.5) * 0.025;
    if (alongX) heap.plank(color, [across, thick, length / count - 0.03], [(x0 + x1) / 2 + wobble / 2, y, middle]);
    else heap.plank(color, [length / count - 0.03, thick, across], [middle, y, (z0 + z1) / 2 + wobble / 2]);
  }
  heap.box("#1d1620", [x1 - x0 - 0.1, 0.04, z1 - z0 - 0.1], [(x0 + x1) / 2, -0.2, (z0 + z1) / 2]);
  const beam = [(x0 + x1) / 2, -0.3, (z0 + z1) / 2];
  heap.box(PILE, [x1 - x0 - 0.15, 0.3, 0.22], [beam[0], beam[1], z0 + 0.18]).box(PILE, [x1 - x0 - 0.15, 0.3, 0.22], [beam[0], beam[1], z1 - 0.18]);
  heap.box(PILE, [0.22, 0.3, z1 - z0 - 0.15], [x0 + 0.18, beam[1], beam[2]]).box(PILE, [0.22, 0.3, z1 - z0 - 0.15], [x1 - 0.18, beam[1], beam[2]]);
  for (const x of spread(x0 + 0.3, x1 - 0.3)) {
    for (const z of spread(z0 + 0.3, z1 - 0.3)) {
      const rim = x < x0 + 1 || x > x1 - 1 || z < z0 + 1 || z > z1 - 1;
      if (rim) heap.post(PILE, [0.19, 0.22, 3.4], [x, -3.5, z], 6);
    }
  }
}

function spread(from, to) {
  const count = Math.max(1, Math.round((to - from) / 4.4));
  return Array.from({ length: count + 1 }, (_, n) => from + ((to - from) * n) / count);
}

/** The land behind, with the houses of the harbour street. */
function layQuay(heap, roll) {
  heap.box("#5d5666", [76, 3.2, 12], [0, -1.65, 33]);
  heap.box("#776f7e", [76, 0.3, 0.8], [0, 0, 27.2]);
  for (let n = 0; n < 11; n++) {
    const x = -35 + n * 7 + roll() * 1.5;
    if (Math.abs(x) > 3.5) house(heap, [x, 0, 34 + roll() * 2], 0.95 + roll() * 0.35, Math.PI, roll);
  }
}

const WALLS = ["#c98f77", "#b9a08c", "#8f7f9b", "#a86e63", "#c7a77f", "#7d8499"];
const ROOFS = ["#4b3140", "#3a3148", "#5a3740"];

/** `facing` turns the windows towards the water. */
function house(heap, [x, y, z], scale, facing, roll) {
  const [width, height, depth] = [4 * scale, (3.2 + roll() * 2) * scale, 4 * scale];
  const roof = new THREE.CylinderGeometry(0.01, 1, 1, 4, 1).rotateY(Math.PI / 4);
  heap.box(WALLS[Math.floor(roll() * WALLS.length)], [width, height, depth], [x, y + height / 2, z], [0, facing, 0]);
  heap.add(roof, ROOFS[Math.floor(roll() * ROOFS.length)], { at: [x, y + height + scale, z], turn: [0, facing, 0], size: [width * 0.82, 2 * scale, depth * 0.82] });
  for (let row = 0; row < 2; row++) {
    for (const side of [-1, 1]) {
      if (roll() < 0.3) continue;
      const [dx, dz] = [side * width * 0.24, depth / 2 + 0.04];
      const at = [x + dx * Math.cos(facing) + dz * Math.sin(facing), y + height * (0.3 + row * 0.38), z - dx * Math.sin(facing) + dz * Math.cos(facing)];
      windows.push({ at, turn: facing, size: scale });
    }
  }
}
/** Lit windows shine by themselves, so they are a mesh of their own. */
const windows = [];

function raiseLantern(heap, x, z) {
  heap.post(IRON, [0.05, 0.08, 2.2], [x, 0, z], 6).post(IRON, [0.16, 0.16, 0.08], [x, 2.2, z], 6);
  heap.post(IRON, [0.02, 0.24, 0.2], [x, 2.62, z], 6);
}

function festoon() {
  const bulbs = [];
  const hang = (a, b, sag, count) => {
    for (let n = 1; n < count; n++) {
      const s = n / count;
      bulbs.push([a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s - sag * 4 * s * (1 - s), a[2] + (b[2] - a[2]) * s]);
    }
  };
  const [west, east] = MASTS.map(([x, z]) => [x, MAST_HEIGHT - 0.35, z]);
  hang(west, east, 1.5, 17);
  hang(west, [-8.6, 2.6, 5.5], 0.7, 11);
  hang(east, [8.6, 2.6, 5.5], 0.7, 11);
  return bulbs;
}

function lampHeads(lampAt, bulbs) {
  const heap = new Heap();
  for (const [x, y, z] of lampAt) heap.box("#ffd79a", [0.22, 0.34, 0.22], [x, y + 0.02, z]);
  const drop = new THREE.OctahedronGeometry(0.075);
  for (const at of bulbs) heap.add(drop, "#ffe3b0", { at });
  return heap.mesh(new THREE.MeshBasicMaterial({ vertexColors: true, fog: false }));
}

function glows(places, size, strength) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(places.flat(), 3));
  const material = new THREE.PointsMaterial({
    map: glowTexture(),
    color: LAMPLIGHT,
    size,
    opacity: strength,
    transparent: true,
    blending: THREE.AdditiveBlending,
    depthWrite: false,
    fog: false,
  });
  return new THREE.Points(geometry, material);
}

function stackCargo(heap) {
  const crate = (size, at, turn, color) => {
    heap.box(color, [size, size, size], [at[0], at[1] + size / 2, at[2]], [0, turn, 0]);
    heap.box("#54392c", [size + 0.06, 0.1, size + 0.06], [at[0], at[1] + size * 0.98, at[2]], [0, turn, 0]);
    heap.box("#54392c", [size + 0.06, 0.1, size + 0.06], [at[0], at[1] + size * 0.06, at[2]], [0, turn, 0]);
  };
  crate(1.1, [7.5, 0, 4.4], 0.2, "#9a744f");
  crate(0.9, [6.4, 0, 4.7], -0.3, "#8a6a4c");
  crate(0.75, [7.2, 1.1, 4.4], 0.6, "#a5805a");
  for (const [x, z] of [[7.2, 3.2], [6.5, 3.5]]) {
    heap.post("#7b4d3a", [0.3, 0.3, 0.4], [x, 0, z], 9).post("#7b4d3a", [0.3, 0.36, 0.18], [x, 0, z], 9);
    heap.post("#8a5a43", [0.27, 0.34, 0.42], [x, 0.38, z], 9).post(IRON, [0.355, 0.355, 0.06], [x, 0.36, z], 9);
  }
  // A coil of rope, and a net on the western float.
  for (let n = 0; n < 3; n++) heap.add(new THREE.TorusGeometry(0.42 - n * 0.05, 0.09, 5, 12).rotateX(Math.PI / 2), ROPE, { at: [-7.4, 0.09 + n * 0.14, 3.6] });
  crate(0.8, [-23.6, 0, 2.7], 0.5, "#8a6a4c");
  // A life ring on the eastern mast.
  heap.add(new THREE.TorusGeometry(0.34, 0.11, 5, 12), "#f2e6dc", { at: [7.6, 1.5, -4.5] });
  for (const [dx, dy] of [[0.34, 0], [-0.34, 0], [0, 0.34], [0, -0.34]]) heap.box("#d9543f", [0.25, 0.25, 0.25], [7.6 + dx, 1.5 + dy, -4.5], [0, 0, Math.PI / 4]);
  // The crane on the eastern float.
  heap.post("#d9743a", [0.22, 0.34, 4.6], [7.4, 0, -21.6], 6).box("#d9743a", [0.26, 0.26, 4.8], [7.4, 5.1, -20.6], [-0.35, 0, 0]);
  heap.box("#3c3a4a", [1, 1, 1.1], [7.4, 0.5, -21.6]).add(rope([7.4, 5.9, -18.5], [7.4, 3.2, -18.5], 0, 0.03), IRON).box(IRON, [0.3, 0.3, 0.3], [7.4, 3.1, -18.5]);
}

function moorBoats(group, light) {
  const ropes = new Heap();
  const boats = [];
  const moor = (heap, x, z, heading, draught) => {
    const body = heap.baked(light, [x, WATER_LEVEL + draught, z], THREE.DoubleSide);
    body.position.set(x, WATER_LEVEL + draught, z);
    body.userData.draught = draught;
    boats.push({ body, x, z, heading });
    group.add(body);
  };
  const row = (color) =>
    new Heap().add(hull(3.4, 1.35, 0.65), color).box("#a07a58", [1.2, 0.08, 0.34], [0, -0.02, -0.5]).box("#a07a58", [1.1, 0.08, 0.34], [0, -0.02, 0.6]).box("#6e4f3c", [1.1, 0.06, 2.6], [0, -0.38, 0]);
  moor(row("#c4574b"), 10.3, -0.7, 0.1, 0.42);
  moor(row("#3f7d86"), -20.8, 6.3, 1.45, 0.42);
  moor(sloop("#efe3d6", "#2e4a66"), -11.6, -5.6, 0.35, 0.72);
  moor(sloop("#31405f", "#d08a55"), 0.6, -13.2, 0.12, 0.72);
  moor(farSail(), -46, -92, 2.2, 0.4);
  ropes.add(rope([8.4, 0.35, 1.4], [9.9, -0.45, 1], 0.3), ROPE).add(rope([8.4, 0.35, -2.6], [9.9, -0.5, -2.3], 0.2), ROPE);
  ropes.add(rope([-8.4, 0.35, -2.8], [-10.6, 0.1, -3.3], 0.25), ROPE).add(rope([-3.2, 0.35, -5.6], [-11.6, 0.05, -8.4], 0.8), ROPE);
  ropes.add(rope([3.9, 0.35, -11], [1.1, 0.1, -10.6], 0.3), ROPE).add(rope([3.9, 0.35, -15], [0.4, 0, -15.8], 0.3), ROPE);
  ropes.add(rope([-20.2, 0.35, 4], [-20.2, -0.5, 5.8], 0.2), ROPE);
  group.add(ropes.baked(light));
  return boats;
}

function sloop(color, sail) {
  const heap = new Heap().add(hull(6, 2.1, 1.1), color).box("#8e6a50", [1.5, 0.08, 4.2], [0, -0.06, -0.35]).box("#e9d9c8", [1.1, 0.5, 1.6], [0, 0.2, 0.2]);
  heap.box("#2b3247", [1.14, 0.16, 1.1], [0, 0.26, 0.2]).post("#5b4236", [0.05, 0.09, 7], [0, 0, 0.75], 6).box("#5b4236", [0.09, 0.09, 3.1], [0, 1.35, -0.8]);
  heap.add(new THREE.CylinderGeometry(0.16, 0.2, 2.8, 6).rotateX(Math.PI / 2), sail, { at: [0, 1.52, -0.8] });
  heap.add(rope([0, 6.9, 0.75], [0, 0.25, 2.9], 0, 0.018), IRON).add(rope([0, 6.9, 0.75], [0, 0.25, -2.8], 0, 0.018), IRON);
  return heap;
}

function farSail() {
  const sheet = (points) => new THREE.ShapeGeometry(new THREE.Shape(points.map((point) => new THREE.Vector2(...point))));
  const heap = new Heap().add(hull(9, 2.6, 1.5), "#4a3145").post("#3a2b38", [0.06, 0.1, 11], [0, 0, 0.8], 5);
  heap.add(sheet([[0, 0.9], [4.6, 0.9], [0, 10.6]]), "#f0c3a6", { at: [0, 0, 0.7], turn: [0, Math.PI / 2, 0] });
  heap.add(sheet([[0, 0.9], [-3.4, 0.9], [0, 9]]), "#d9a294", { at: [0, 0, 0.95], turn: [0, Math.PI / 2, 0] });
  return heap;
}

function makeLighthouse(light) {
  const group = new THREE.Group();
  group.position.set(15, WATER_LEVEL, -74);
  const heap = new Heap();
  const rock = new THREE.IcosahedronGeometry(1, 1);
  heap.add(rock, "#4b4358", { size: [9, 2.6, 7], turn: [0, 0.4, 0] }).add(rock, "#554a60", { at: [-6, -0.4, 3], size: [5, 1.8, 4] }).add(rock, "#453d52", { at: [7, -0.6, -2], size: [4, 1.7, 4] });
  const bands = ["#e9ddd6", "#b9473f", "#e9ddd6", "#b9473f", "#e9ddd6"];
  bands.forEach((color, n) => heap.post(color, [1.95 - n * 0.2, 2.15 - n * 0.2, 2.3], [0, 2 + n * 2.3, 0], 10));
  heap.post(IRON, [1.7, 1.5, 0.35], [0, 13.5, 0], 10).post(IRON, [0.1, 1.25, 1.2], [0, 15.7, 0], 8);
  heap.box("#d8c8bc", [4.4, 2.2, 3], [-4.2, 2.8, 1.5], [0, 0.3, 0]).add(new THREE.CylinderGeometry(0.01, 1, 1, 4, 1).rotateY(Math.PI / 4), "#5a3740", { at: [-4.2, 4.7, 1.5], turn: [0, 0.3, 0], size: [3.4, 1.7, 2.5] });
  group.add(heap.baked(light, group.position.toArray()));
  const lamp = new THREE.Mesh(new THREE.CylinderGeometry(0.85, 0.85, 1.8, 8), new THREE.MeshBasicMaterial({ color: "#ffeec2", fog: false }));
  lamp.position.y = 14.8;
  const halo = glowSprite("#ffd58a", 15, 0.75);
  halo.position.y = 14.8;
  const beam = new THREE.Group();
  beam.position.y = 14.8;
  for (const side of [0, Math.PI]) beam.add(ray(side));
  group.add(lamp, halo, beam);
  return { group, turn: (time) => (beam.rotation.y = 0.9 + time * 0.35) };
}

/** One arm of the light: a cone that thins out with the distance. */
function ray(turn) {
  const geometry = new THREE.CylinderGeometry(0.5, 5, 62, 12, 4, true).translate(0, -31, 0).rotateZ(Math.PI / 2);
  const place = geometry.attributes.position;
  const alpha = Float32Array.from({ length: place.count * 4 }, (_, n) => (n % 4 < 3 ? 1 : Math.pow(1 - Math.min(1, Math.abs(place.getX(n >> 2)) / 62), 1.8) * 0.16));
  geometry.setAttribute("color", new THREE.BufferAttribute(alpha, 4));
  const material = new THREE.MeshBasicMaterial({ color: "#ffe0a3", vertexColors: true, transparent: true, blending: THREE.AdditiveBlending, depthWrite: false, side: THREE.DoubleSide, fog: false });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.rotation.y = turn;
  return mesh;
}

/** Hills in three distances, open towards the sun, and a town with lit windows at their foot. */
function farShore(roll, light) {
  const group = new THREE.Group();
  const heap = new Heap();
  const layers = [
    { radius: 185, height: 26, color: "#a0718f", from: -1.9, to: 1.9 },
    { radius: 150, height: 19, color: "#73567f", from: -2.4, to: 2.6 },
    { radius: 118, height: 13, color: "#4d4068", from: -2.9, to: 3.1 },
  ];
  const sunAt = Math.atan2(SUN.x, -SUN.z);
  layers.forEach(({ radius, height, color, from, to }, layer) => {
    const positions = [];
    const steps = 64;
    const top = (angle) => {
      const open = Math.min(1, Math.max(0, (Math.abs(angle - sunAt - 0.12) - 0.2 - layer * 0.22) / 0.4));
      const bumps = 0.55 + 0.25 * Math.sin(angle * 5.1 + layer * 2) + 0.2 * Math.sin(angle * 11.7 + layer * 5) + 0.08 * Math.sin(angle * 31 + layer);
      return Math.max(0, bumps) * height * open * open * (3 - 2 * open) - 2;
    };
    const at = (angle, y) => [Math.sin(angle) * radius, y, -Math.cos(angle) * radius];
    for (let n = 0; n < steps; n++) {
      const [a, b] = [from + ((to - from) * n) / steps, from + ((to - from) * (n + 1)) / steps];
      const [low, next] = [top(a), top(b)];
      positions.push(...at(a, -3), ...at(b, -3), ...at(b, next), ...at(a, -3), ...at(b, next), ...at(a, low));
    }
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
    heap.add(geometry, color);
  });
  group.add(heap.mesh(new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide, fog: false })));

  const town = new Heap();
  town.add(new THREE.IcosahedronGeometry(1, 1), "#3d3550", { at: [-84, WATER_LEVEL - 1, -52], size: [34, 9, 26] });
  for (let n = 0; n < 22; n++) {
    const s = roll();
    const x = -54 - s * 16 - roll() * 8;
    const z = -72 + roll() * 44;
    const up = WATER_LEVEL + 1 + s * 5.2;
    house(town, [x, up, z], 0.8 + roll() * 0.35, 1.05, roll);
  }
  town.box("#4a4257", [3, 1.6, 50], [-52, WATER_LEVEL + 0.3, -50]);
  group.add(town.baked(light));
  const panes = new Heap();
  for (const { at, turn, size } of windows.splice(0)) panes.box("#ffcf86", [0.62 * size, 0.85 * size, 0.06], at, [0, turn, 0]);
  group.add(panes.mesh(new THREE.MeshBasicMaterial({ vertexColors: true })));
  return group;
}
