// The JavaScript half of src/protocol/observation.rs: what is read from a frame in the page.

export const dialect = {
  name: "observation",
  type: (frame) => frame?.kind,
  topic: (frame) => frame.envelope?.worker_id,
  order: (frame) => {
    const cursor = frame.envelope?.cursor;
    return typeof cursor === "string" && cursor.length === 19 && cursor.startsWith("bo_") ? Number(`0x${cursor.slice(3)}`) : NaN;
  },
};
