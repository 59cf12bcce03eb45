// The JavaScript half of src/protocol/openclaw.rs: what is read from a frame in the page.

export const dialect = {
  name: "openclaw",
  sessionKey: "moorline-openclaw",
  type: (frame) => frame?.type,
  result: (frame) => frame.result,
  delta: (frame, before) => ({ text: before + frame.text, appended: frame.text }),
  whole: (frame) => frame?.text,
  error: (frame) => ({ message: frame?.error?.message ?? "", cause: frame?.error }),
};
