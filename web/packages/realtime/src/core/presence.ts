/** Who is viewing a job, and who is typing. */

import { wireChannels } from "../generated/events.js";
import type { ChannelError } from "./authorization.js";
import type { Member, RealtimeClient } from "./client.js";
import { isRecord } from "./frames.js";
import { Store, type Readable } from "./store.js";
import type { Unsubscribe } from "./subscription-hub.js";

/** Join a job's presence channel and be told of every change of who is there (this page's own user included). */
export function subscribeToViewers(
  client: RealtimeClient,
  jobId: number,
  changed: (viewers: readonly Member[]) => void,
  failed?: (error: ChannelError) => void,
): Unsubscribe {
  const channel = wireChannels.presenceJob(jobId);
  return client.subscribe(channel, {
    members: () => {
      changed(client.members(channel));
    },
    error: (error) => {
      changed([]);
      failed?.(error);
    },
  });
}

export interface Typist {
  readonly id: string;
  readonly name: string;
}

export interface Typing {
  /** Who types now, this page's user excluded. */
  readonly typists: Readable<readonly Typist[]>;
  /** Call on every key stroke; at most one event per `EVERY_MS` goes out. */
  notify(): void;
  /** Tell the others at once that the text was sent or thrown away. */
  stop(): void;
  close(): void;
}

const EVENT = "client-typing";
const EVERY_MS = 2_000;
/** A typist who sends nothing for so long has stopped. */
const FADE_MS = 4_000;

/**
 * Typing indicators on a private or presence channel.
 *
 * On a presence channel the server vouches for who types; on a private one it is what the sender says.
 */
export function createTyping(client: RealtimeClient, channel: string, self: Typist): Typing {
  const typists = new Store<readonly Typist[]>([]);
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  let sentAt = -Infinity;

  const drop = (id: string): void => {
    clearTimeout(timers.get(id));
    if (timers.delete(id)) typists.set(typists.get().filter((typist) => typist.id !== id));
  };
  const unsubscribe = client.subscribe(channel, {
    event: ({ event, data, userId }) => {
      if (event !== EVENT || !isRecord(data)) return;
      const id = userId ?? String(data.id);
      if (id === self.id) return;
      if (data.isTyping === false) {
        drop(id);
        return;
      }
      const isNew = !timers.has(id);
      clearTimeout(timers.get(id));
      timers.set(id, setTimeout(drop, FADE_MS, id));
      if (isNew) typists.set([...typists.get(), { id, name: String(data.name ?? id) }]);
    },
  });
  return {
    typists,
    notify: () => {
      if (performance.now() - sentAt < EVERY_MS) return;
      if (client.trigger(channel, EVENT, { ...self, isTyping: true })) sentAt = performance.now();
    },
    stop: () => {
      if (sentAt > -Infinity) client.trigger(channel, EVENT, { ...self, isTyping: false });
      sentAt = -Infinity;
    },
    close: () => {
      unsubscribe();
      for (const id of [...timers.keys()]) drop(id);
    },
  };
}
