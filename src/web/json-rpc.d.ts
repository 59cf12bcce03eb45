import type { CallDialect } from "../ts/calls.js";

export declare const dialect: CallDialect;
