/**
 * What the line brings besides people, as things in the harbour: a buoy with a lamp for each agent, a pennant on the
 * western mast for each pull request, and the masthead lamp that shows how the line itself is.
 */
import * as THREE from "three";
import { Tag } from "./labels.js";
import { swell } from "./sea.js";
import { Heap, glowSprite, rope } from "./shapes.js";

const BERTHS = [
  [-5.4, -9.2],
  [10.8, -7.2],
  [-14.2, 4.6],
  [12.4, 4],
  [-4.2, -17],
  [13.5, -15],
  [-13, -13],
  [5.5, 10.5],
];
const PENNANTS = 6;
/** So long the newest pennant is named. */
const NAMED_MS = 9000;
const HALYARD = { top: [-7.6, 6.0, -4.7], foot: [-3.6, 0.5, -5.6] };

const STATUS_COLORS = { working: "#ffb648", thinking: "#7db7ff", reviewing: "#c79bff", waiting: "#ff8f9c", idle: "#93a0ad", done: "#7fe0b0", error: "#ff6f61" };
const ACTION_COLORS = { opened: "#ffb648", reopened: "#ffb648", merged: "#b78cff", closed: "#ff7a6b", reviewed: "#7db7ff" };
const STATE_COLORS = { idle: "#93a0ad", connecting: "#9ec5ff", connected: "#7fe0b0", reconnecting: "#ffb648", closed: "#ff6f61" };

export const statusColor = (status) => STATUS_COLORS[status] ?? "#7fe0b0";
export const actionColor = (action) => ACTION_COLORS[action] ?? "#7fe0b0";

export class Signals {
  group = new THREE.Group();
  #buoys = new Map();
  #flags = [];
  #masthead = glowSprite(STATE_COLORS.idle, 1.9);
  #state = "idle";
  #notice = new Tag();
  #namedUntil = 0;

  constructor() {
    // Against the bright sky, added light would all be white.
    this.#masthead.material.blending = THREE.NormalBlending;
    this.#masthead.position.set(-7.6, 6.55, -4.7);
    const { top, foot } = HALYARD;
    this.group.add(this.#masthead, new Heap().add(rope(top, foot, 0.1, 0.015), "#d8c6a8").mesh());
    this.group.add(this.#notice.sprite);
  }

  line(state) {
    this.#state = state;
    this.#masthead.material.color.set(STATE_COLORS[state] ?? STATE_COLORS.idle);
  }

  agent(name, status) {
    let buoy = this.#buoys.get(name);
    if (!buoy) {
      if (this.#buoys.size === BERTHS.length) return;
      buoy = new Buoy(BERTHS[this.#buoys.size]);
      this.#buoys.set(name, buoy);
      this.group.add(buoy.group);
    }
    buoy.show(name, status);
  }

  notice(action, head) {
    const color = actionColor(action);
    const flag = new THREE.Mesh(pennant(), new THREE.MeshLambertMaterial({ color, emissive: color, emissiveIntensity: 0.25, side: THREE.DoubleSide }));
    flag.scale.setScalar(0.01);
    this.group.add(flag);
    this.#flags.unshift(flag);
    for (const old of this.#flags.splice(PENNANTS)) {
      old.geometry.dispose();
      old.material.dispose();
      old.removeFromParent();
    }
    this.#notice.show(head, { rest: action, color });
    this.#namedUntil = performance.now() + NAMED_MS;
  }

  update(time, dt, unit, calm) {
    const slow = calm ? 0 : time;
    for (const buoy of this.#buoys.values()) buoy.update(slow, unit);
    const urgent = this.#state === "reconnecting" || this.#state === "connecting";
    this.#masthead.material.opacity = urgent && !calm ? 0.55 + 0.45 * Math.sin(time * 6) : 1;
    const { top, foot } = HALYARD;
    this.#flags.forEach((flag, n) => {
      const s = 0.1 + n * 0.13;
      const spot = top.map((value, axis) => value + (foot[axis] - value) * s);
      const ease = 1 - Math.exp(-dt * 5);
      if (flag.scale.x < 0.1) flag.position.set(...spot);
      flag.position.lerp(new THREE.Vector3(...spot), ease);
      flag.scale.lerp(new THREE.Vector3(1, 1, 1), ease);
      flag.rotation.set(0, Math.sin(slow * 2.1 + n) * 0.35 - 0.15, Math.sin(slow * 3 + n * 1.7) * 0.07);
      if (n === 0) this.#notice.sprite.position.copy(flag.position).add(new THREE.Vector3(0.55, 0.5, 0));
    });
    this.#notice.sprite.visible = performance.now() < this.#namedUntil;
    this.#notice.fit(unit);
  }
}

class Buoy {
  group = new THREE.Group();
  #tag = new Tag();
  #lamp = glowSprite("#ffffff", 2.1);
  #bulb = new THREE.Mesh(new THREE.OctahedronGeometry(0.16), new THREE.MeshBasicMaterial());
  #x;
  #z;
  #status = "";

  constructor([x, z]) {
    [this.#x, this.#z] = [x, z];
    const body = new Heap().post("#c8503f", [0.5, 0.62, 0.5], [0, -0.2, 0], 9).post("#efe3d6", [0.3, 0.5, 0.42], [0, 0.3, 0], 9);
    body.post("#c8503f", [0.12, 0.3, 0.66], [0, 0.72, 0], 9).post("#2c2f3e", [0.2, 0.2, 0.06], [0, 1.38, 0], 8);
    this.#lamp.position.y = this.#bulb.position.y = 1.58;
    this.#tag.sprite.position.y = 2.15;
    this.group.add(body.mesh(), this.#lamp, this.#bulb, this.#tag.sprite);
    this.group.position.set(x, 0, z);
  }

  show(name, status) {
    this.#status = status;
    const color = statusColor(status);
    this.#lamp.material.color.set(color);
    this.#bulb.material.color.set(color).lerp(new THREE.Color("#ffffff"), 0.5);
    this.#tag.show(name, { rest: status, color });
  }

  update(time, unit) {
    this.group.position.y = swell(this.#x, this.#z, time) + 0.1;
    this.group.rotation.set(Math.sin(time * 1.1 + this.#x) * 0.09, 0, Math.cos(time * 0.9 + this.#z) * 0.09);
    const busy = this.#status !== "idle" && time > 0;
    this.#lamp.material.opacity = busy ? 0.7 + 0.3 * Math.sin(time * 2.6 + this.#x) : 0.6;
    this.#tag.fit(unit);
  }
}

function pennant() {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute([0, 0.27, 0, 0, -0.27, 0, 0.5, 0.12, 0.06, 0, -0.27, 0, 0.5, -0.12, 0.06, 0.5, 0.12, 0.06, 0.5, 0.12, 0.06, 0.5, -0.12, 0.06, 0.95, 0, 0], 3));
  geometry.computeVertexNormals();
  return geometry;
}
