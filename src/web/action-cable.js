// The JavaScript half of src/protocol/action_cable.rs: what is read from a frame in the page.

export const dialect = {
  name: "action-cable",
  sessionKey: "moorline-action-cable",
  type: (frame) => frame?.type,
};
