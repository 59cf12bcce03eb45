/** How times are taken in a page: in tasks of their own, and without what the machine did meanwhile. */

/** Runs `step` again and again, each time in a task of its own, until it answers `false`. */
export function tasks(step) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      if (step()) return port2.postMessage(0);
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** The mean of what lies between the 5th and the 50th percentile: interruptions and garbage collection are out of it. */
export function trimmed(times) {
  times.sort((a, b) => a - b);
  const kept = times.slice(Math.floor(times.length * 0.05), Math.max(1, Math.ceil(times.length * 0.5)));
  return kept.reduce((sum, time) => sum + time, 0) / kept.length;
}
