/**
 * Text in the scene: sprites drawn on a canvas, of one size on the screen however far away. What they say is given by
 * avatars.js and signals.js.
 */
import * as THREE from "three";

const FONT = '"Segoe UI", system-ui, -apple-system, "Noto Sans", "DejaVu Sans", sans-serif';
const SHARP = 2;

/** One line in a pill: `lead` in bold after a dot of `color`, then `rest`. */
export class Tag {
  #shown = "";
  #picture = new Picture();
  sprite = this.#picture.sprite;

  show(lead, { rest = "", color = "#ffffff", faded = false } = {}) {
    const wanted = [lead, rest, color, faded].join("\n");
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const [bold, plain] = [`600 13px ${FONT}`, `400 13px ${FONT}`];
    const [leadWidth, restWidth] = [measure(lead, bold), rest ? measure(rest, plain) + 6 : 0];
    this.#picture.draw(leadWidth + restWidth + 32, 24, (pen, width, height) => {
      pen.globalAlpha = faded ? 0.6 : 1;
      pen.fillStyle = "rgba(15, 18, 36, .74)";
      pill(pen, 0, 0, width, height, 12);
      pen.fillStyle = color;
      pen.beginPath();
      pen.arc(13, height / 2, 4.5, 0, 7);
      pen.fill();
      pen.textBaseline = "middle";
      pen.fillStyle = "#fff6ea";
      pen.font = bold;
      pen.fillText(lead, 23, height / 2 + 0.5);
      pen.font = plain;
      pen.fillStyle = "#cfc6dd";
      if (rest) pen.fillText(rest, 29 + leadWidth, height / 2 + 0.5);
    });
  }

  fit(unit) {
    this.#picture.fit(unit, 0);
  }

  dispose() {
    this.#picture.dispose();
  }
}

/** Some lines in a speech bubble that floats above a tag. */
export class Bubble {
  #picture = new Picture();
  sprite = this.#picture.sprite;

  constructor(text, { mine = false } = {}) {
    const font = `400 14px ${FONT}`;
    const lines = wrapped(text, font, 230, 4);
    const width = Math.max(...lines.map((line) => measure(line, font))) + 26;
    const tall = lines.length * 19 + 16;
    this.#picture.draw(width, tall + 8, (pen) => {
      pen.fillStyle = mine ? "#ffe9c9" : "#fdf7f0";
      pill(pen, 0, 0, width, tall, 12);
      pen.beginPath();
      pen.moveTo(width / 2 - 7, tall - 1);
      pen.lineTo(width / 2, tall + 7);
      pen.lineTo(width / 2 + 7, tall - 1);
      pen.fill();
      pen.fillStyle = "#2a2238";
      pen.font = font;
      pen.textBaseline = "middle";
      lines.forEach((line, n) => pen.fillText(line, 13, 18 + n * 19));
    });
  }

  fit(unit, lift) {
    this.#picture.fit(unit, lift);
  }

  set opacity(value) {
    this.sprite.material.opacity = value;
  }

  dispose() {
    this.#picture.dispose();
  }
}

class Picture {
  #canvas = document.createElement("canvas");
  #texture = null;
  #width = 1;
  #height = 1;
  sprite = new THREE.Sprite(new THREE.SpriteMaterial({ transparent: true, depthTest: false, depthWrite: false, fog: false, sizeAttenuation: false, toneMapped: false }));

  constructor() {
    this.sprite.renderOrder = 10;
  }

  draw(width, height, paint) {
    this.#width = Math.ceil(width);
    this.#height = Math.ceil(height);
    this.#canvas.width = this.#width * SHARP;
    this.#canvas.height = this.#height * SHARP;
    const pen = this.#canvas.getContext("2d");
    pen.scale(SHARP, SHARP);
    paint(pen, this.#width, this.#height);
    this.#texture?.dispose();
    this.#texture = new THREE.CanvasTexture(this.#canvas);
    this.#texture.colorSpace = THREE.SRGBColorSpace;
    this.#texture.generateMipmaps = false;
    this.#texture.minFilter = THREE.LinearFilter;
    this.sprite.material.map = this.#texture;
    this.sprite.material.needsUpdate = true;
  }

  /** `unit` is one CSS pixel of the screen; `lift` moves it up by as many. */
  fit(unit, lift) {
    this.sprite.scale.set(this.#width * unit, this.#height * unit, 1);
    this.sprite.center.set(0.5, -lift / this.#height);
  }

  dispose() {
    this.#texture?.dispose();
    this.sprite.material.dispose();
    this.sprite.removeFromParent();
  }
}

const ruler = document.createElement("canvas").getContext("2d");
function measure(text, font) {
  ruler.font = font;
  return ruler.measureText(text).width;
}

function pill(pen, x, y, width, height, radius) {
  pen.beginPath();
  pen.roundRect(x, y, width, height, radius);
  pen.fill();
}

function wrapped(text, font, width, most) {
  const lines = [""];
  for (const word of text.split(/\s+/).flatMap((long) => long.match(/.{1,24}/gsu) ?? [])) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (measure(longer, font) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
    if (lines.length > most) return [...lines.slice(0, most - 1), `${lines[most - 1]}…`];
  }
  return lines;
}
