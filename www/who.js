/**
 * Who this tab is: name, colour and last place, kept in sessionStorage so that a reload finds them. Each tab is
 * somebody of its own, a duplicated one too.
 */
import { arrival } from "./ground.js";

export const SESSION_KEY = "moorline-world-session";
const KEY = "moorline-world-who";
const NAME_LENGTH = 24;

const MOODS = ["Brave", "Quiet", "Merry", "Salty", "Swift", "Gentle", "Misty", "Bright", "Steady", "Lucky", "Tidal", "Amber"];
const BIRDS = ["Puffin", "Heron", "Otter", "Tern", "Seal", "Gannet", "Plover", "Cormorant", "Petrel", "Avocet", "Eider", "Curlew"];
const COLORS = ["#e8685a", "#f0a04b", "#e9c65b", "#7cc57f", "#4fb5b0", "#5f9be6", "#9a82e0", "#d97bb5"];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

export class Who {
  id = null;
  name;
  color;
  x;
  z;
  ry;
  #tab;

  constructor() {
    this.#assume(kept() ?? {});
    addEventListener("pagehide", () => this.keep());
    this.keep();
  }

  /** Somebody else, if another open tab is already this one: the browser copies sessionStorage when it duplicates a tab. */
  async alone() {
    if (!navigator.locks) return;
    const held = (tab) =>
      new Promise((resolve) => {
        const signal = AbortSignal.timeout(600);
        const forAsLongAsThePageLives = () => new Promise(() => resolve(true));
        navigator.locks.request(`moorline-world-${tab}`, { signal }, forAsLongAsThePageLives).catch(() => resolve(false));
      });
    if (await held(this.#tab)) return;
    try {
      sessionStorage.removeItem(SESSION_KEY);
    } catch {
      // Without storage there is nothing that two tabs could share.
    }
    this.#assume({});
    this.keep();
    await held(this.#tab);
  }

  /** Takes a new name; an empty one leaves the old. */
  rename(name) {
    this.name = clean(name) || this.name;
    this.keep();
  }

  keep() {
    const { name, color, x, z, ry } = this;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ tab: this.#tab, name, color, x, z, ry }));
    } catch {
      // A page without storage is somebody new after each reload, and nothing worse.
    }
  }

  #assume({ tab, name, color, x, z, ry }) {
    const here = [x, z, ry].every(Number.isFinite) ? { x, z, ry } : { ...arrival(), ry: Math.PI + (Math.random() - 0.5) };
    this.#tab = typeof tab === "string" ? tab : Math.random().toString(36).slice(2);
    this.name = clean(name) || `${pick(MOODS)} ${pick(BIRDS)}`;
    this.color = COLORS.includes(color) ? color : pick(COLORS);
    Object.assign(this, here);
  }
}

const clean = (name) => (typeof name === "string" ? name.replace(/\s+/g, " ").trim().slice(0, NAME_LENGTH) : "");

function kept() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY));
    return typeof found === "object" ? found : null;
  } catch {
    return null;
  }
}
