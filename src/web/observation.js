// The JavaScript half of src/protocol/observation.rs: what is read from a frame in the page.

export const dialect = {
  name: "observation",
  sessionKey: "moorline-observation",
  type: (frame) => frame?.type,
};
