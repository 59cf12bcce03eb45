/** Where the numbers come from: a table row is worth nothing without its machine. */
import os from "node:os";

export function describe(chromium, versions) {
  const cpus = os.cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus[0]?.model.trim() || "unknown",
    cores: cpus.length,
    memoryGB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.arch()}`,
    load: os.loadavg()[0],
    node: process.versions.node,
    chromium,
    versions,
  };
}
