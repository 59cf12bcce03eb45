// The JavaScript half of src/protocol/action_cable.rs: what is read from a frame in the page.

export const dialect = {
  name: "action-cable",
  // What has no type and brings a message is data, whatever the message is.
  type: (frame) => frame?.type || (frame?.message === undefined ? undefined : ""),
  topic: (frame) => frame.identifier,
};
