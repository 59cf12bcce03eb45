/** The entry for Action Cable (docs/protocols/action-cable.md), and for pages that come from Rails' own client. */
export { CableSubscription, Moorline } from "./cable.js";
export type { ActionCableOptions, Identifier, PerformOptions, Presence, SubscribeOptions, SubscriptionEventMap, SubscriptionState } from "./cable.js";
export { adapters, Connection, Consumer, createConsumer, createWebSocketURL, getConfig, INTERNAL, logger, Subscription, Subscriptions } from "./consumer.js";
export type { Callbacks } from "./consumer.js";
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
