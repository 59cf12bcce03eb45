/**
 * Loaded into a server before its own code: no name but localhost is found, so nothing leaves this machine, whatever the
 * server has no setting for. Nothing of it runs in a test.
 */
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";

const notFound = (name) => Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: "ENOTFOUND", hostname: name });
const own = (name) => !name || name === "localhost" || /^[\d.]+$/.test(name) || name.includes(":");

const { lookup } = dns;
dns.lookup = (name, options, callback) =>
  own(name) ? lookup(name, options, callback) : process.nextTick(callback ?? options, notFound(name));
const promised = dns.promises.lookup;
dns.promises.lookup = async (name, options) => {
  if (own(name)) return promised(name, options);
  throw notFound(name);
};
syncBuiltinESMExports();
