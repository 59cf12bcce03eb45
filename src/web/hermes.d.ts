import type { RunDialect } from "../ts/run.js";

export declare const dialect: RunDialect;
