/**
 * People on the pier: their figures, name tags and speech bubbles, and how a figure gets smoothly from one reported
 * place to the next. Who is there is world.js; where one may walk is ground.js.
 */
import * as THREE from "three";
import { Bubble, Tag } from "./labels.js";
import { Heap } from "./shapes.js";

/** Others are shown as they were this long ago, so that there is a next place to walk to. */
const LAG_MS = 130;
const BUBBLE_MS = 7000;
const STRIDE = 9;

const figureMaterial = new THREE.MeshLambertMaterial({ vertexColors: true, flatShading: true });
const shade = new THREE.MeshBasicMaterial({ color: "#120d18", transparent: true, opacity: 0.38, depthWrite: false });

export class Avatar {
  group = new THREE.Group();
  #body = new THREE.Group();
  #legs = [];
  #tag = new Tag();
  #bubble = null;
  #bubbleUntil = 0;
  #color = "";
  #gait = 0;
  #phase = Math.random() * 6;
  #track = [];
  #mine;

  constructor({ name, color, x, z, ry }, { mine = false } = {}) {
    this.#mine = mine;
    const shadow = new THREE.Mesh(new THREE.CircleGeometry(0.46, 18).rotateX(-Math.PI / 2), shade);
    shadow.position.y = 0.03;
    this.group.add(this.#body, shadow);
    this.#tag.sprite.position.y = 2.02;
    this.group.add(this.#tag.sprite);
    this.dress(name, color);
    this.place(x, z, ry);
  }

  dress(name, color, faded = false) {
    this.#tag.show(this.#mine ? `${name} (you)` : name, { color, faded });
    if (color === this.#color) return;
    this.#color = color;
    this.#undress();
    const { trunk, legs, ring } = sewn(color, this.#mine);
    this.#legs = legs;
    this.#body.add(trunk, ...legs);
    if (ring) this.group.add(ring);
  }

  /** Puts the figure there at once. */
  place(x, z, ry) {
    this.#track = [{ at: performance.now(), x, z, ry }];
    this.group.position.set(x, 0, z);
    this.#body.rotation.y = ry;
  }

  /** Reports a new place: it is walked to. */
  walkTo(x, z, ry) {
    const now = performance.now();
    const last = this.#track.at(-1);
    // After a rest the walk begins when the news comes, and not when the rest began.
    if (now - last.at > 400) this.#track.push({ ...last, at: now - 110 });
    this.#track.push({ at: now, x, z, ry });
    if (this.#track.length > 30) this.#track.shift();
  }

  say(text) {
    this.#bubble?.dispose();
    this.#bubble = new Bubble(text, { mine: this.#mine });
    this.#bubble.sprite.position.y = 2.02;
    this.#bubbleUntil = performance.now() + BUBBLE_MS;
    this.group.add(this.#bubble.sprite);
  }

  /** For one's own figure `pose` is now; others follow their track. */
  update(time, dt, unit, { pose = this.#poseAt(performance.now() - LAG_MS), calm = false } = {}) {
    const { position } = this.group;
    const speed = Math.hypot(pose.x - position.x, pose.z - position.z) / Math.max(dt, 0.001);
    position.set(pose.x, 0, pose.z);
    this.#body.rotation.y = turned(this.#body.rotation.y, pose.ry, 1 - Math.exp(-dt * 14));
    this.#gait += (Math.min(1, speed / 2.5) - this.#gait) * (1 - Math.exp(-dt * 12));
    const swing = Math.sin(time * STRIDE + this.#phase) * this.#gait;
    this.#legs.forEach((leg, side) => (leg.rotation.x = (side ? -1 : 1) * swing * 0.7));
    const breath = calm ? 0 : Math.sin(time * 1.8 + this.#phase) * 0.012;
    this.#body.position.y = Math.abs(swing) * 0.07 + breath;
    this.#body.rotation.z = calm ? 0 : swing * 0.04;
    this.#tag.fit(unit);
    if (!this.#bubble) return;
    const left = this.#bubbleUntil - performance.now();
    this.#bubble.fit(unit, 28);
    this.#bubble.opacity = Math.min(1, Math.max(0, left / 500));
    if (left <= 0) {
      this.#bubble.dispose();
      this.#bubble = null;
    }
  }

  dispose() {
    this.#bubble?.dispose();
    this.#tag.dispose();
    this.#undress();
    this.group.removeFromParent();
  }

  #undress() {
    for (const part of [...this.#body.children, ...this.group.children.filter(({ name }) => name === "ring")]) {
      part.geometry.dispose();
      part.removeFromParent();
    }
  }

  #poseAt(at) {
    const track = this.#track;
    while (track.length > 1 && track[1].at <= at) track.shift();
    const [a, b] = track;
    if (!b || at <= a.at) return a;
    const s = (at - a.at) / (b.at - a.at);
    return { x: a.x + (b.x - a.x) * s, z: a.z + (b.z - a.z) * s, ry: turned(a.ry, b.ry, s) };
  }
}

/** From one heading to another the short way round. */
export function turned(from, to, s) {
  const gap = Math.atan2(Math.sin(to - from), Math.cos(to - from));
  return from + gap * s;
}

function sewn(color, mine) {
  const base = new THREE.Color(color);
  const dark = base.clone().multiplyScalar(0.55);
  const pale = base.clone().lerp(new THREE.Color("#fff3e2"), 0.72);
  const skin = "#e8b48f";
  const heap = new Heap();
  heap.post(base, [0.2, 0.37, 0.78], [0, 0.42, 0], 9).post(base, [0.13, 0.2, 0.1], [0, 1.2, 0], 9);
  heap.add(new THREE.TorusGeometry(0.17, 0.075, 5, 10).rotateX(Math.PI / 2), pale, { at: [0, 1.25, 0] });
  heap.box(pale, [0.12, 0.34, 0.05], [0.09, 1.08, 0.24], [-0.22, 0, 0.12]);
  for (const side of [-1, 1]) {
    heap.post(dark, [0.075, 0.095, 0.52], [side * 0.37, 0.66, 0], 6, [0, 0, side * 0.24]);
    heap.add(new THREE.IcosahedronGeometry(0.085), skin, { at: [side * 0.4, 0.64, 0.02] });
    heap.add(new THREE.IcosahedronGeometry(0.032), "#2a2030", { at: [side * 0.1, 1.53, 0.255] });
  }
  heap.add(new THREE.IcosahedronGeometry(0.275, 2), skin, { at: [0, 1.5, 0] });
  heap.add(new THREE.SphereGeometry(0.3, 10, 5, 0, Math.PI * 2, 0, Math.PI / 2), dark, { at: [0, 1.57, -0.02], turn: [-0.12, 0, 0] });
  heap.add(new THREE.CylinderGeometry(0.31, 0.31, 0.1, 10), base, { at: [0, 1.59, -0.02], turn: [-0.12, 0, 0] });
  heap.add(new THREE.IcosahedronGeometry(0.09), pale, { at: [0, 1.89, -0.06] });
  const trunk = heap.mesh(figureMaterial);
  const legs = [-1, 1].map((side) => {
    const leg = new Heap().box("#2d2a3c", [0.17, 0.44, 0.19], [0, -0.2, 0]).box("#1f1c29", [0.19, 0.12, 0.3], [0, -0.39, 0.05]).mesh(figureMaterial);
    leg.position.set(side * 0.14, 0.46, 0);
    return leg;
  });
  let ring = null;
  if (mine) {
    ring = new THREE.Mesh(new THREE.RingGeometry(0.56, 0.64, 32).rotateX(-Math.PI / 2), new THREE.MeshBasicMaterial({ color: pale, transparent: true, opacity: 0.7, depthWrite: false }));
    ring.position.y = 0.035;
    ring.name = "ring";
  }
  return { trunk, legs, ring };
}
