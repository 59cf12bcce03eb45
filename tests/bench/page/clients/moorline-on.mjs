/** moorline without DOM events: listeners are given with `on()`. */
import { create as plain, OPTIONS } from "./moorline.mjs";

export const direct = true;
export const create = (url) => plain(url, { ...OPTIONS, target: null });
