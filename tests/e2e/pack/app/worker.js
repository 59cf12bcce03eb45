// The same in a worker, where no import map says what a bare name is.
const query = new URLSearchParams(location.search);

import(`./moorline/${query.get("entry")}.js`).then(({ Moorline }) => {
  const line = new Moorline(query.get("ws"));
  line.connect();
  line.observe?.();
  setInterval(() => postMessage(line.explain().join("; ")), 20);
});
