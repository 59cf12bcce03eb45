// The JavaScript half of src/protocol/observation.rs: what is read from a frame in the page.

// A loop takes a quarter of the time of `Number`, for which a text with 0x would have to be made. Capitals are Rust's to read.
function sequence(cursor) {
  let number = 0;
  for (let at = 3; at < 19; at++) {
    const unit = cursor.charCodeAt(at);
    const digit = unit < 58 ? unit - 48 : unit - 87;
    if (digit < 0 || digit > 15 || (unit > 57 && digit < 10)) return NaN;
    number = number * 16 + digit;
  }
  return number;
}

export const dialect = {
  name: "observation",
  type: (frame) => frame?.kind,
  topic: (frame) => frame.envelope?.worker_id,
  order: (frame) => {
    const cursor = frame.envelope?.cursor;
    return typeof cursor === "string" && cursor.length === 19 && cursor.startsWith("bo_") ? sequence(cursor) : NaN;
  },
};
