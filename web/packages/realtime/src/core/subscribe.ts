/** Typed subscriptions to the marketplace's channels, with the event names and payloads of the contracts. */

import { wireChannels, type EventMeta, type EventPayloads } from "../generated/events.js";
import type { ChannelError } from "./authorization.js";
import type { RealtimeClient } from "./client.js";
import type { ResyncReason, Unsubscribe } from "./subscription-hub.js";

/** An event with its name, so that `switch (event.name)` narrows `event.data`. */
export type NamedEvent<Name extends keyof EventPayloads> = {
  readonly [N in Name]: {
    readonly name: N;
    readonly data: EventPayloads[N];
    readonly channel: string;
    readonly meta?: EventMeta;
  };
}[Name];

export type DiscoveryEvents = "job.posted";
export type JobEvents = "job.claimed" | "job.updated";
export type UserEvents = "wallet.updated" | "notification.created" | "job.claimed";

/** Called with the payload, as Echo does, and with the whole event as a second argument. */
export type EventCallback<Name extends keyof EventPayloads> = (
  data: EventPayloads[Name],
  event: NamedEvent<Name>,
) => void;

/** One function per event, and what else can happen on a channel. */
export type EventHandlers<Name extends keyof EventPayloads> = {
  readonly [N in Name]?: (data: EventPayloads[N], event: NamedEvent<N>) => void;
} & {
  /** Fetch over REST now; see ResyncReason. */
  readonly resync?: (reason: ResyncReason) => void;
  readonly error?: (error: ChannelError) => void;
};

export type Listener<Name extends keyof EventPayloads> = EventCallback<Name> | EventHandlers<Name>;

function subscribeTyped<Name extends keyof EventPayloads>(
  client: RealtimeClient,
  channel: string,
  names: readonly Name[],
  listener: Listener<Name>,
): Unsubscribe {
  const handlers: Partial<Record<string, unknown>> = typeof listener === "function" ? {} : listener;
  const { resync, error } = typeof listener === "function" ? {} : listener;
  return client.subscribe(channel, {
    event: (wire) => {
      if (!(names as readonly string[]).includes(wire.event)) return;
      const handler = typeof listener === "function" ? listener : handlers[wire.event];
      const named = { name: wire.event, data: wire.data, channel, ...(wire.meta && { meta: wire.meta }) };
      // The payload's type is the contract's promise; the gateway passes on what the contracts package encoded.
      if (typeof handler === "function") (handler as EventCallback<Name>)(named.data as never, named as never);
    },
    ...(resync && { resync }),
    ...(error && { error }),
  });
}

/** Newly posted jobs. Public: nobody has to be logged in. */
export function subscribeToDiscovery(client: RealtimeClient, listener: Listener<DiscoveryEvents>): Unsubscribe {
  return subscribeTyped(client, wireChannels.discovery, ["job.posted"], listener);
}

/** What happens to one job; for its client and its claimant. */
export function subscribeToJob(client: RealtimeClient, jobId: number, listener: Listener<JobEvents>): Unsubscribe {
  return subscribeTyped(client, wireChannels.privateJob(jobId), ["job.claimed", "job.updated"], listener);
}

/** A user's own events: wallet, notifications, claims of their jobs. */
export function subscribeToUser(client: RealtimeClient, userId: number, listener: Listener<UserEvents>): Unsubscribe {
  const names = ["wallet.updated", "notification.created", "job.claimed"] as const;
  return subscribeTyped(client, wireChannels.privateUser(userId), names, listener);
}
