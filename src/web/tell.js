// What Rust is told by a number alone: `Handle::tell` in mod.rs reads them in this order.

export const CONNECT = 0;
export const DISPOSE = 1;
export const RING = 2;
export const OPENED = 3;
export const BINARY = 4;
export const TOO_LARGE = 5;
export const NOT_JSON = 6;
export const UNRESOLVED = 7;
export const NOTHING_STORED = 8;
export const CORRUPT = 9;
export const RESTORE_DENIED = 10;
export const WRITE_DENIED = 11;
export const ONLINE = 12;
export const OFFLINE = 13;
export const VISIBLE = 14;
export const BACK = 15;
export const RESUMED = 16;
export const PUT_AWAY = 17;
