/** Who is viewing a job, and who is typing. Both join their channel with the first listener and leave with the last. */

import { wireChannels } from "../generated/events.js";
import type { ChannelError } from "./authorization.js";
import type { RealtimeClient } from "./client.js";
import type { Member } from "./connection.js";
import { isRecord } from "./frames.js";
import { Store, type Readable } from "./store.js";

export interface Viewers {
  /** Everybody who is there, this page's own user included. */
  readonly viewers: readonly Member[];
  /** Why this page is not there itself. */
  readonly error: ChannelError | null;
}

const NOBODY: Viewers = { viewers: [], error: null };

/** Who is viewing a job; being watched is being there. */
export function watchViewers(client: RealtimeClient, jobId: number): Readable<Viewers> {
  const channel = wireChannels.presenceJob(jobId);
  const store = new Store(NOBODY, () => {
    const leave = client.subscribe(channel, {
      members: () => store.set({ viewers: client.members(channel), error: null }),
      error: (error) => store.set({ viewers: [], error }),
    });
    return () => {
      leave();
      store.set(NOBODY);
    };
  });
  return store;
}

export interface Typist {
  readonly id: string;
  readonly name: string;
}

export interface Typing {
  /** Who types now, this page's user excluded. */
  readonly typists: Readable<readonly Typist[]>;
  /** Call on every key stroke; at most one event per `EVERY_MS` goes out. */
  readonly notify: () => void;
  /** Tell the others at once that the text was sent or thrown away. */
  readonly stop: () => void;
}

const EVENT = "client-typing";
const EVERY_MS = 2_000;
/** A typist who sends nothing for so long has stopped. */
const FADE_MS = 4_000;
const NO_TYPISTS: readonly Typist[] = [];

/**
 * Typing indicators on a private or presence channel. Events only go out while `typists` is listened to.
 *
 * On a presence channel the server vouches for who types; on a private one it is what the sender says.
 */
export function createTyping(client: RealtimeClient, channel: string, self: Typist): Typing {
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  let sentAt = -Infinity;

  const drop = (id: string): void => {
    clearTimeout(timers.get(id));
    if (timers.delete(id)) typists.set(typists.get().filter((typist) => typist.id !== id));
  };
  const heard = (typist: Typist, isTyping: boolean): void => {
    const isNew = !timers.has(typist.id);
    if (!isTyping) {
      drop(typist.id);
      return;
    }
    clearTimeout(timers.get(typist.id));
    timers.set(typist.id, setTimeout(drop, FADE_MS, typist.id));
    if (isNew) typists.set([...typists.get(), typist]);
  };
  const typists = new Store(NO_TYPISTS, () => {
    const leave = client.subscribe(channel, {
      event: ({ event, data, userId }) => {
        if (event !== EVENT || !isRecord(data)) return;
        const id = userId ?? textOf(data.id);
        if (id && id !== self.id) heard({ id, name: textOf(data.name) || id }, data.isTyping !== false);
      },
    });
    return () => {
      leave();
      for (const id of [...timers.keys()]) drop(id);
    };
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
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}
