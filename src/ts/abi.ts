/** Both halves of the driver, in one chunk: Rust's glue and the page's. */
import * as glue from "#abi/moorline.js";
import { type Given, Page } from "../web/page.js";
import type { Abi } from "./line.js";

export const open: Abi["open"] = (given: Given) => Page.open(glue.Handle, given);
export const init = glue.default;
export const { initSync } = glue;
