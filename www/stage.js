/**
 * The window into the harbour: renderer, camera, the loop, and how keys, mouse and touch walk. It draws whom it is
 * told to; what comes over the line is world.js.
 */
import * as THREE from "three";
import { Avatar, turned } from "./avatars.js";
import { path, step } from "./ground.js";
import { makeHarbour } from "./harbour.js";
import { Signals } from "./signals.js";

const SPEED = 4.6;
const STEER = { KeyW: [0, -1], ArrowUp: [0, -1], KeyS: [0, 1], ArrowDown: [0, 1], KeyA: [-1, 0], ArrowLeft: [-1, 0], KeyD: [1, 0], ArrowRight: [1, 0] };
const SHARPEST = 1.75;
const COARSEST = 0.6;
/** A frame may take this long on average before the picture gets coarser. */
const PATIENCE_MS = 30;
/** Where even the coarsest picture is slow, there is this much time from one frame to the next for everything else. */
const BREATHER_MS = 60;

export class Stage {
  signals = new Signals();
  #renderer;
  #scene = new THREE.Scene();
  #camera = new THREE.PerspectiveCamera(45, 1, 0.3, 600);
  #harbour;
  #avatars = new Map();
  #mine;
  #pose;
  #onPose;
  #calm;
  #keys = new Set();
  #route = [];
  #yaw = innerWidth < innerHeight ? -0.09 : 0.1;
  #focus = new THREE.Vector3();
  #marker;
  #unit = 0.001;
  #last = 0;
  #time = 0;
  #pace = 16;
  #ratio;
  #fixed = false;
  #breather = 0;

  /** Throws where there is no WebGL 2. `onPose` hears every change of one's own place. */
  constructor(canvas, { pose, name, color, calm, onPose, onLost }) {
    const software = drawsInSoftware();
    this.#ratio = software ? 0.75 : Math.min(SHARPEST, devicePixelRatio);
    this.#renderer = new THREE.WebGLRenderer({ canvas, antialias: !software && devicePixelRatio < 2 });
    this.#renderer.toneMapping = THREE.NeutralToneMapping;
    this.#renderer.toneMappingExposure = 1.05;
    this.#pose = pose;
    this.#onPose = onPose;
    this.#calm = calm;
    this.#harbour = makeHarbour({ calm });
    this.#scene.fog = this.#harbour.fog;
    this.#mine = new Avatar({ ...pose, name, color }, { mine: true });
    this.#marker = new THREE.Mesh(new THREE.RingGeometry(0.22, 0.32, 24).rotateX(-Math.PI / 2), new THREE.MeshBasicMaterial({ color: "#ffe3b8", transparent: true, depthWrite: false }));
    this.#marker.visible = false;
    this.#scene.add(this.#harbour.group, this.signals.group, this.#mine.group, this.#marker);
    this.#focus.set(pose.x, 0, pose.z);
    this.#listen(canvas, onLost);
    this.#resize();
    this.#run();
  }

  join({ id, name, color, x, z, ry }) {
    this.leave(id);
    const avatar = new Avatar({ name, color, x, z, ry });
    this.#avatars.set(id, avatar);
    this.#scene.add(avatar.group);
  }

  leave(id) {
    this.#avatars.get(id)?.dispose();
    this.#avatars.delete(id);
  }

  dress(id, name, color, faded = false) {
    (id === null ? this.#mine : this.#avatars.get(id))?.dress(name, color, faded);
  }

  walk(id, { x, z, ry }) {
    this.#avatars.get(id)?.walkTo(x, z, ry);
  }

  say(id, text) {
    (id === null ? this.#mine : this.#avatars.get(id))?.say(text);
  }

  /** Walks oneself to a place, over the decks. */
  goTo(point) {
    this.#route = path(this.#pose, point);
    const { x, z } = this.#route.at(-1);
    this.#marker.position.set(x, 0.05, z);
    this.#marker.visible = true;
  }

  /** Draws with so many pixels to a CSS pixel from now on, however long it takes. */
  sharpen(ratio) {
    this.#fixed = true;
    this.#ratio = ratio;
    this.#resize();
  }

  #listen(canvas, onLost) {
    addEventListener("resize", () => this.#resize());
    document.addEventListener("visibilitychange", () => this.#run());
    addEventListener("blur", () => this.#keys.clear());
    addEventListener("keydown", (event) => {
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.code in STEER)) return;
      if (event.target === document.body || event.target === canvas) event.preventDefault();
      this.#keys.add(event.code);
    });
    addEventListener("keyup", ({ code }) => this.#keys.delete(code));
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      onLost(true);
    });
    canvas.addEventListener("webglcontextrestored", () => onLost(false));
    let grip = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary) return;
      grip = { x: event.clientX, yaw: this.#yaw, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!grip || !event.isPrimary) return;
      const across = event.clientX - grip.x;
      if (Math.abs(across) > 7) grip.moved = true;
      if (grip.moved) this.#yaw = grip.yaw - across * 0.006;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (grip && !grip.moved && event.isPrimary) this.#point(canvas, event);
      grip = null;
    });
    canvas.addEventListener("pointercancel", () => (grip = null));
  }

  #point(canvas, { clientX, clientY }) {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2(((clientX - left) / width) * 2 - 1, 1 - ((clientY - top) / height) * 2), this.#camera);
    const hit = ray.ray.intersectPlane(new THREE.Plane(new THREE.Vector3(0, 1, 0), 0), new THREE.Vector3());
    if (hit) this.goTo(hit);
  }

  #run() {
    this.#last = 0;
    this.#keys.clear();
    this.#renderer.setAnimationLoop(document.hidden ? null : (now) => this.#frame(now));
  }

  #frame(now) {
    if (this.#last && now - this.#last < this.#breather) return;
    const gap = this.#last ? now - this.#last : 16;
    this.#last = now;
    const dt = Math.min(0.1, gap / 1000);
    this.#time += dt;
    this.#adapt(gap);
    this.#steer(dt);
    this.#harbour.update(this.#time);
    this.signals.update(this.#time, dt, this.#unit, this.#calm);
    this.#mine.update(this.#time, dt, this.#unit, { pose: this.#pose, calm: this.#calm });
    for (const avatar of this.#avatars.values()) avatar.update(this.#time, dt, this.#unit, { calm: this.#calm });
    this.#look(dt);
    this.#renderer.render(this.#scene, this.#camera);
  }

  #steer(dt) {
    const steer = [0, 0];
    for (const key of this.#keys) STEER[key].forEach((value, axis) => (steer[axis] += value));
    const length = Math.hypot(...steer);
    let way;
    if (length) {
      this.#route = [];
      const [sin, cos] = [Math.sin(this.#yaw), Math.cos(this.#yaw)];
      way = [(steer[0] * cos + steer[1] * sin) / length, (steer[1] * cos - steer[0] * sin) / length, SPEED * dt];
    } else if (this.#route.length) {
      const gap = [this.#route[0].x - this.#pose.x, this.#route[0].z - this.#pose.z];
      const distance = Math.hypot(...gap);
      if (distance < 0.06) this.#route.shift();
      else way = [gap[0] / distance, gap[1] / distance, Math.min(SPEED * dt, distance)];
    }
    this.#marker.visible = this.#route.length > 0;
    if (!way) return;
    const [dx, dz, far] = way;
    const next = step(this.#pose, dx * far, dz * far);
    const went = Math.hypot(next.x - this.#pose.x, next.z - this.#pose.z);
    // Something stands in the way of a route: it ends here.
    if (went < far * 0.05 && this.#route.length) this.#route = [];
    const ry = turned(this.#pose.ry, Math.atan2(dx, dz), 1 - Math.exp(-dt * 16));
    this.#pose = { x: next.x, z: next.z, ry: Math.atan2(Math.sin(ry), Math.cos(ry)) };
    this.#onPose(this.#pose);
  }

  #look(dt) {
    const ease = this.#calm ? 1 : 1 - Math.exp(-dt * 5);
    this.#focus.x += (this.#pose.x - this.#focus.x) * ease;
    this.#focus.z += (this.#pose.z - this.#focus.z) * ease;
    const tall = this.#camera.aspect < 0.8;
    const [back, up, aim] = tall ? [12.5, 6, 1.9] : [10.6, 4.4, 2.75];
    this.#camera.position.set(this.#focus.x + Math.sin(this.#yaw) * back, up, this.#focus.z + Math.cos(this.#yaw) * back);
    this.#camera.lookAt(this.#focus.x, aim, this.#focus.z);
  }

  /** Fewer pixels where frames take too long: a slow machine stays usable. */
  #adapt(gap) {
    this.#pace += (Math.min(gap, 200) - this.#pace) * 0.04;
    if (this.#fixed || this.#pace < PATIENCE_MS) return;
    if (this.#ratio <= COARSEST) {
      this.#breather = BREATHER_MS;
      return;
    }
    this.#ratio = Math.max(COARSEST, this.#ratio * 0.82);
    this.#pace = 16;
    this.#resize();
  }

  #resize() {
    const { innerWidth: width, innerHeight: height } = window;
    this.#camera.aspect = width / height;
    this.#camera.fov = this.#camera.aspect < 0.8 ? 54 : 45;
    this.#camera.updateProjectionMatrix();
    this.#unit = (2 * Math.tan((this.#camera.fov * Math.PI) / 360)) / height;
    this.#renderer.setPixelRatio(this.#ratio);
    this.#renderer.setSize(width, height, false);
  }
}

/** Whether the processor draws; throws where nothing does. */
function drawsInSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) throw new Error("this browser has no WebGL 2");
  const named = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = named ? String(gl.getParameter(named.UNMASKED_RENDERER_WEBGL)) : "";
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(renderer);
}
