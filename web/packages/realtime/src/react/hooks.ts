/** The hooks. Each is a thin shell: state lives in the client, callbacks are read through a ref. */

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";

import { wireChannels } from "../generated/events.js";
import type { RealtimeClient } from "../core/client.js";
import type { ConnectionStatus } from "../core/connection.js";
import { createTyping, watchViewers, type Typist, type Viewers } from "../core/presence.js";
import {
  subscribeToDiscovery,
  subscribeToJob,
  subscribeToUser,
  type DiscoveryEvents,
  type JobEvents,
  type Listener,
  type UserEvents,
} from "../core/subscribe.js";
import type { ChannelSubscriber, Unsubscribe } from "../core/subscription-hub.js";
import { useRealtime } from "./context.js";

export interface WebSocketApi {
  readonly subscribeToDiscovery: (listener: Listener<DiscoveryEvents>) => Unsubscribe;
  readonly subscribeToJob: (jobId: number, listener: Listener<JobEvents>) => Unsubscribe;
  readonly subscribeToUser: (userId: number, listener: Listener<UserEvents>) => Unsubscribe;
}

/** The subscribe functions. They are the same for the life of the client, so they may stand in dependency lists. */
export function useWebSocket(): WebSocketApi {
  const client = useRealtime();
  return useMemo(() => apiOf(client), [client]);
}

function apiOf(client: RealtimeClient): WebSocketApi {
  return {
    subscribeToDiscovery: (listener) => subscribeToDiscovery(client, listener),
    subscribeToJob: (jobId, listener) => subscribeToJob(client, jobId, listener),
    subscribeToUser: (userId, listener) => subscribeToUser(client, userId, listener),
  };
}

/** State of the connection; renders again only when it changes. */
export function useConnectionStatus(): ConnectionStatus {
  const { status } = useRealtime();
  return useSyncExternalStore(status.subscribe, status.get, status.get);
}

/** Listen on any channel while mounted. An inline subscriber does not join again at every render. */
export function useChannel(channel: string | null, subscriber: ChannelSubscriber): void {
  const client = useRealtime();
  const latest = useRef(subscriber);
  useEffect(() => {
    latest.current = subscriber;
  });
  useEffect(() => {
    if (channel === null) return undefined;
    return client.subscribe(channel, {
      event: (event) => latest.current.event?.(event),
      resync: (reason) => latest.current.resync?.(reason),
      error: (error) => latest.current.error?.(error),
      members: () => latest.current.members?.(),
    });
  }, [client, channel]);
}

/** Who is viewing a job, this user included. */
export function useViewers(jobId: number): Viewers {
  const client = useRealtime();
  const store = useMemo(() => watchViewers(client, jobId), [client, jobId]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

export interface TypingHook {
  readonly typists: readonly Typist[];
  /** Call on every key stroke. */
  readonly notify: () => void;
  /** Call when the text was sent or thrown away. */
  readonly stop: () => void;
}

/** Typing indicators on a job's presence channel (default) or its private channel. */
export function useTyping(jobId: number, self: Typist, kind: "presence" | "private" = "presence"): TypingHook {
  const client = useRealtime();
  const { id, name } = self;
  const { typists, notify, stop } = useMemo(() => {
    const channel = kind === "presence" ? wireChannels.presenceJob(jobId) : wireChannels.privateJob(jobId);
    return createTyping(client, channel, { id, name });
  }, [client, jobId, id, name, kind]);
  return { typists: useSyncExternalStore(typists.subscribe, typists.get, typists.get), notify, stop };
}
