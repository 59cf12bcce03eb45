/**
 * Low-poly building blocks: a heap that becomes one mesh, a hull, a slack rope, a soft glow. What is built of them
 * is harbour.js, avatars.js and signals.js.
 */
import * as THREE from "three";

/** Pieces of many shapes and colours that are drawn in one call. */
export class Heap {
  #positions = [];
  #colors = [];

  add(geometry, color, { at = [0, 0, 0], turn = [0, 0, 0], size = [1, 1, 1] } = {}) {
    const placed = geometry.index ? geometry.toNonIndexed() : geometry.clone();
    const rotation = new THREE.Quaternion().setFromEuler(new THREE.Euler(...turn));
    placed.applyMatrix4(new THREE.Matrix4().compose(new THREE.Vector3(...at), rotation, new THREE.Vector3(...size)));
    const { r, g, b } = new THREE.Color(color);
    for (const value of placed.attributes.position.array) this.#positions.push(value);
    for (let n = 0; n < placed.attributes.position.count; n++) this.#colors.push(r, g, b);
    placed.dispose();
    return this;
  }

  box(color, size, at, turn) {
    return this.add(BOX, color, { size, at, turn });
  }

  plank(color, size, at) {
    return this.add(size[0] > size[2] ? LONG.x : LONG.z, color, { size, at });
  }

  /** An upright cylinder or cone that stands on `at`. */
  post(color, [top, bottom, height], at, sides = 7, turn) {
    const geometry = new THREE.CylinderGeometry(top, bottom, height, sides, 1);
    geometry.translate(0, height / 2, 0);
    return this.add(geometry, color, { at, turn });
  }

  mesh(material = new THREE.MeshLambertMaterial({ vertexColors: true, flatShading: true })) {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(this.#positions, 3));
    geometry.setAttribute("color", new THREE.Float32BufferAttribute(this.#colors, 3));
    geometry.computeBoundingSphere();
    return new THREE.Mesh(geometry, material);
  }

  /** A mesh whose light is worked out here, once, as if it stood at `origin`: then any number of lamps costs nothing. */
  baked({ sky, ground, sun, sunColor, lamps }, origin = [0, 0, 0], side = THREE.FrontSide) {
    const [a, b, c, normal, way, lit] = Array.from({ length: 6 }, () => new THREE.Vector3());
    const above = new THREE.Vector3();
    const colors = this.#colors.slice();
    const vertex = (n, into) => into.fromArray(this.#positions, n * 3);
    for (let n = 0; n < this.#positions.length / 3; n += 3) {
      vertex(n, a);
      vertex(n + 1, b);
      vertex(n + 2, c);
      normal.copy(b).sub(a).cross(way.copy(c).sub(a)).normalize();
      for (let corner = n; corner < n + 3; corner++) {
        vertex(corner, above).add(way.fromArray(origin));
        const up = normal.y * 0.5 + 0.5;
        lit.set(ground.r + (sky.r - ground.r) * up, ground.g + (sky.g - ground.g) * up, ground.b + (sky.b - ground.b) * up);
        // Under the decks it is dark.
        if (above.y < -0.16) lit.multiplyScalar(Math.max(0.35, 1 + (above.y + 0.16) * 0.5));
        const bright = Math.max(0, normal.dot(sun));
        lit.x += sunColor.r * bright;
        lit.y += sunColor.g * bright;
        lit.z += sunColor.b * bright;
        for (const { at, color, reach } of lamps) {
          way.fromArray(at).sub(above);
          const distance = way.length();
          if (distance > reach) continue;
          const window = (1 - (distance / reach) ** 2) ** 2;
          const gain = (Math.max(0, way.dot(normal) / distance) * 0.85 + 0.15) * window * (1 / (0.35 + distance * 0.16));
          lit.x += color.r * gain;
          lit.y += color.g * gain;
          lit.z += color.b * gain;
        }
        colors[corner * 3] *= lit.x;
        colors[corner * 3 + 1] *= lit.y;
        colors[corner * 3 + 2] *= lit.z;
      }
    }
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.Float32BufferAttribute(this.#positions, 3));
    geometry.setAttribute("color", new THREE.Float32BufferAttribute(colors, 3));
    geometry.computeBoundingSphere();
    return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ vertexColors: true, side }));
  }
}

const BOX = new THREE.BoxGeometry(1, 1, 1);
/** With corners along each side, for what is long and lies in the light of several lamps. */
const LONG = { x: new THREE.BoxGeometry(1, 1, 1, 14, 1, 1), z: new THREE.BoxGeometry(1, 1, 1, 1, 1, 14) };

/** A boat's body along z, its rim at y 0. */
export function hull(length, width, depth) {
  const sections = 8;
  const ring = (index) => {
    const s = index / sections;
    const half = (width / 2) * Math.pow(Math.sin(Math.PI * (0.1 + 0.9 * s) * 0.5 + (1 - s) * 0.55), 0.7) * (s > 0.96 ? 0.06 : Math.sqrt(1 - s ** 4));
    const sheer = 0.24 * depth * (2 * s - 0.9) ** 2;
    const z = (s - 0.5) * length;
    return [
      [-half, sheer, z],
      [-half * 0.75, -depth * 0.6, z * 0.97],
      [0, -depth * (1 - 0.35 * s ** 3), z * 0.92],
      [half * 0.75, -depth * 0.6, z * 0.97],
      [half, sheer, z],
    ];
  };
  const positions = [];
  const quad = (a, b, c, d) => positions.push(...a, ...b, ...c, ...a, ...c, ...d);
  for (let index = 0; index < sections; index++) {
    const [here, next] = [ring(index), ring(index + 1)];
    for (let side = 0; side < 4; side++) quad(here[side], here[side + 1], next[side + 1], next[side]);
  }
  const stern = ring(0);
  positions.push(...stern[0], ...stern[2], ...stern[1], ...stern[0], ...stern[4], ...stern[2], ...stern[4], ...stern[3], ...stern[2]);
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  return geometry;
}

/** A rope from `a` to `b` that hangs through by `slack`. */
export function rope(a, b, slack, radius = 0.05) {
  const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2 - slack * 2, (a[2] + b[2]) / 2];
  const points = [a, middle, b].map((point) => new THREE.Vector3(...point));
  return new THREE.TubeGeometry(new THREE.QuadraticBezierCurve3(...points), 10, radius, 4);
}

let glow;
/** A round light that fades to nothing, drawn once for all who use it. */
export function glowTexture() {
  if (glow) return glow;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  const shade = pen.createRadialGradient(32, 32, 0, 32, 32, 32);
  shade.addColorStop(0, "rgba(255,255,255,1)");
  shade.addColorStop(0.12, "rgba(255,255,255,.65)");
  shade.addColorStop(0.35, "rgba(255,255,255,.2)");
  shade.addColorStop(0.65, "rgba(255,255,255,.05)");
  shade.addColorStop(1, "rgba(255,255,255,0)");
  pen.fillStyle = shade;
  pen.fillRect(0, 0, 64, 64);
  glow = new THREE.CanvasTexture(canvas);
  return glow;
}

/** A light that is seen, and lights nothing. */
export function glowSprite(color, size, strength = 1) {
  const material = new THREE.SpriteMaterial({
    map: glowTexture(),
    color,
    opacity: strength,
    blending: THREE.AdditiveBlending,
    depthWrite: false,
    fog: false,
  });
  const sprite = new THREE.Sprite(material);
  sprite.scale.set(size, size, 1);
  return sprite;
}
