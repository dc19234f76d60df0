/** The hooks. Each is a thin shell: state lives in the client, callbacks are read through a ref. */

import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { wireChannels } from "../generated/events.js";
import type { ChannelError } from "../core/authorization.js";
import type { ConnectionStatus, Member, RealtimeClient } from "../core/client.js";
import { createTyping, subscribeToViewers, type Typing, type Typist } from "../core/presence.js";
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

export interface Viewers {
  readonly viewers: readonly Member[];
  readonly error: ChannelError | null;
}

const NOBODY: Viewers = { viewers: [], error: null };

/** Who is viewing a job, this user included. */
export function useViewers(jobId: number | null): Viewers {
  const client = useRealtime();
  const [state, setState] = useState<Viewers>(NOBODY);
  useEffect(() => {
    if (jobId === null) return undefined;
    const leave = subscribeToViewers(
      client,
      jobId,
      (viewers) => {
        setState({ viewers, error: null });
      },
      (error) => {
        setState({ viewers: [], error });
      },
    );
    return () => {
      leave();
      setState(NOBODY);
    };
  }, [client, jobId]);
  return state;
}

export interface TypingHook {
  readonly typists: readonly Typist[];
  /** Call on every key stroke. */
  readonly notify: () => void;
  /** Call when the text was sent or thrown away. */
  readonly stop: () => void;
}

const NO_TYPISTS: readonly Typist[] = [];
const noTypists = (): readonly Typist[] => NO_TYPISTS;

/** Typing indicators on a job's presence channel (default) or its private channel. */
export function useTyping(
  jobId: number | null,
  self: Typist | null,
  kind: "presence" | "private" = "presence",
): TypingHook {
  const client = useRealtime();
  const [typing, setTyping] = useState<Typing | null>(null);
  const id = self?.id;
  const name = self?.name;
  useEffect(() => {
    if (jobId === null || id === undefined || name === undefined) return undefined;
    const channel = kind === "presence" ? wireChannels.presenceJob(jobId) : wireChannels.privateJob(jobId);
    const created = createTyping(client, channel, { id, name });
    setTyping(created);
    return () => {
      setTyping(null);
      created.close();
    };
  }, [client, jobId, id, name, kind]);
  const subscribe = useCallback((changed: () => void) => typing?.typists.subscribe(changed) ?? (() => undefined), [typing]);
  const get = typing?.typists.get ?? noTypists;
  return {
    typists: useSyncExternalStore(subscribe, get, get),
    notify: useCallback(() => typing?.notify(), [typing]),
    stop: useCallback(() => typing?.stop(), [typing]),
  };
}
