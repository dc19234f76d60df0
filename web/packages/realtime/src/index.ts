export { createRealtime, RealtimeClient } from "./core/client.js";
export type { FetchOptions, RealtimeEcho } from "./core/client.js";
export type { ConnectionState, ConnectionStatus, Member, Tap, TappedFrame } from "./core/connection.js";
export type { Logger, RealtimeOptions, Transport } from "./core/options.js";
export type { ChannelError, TokenSource } from "./core/authorization.js";
export type { Frame } from "./core/frames.js";
export type { Readable } from "./core/store.js";
export type { ChannelSubscriber, ResyncReason, Unsubscribe, WireEvent } from "./core/subscription-hub.js";
export { subscribeToDiscovery, subscribeToJob, subscribeToUser } from "./core/subscribe.js";
export type {
  DiscoveryEvents,
  EventCallback,
  EventHandlers,
  JobEvents,
  Listener,
  NamedEvent,
  UserEvents,
} from "./core/subscribe.js";
export { createTyping, watchViewers } from "./core/presence.js";
export type { Typing, Typist, Viewers } from "./core/presence.js";
export * from "./generated/events.js";
