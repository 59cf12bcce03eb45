import type { Dialect } from "../ts/protocol.js";

export declare const dialect: Dialect;
