// In the page: consumers and subscriptions by name, and a log of every callback. It is the same script over both clients.
import { createConsumer } from "cable";

const CALLBACKS = ["initialized", "connected", "disconnected", "rejected", "received"];

const log = [];
const taken = new Map();
const watchers = new Set();
const consumers = {};
const subscriptions = {};

function note(who, what, args) {
  log.push({ who, what, detail: args[0], given: args.length, at: Date.now() });
  for (const look of [...watchers]) look();
}

function consumer(name, url) {
  return (consumers[name] = createConsumer(url));
}

// A subscription whose every callback is noted under its name; `more` is mixed in as well.
function subscribe(name, params, { on = "main", more = {} } = {}) {
  const mixin = { ...more };
  for (const what of CALLBACKS) {
    mixin[what] = function (...args) {
      note(name, what, args);
      more[what]?.apply(this, args);
    };
  }
  subscriptions[name] = consumers[on].subscriptions.create(params, mixin);
  return subscriptions[name];
}

// What the next such callback was given, of those that no earlier call has answered with. The caller holds the deadline: the
// page's own clock may be made to hurry.
function next(who, what) {
  const key = `${who} ${what}`;
  return new Promise((resolve) => {
    const look = () => {
      const seen = taken.get(key) ?? 0;
      const found = log.filter((entry) => entry.who === who && entry.what === what)[seen];
      if (!found) return;
      watchers.delete(look);
      taken.set(key, seen + 1);
      resolve(found.detail);
    };
    watchers.add(look);
    look();
  });
}

globalThis.cable = { createConsumer, consumers, subscriptions, log, consumer, subscribe, next };
