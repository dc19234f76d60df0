/**
 * Who listens to which channel, and what each of them may rely on.
 *
 * A channel is joined when its first subscriber comes and left, after a short linger, when the last one is gone. For
 * as long as it is held its position (epoch and offset of the last event) is kept over reconnects; asked for from
 * there, the gateway replays what was missed. A subscriber gets every event once and in order, or `resync`.
 */

import type { EventMeta, Position } from "../generated/events.js";
import type { ChannelError } from "./authorization.js";
import type { DeliveryQueue } from "./delivery-queue.js";
import { isRecord, readPosition, type Frame } from "./frames.js";

/**
 * Why a subscriber should fetch its data (again):
 * - `joined`: its stream begins here. What it fetched earlier may lack something; what it fetches now will not.
 * - `unrecoverable`: after a break the history no longer reached back far enough.
 * - `rejoined`: after a break, on a server that keeps no positions.
 * - `gap`: an offset is missing, for instance that of an event this page caused itself and asked not to get back.
 * - `overflow`: more waited than the queue holds.
 */
export type ResyncReason = "joined" | "unrecoverable" | "rejoined" | "gap" | "overflow";

export interface WireEvent {
  readonly event: string;
  readonly channel: string;
  readonly data: unknown;
  /** Who sent a client event, as the server vouches for it (presence channels only). */
  readonly userId?: string;
  /** Absent for events that are not durable, such as client events. */
  readonly meta?: EventMeta;
}

export interface ChannelSubscriber {
  event?(event: WireEvent): void;
  resync?(reason: ResyncReason): void;
  /** The channel cannot be joined, or the right to it was taken away. */
  error?(error: ChannelError): void;
  /** The member list of a presence channel changed; read it from the channel. */
  members?(): void;
}

export type Unsubscribe = () => void;

/** What the hub needs from the connection. */
export interface ChannelTransport {
  join(channel: string): void;
  leave(channel: string): void;
  /** Ask again for a channel whose subscription was refused. */
  rejoin(channel: string): void;
  log(message: string, ...details: readonly unknown[]): void;
}

export interface HubOptions {
  /** Channels joined at the same time; more wait until one is left. */
  readonly maxChannels: number;
  /** How long a channel without subscribers is kept, for those who come back at once (StrictMode, navigation). */
  readonly lingerMs: number;
}

const REMEMBERED_IDS = 256;
const REFUSAL_RETRY_MS = 1_000;

class Entry {
  readonly name: string;
  readonly subscribers = new Set<ChannelSubscriber>();
  /** Those who came while the channel was not live, and have not been told to fetch yet. */
  readonly newcomers = new Set<ChannelSubscriber>();
  state: "waiting" | "joining" | "live" = "waiting";
  position: Position | undefined;
  /** Whether it was live before, so that a success now is a return. */
  wasLive = false;
  linger: ReturnType<typeof setTimeout> | undefined;
  readonly #ids = new Set<string>();

  constructor(name: string) {
    this.name = name;
  }

  /** Whether the event was seen before; remembers it when not. */
  isRepeat({ id, epoch, offset }: EventMeta): boolean {
    const stood = this.position;
    if (this.#ids.has(id) || (stood?.epoch === epoch && offset <= stood.offset)) return true;
    this.#ids.add(id);
    if (this.#ids.size > REMEMBERED_IDS) {
      const oldest = this.#ids.values().next();
      if (!oldest.done) this.#ids.delete(oldest.value);
    }
    return false;
  }
}

export class SubscriptionHub {
  readonly #transport: ChannelTransport;
  readonly #queue: DeliveryQueue;
  readonly #options: HubOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(transport: ChannelTransport, queue: DeliveryQueue, options: HubOptions) {
    this.#transport = transport;
    this.#queue = queue;
    this.#options = options;
  }

  /** Names of the channels held, for status displays. */
  get channels(): readonly string[] {
    return [...this.#entries.keys()];
  }

  subscribe(channel: string, subscriber: ChannelSubscriber): Unsubscribe {
    const entry = this.#entries.get(channel) ?? this.#open(channel);
    clearTimeout(entry.linger);
    entry.subscribers.add(subscriber);
    if (entry.state === "live") this.#tell(entry, subscriber, (one) => one.resync?.("joined"));
    else entry.newcomers.add(subscriber);
    return () => {
      entry.newcomers.delete(subscriber);
      if (!entry.subscribers.delete(subscriber) || entry.subscribers.size > 0) return;
      clearTimeout(entry.linger);
      entry.linger = setTimeout(() => {
        this.#close(entry);
      }, this.#options.lingerMs);
    };
  }

  holds(channel: string): boolean {
    return this.#entries.has(channel);
  }

  /** The position to ask from when `channel` is subscribed. */
  position(channel: string): Position | undefined {
    return this.#entries.get(channel)?.position;
  }

  /** The connection is gone; pusher-js will subscribe again what is held. */
  disconnected(): void {
    for (const entry of this.#entries.values()) if (entry.state === "live") entry.state = "joining";
  }

  /** Forget all positions: another person is using this page now. */
  forget(): void {
    for (const entry of this.#entries.values()) {
      entry.position = undefined;
      entry.wasLive = false;
    }
  }

  /** Tell all subscribers of these channels to fetch again. */
  resync(channels: Iterable<string>, reason: ResyncReason): void {
    for (const name of channels) {
      const entry = this.#entries.get(name);
      if (entry) this.#tellAll(entry, (one) => one.resync?.(reason));
    }
  }

  /** Authorization by the application failed. */
  refused(channel: string, error: ChannelError): void {
    const entry = this.#entries.get(channel);
    if (!entry) return;
    this.#transport.log(`refused ${channel}`, error);
    entry.state = "joining";
    this.#tellAll(entry, (one) => one.error?.(error));
  }

  frame(frame: Frame): void {
    const entry = frame.channel === undefined ? undefined : this.#entries.get(frame.channel);
    if (!entry) return;
    switch (frame.event) {
      case "pusher_internal:subscription_succeeded":
        this.#joined(entry, frame.data);
        break;
      case "pusher:subscription_error":
        this.#refusedByServer(entry, frame.data);
        break;
      case "pusher_internal:member_added":
      case "pusher_internal:member_removed":
        this.#tellAll(entry, (one) => one.members?.());
        break;
      default:
        if (!frame.event.startsWith("pusher")) this.#deliver(entry, frame);
    }
  }

  #open(channel: string): Entry {
    const entry = new Entry(channel);
    this.#entries.set(channel, entry);
    this.#joinWaiting();
    return entry;
  }

  #close(entry: Entry): void {
    this.#entries.delete(entry.name);
    if (entry.state !== "waiting") this.#transport.leave(entry.name);
    this.#joinWaiting();
  }

  /** Join as many of the waiting channels as the limit allows, first come first served. */
  #joinWaiting(): void {
    const entries = [...this.#entries.values()];
    const waiting = entries.filter((entry) => entry.state === "waiting");
    const free = this.#options.maxChannels - (entries.length - waiting.length);
    for (const entry of waiting.slice(0, Math.max(0, free))) {
      entry.state = "joining";
      this.#transport.join(entry.name);
    }
    if (waiting.length > free) this.#transport.log(`${waiting.length - free} channels wait: limit reached`);
  }

  #joined(entry: Entry, data: unknown): void {
    const answer = isRecord(data) ? data : {};
    const asked = entry.position;
    const returned = entry.wasLive;
    const isRecovered = asked !== undefined && answer.recovered === true;
    entry.state = "live";
    entry.wasLive = true;
    if (!isRecovered) entry.position = readPosition(answer.position);
    this.#transport.log(`joined ${entry.name}`, answer);
    this.#tellAll(entry, (one) => one.members?.());
    const reason = !returned || isRecovered ? "joined" : entry.position ? "unrecoverable" : "rejoined";
    for (const one of isRecovered ? entry.newcomers : entry.subscribers) this.#tell(entry, one, () => one.resync?.(reason));
    entry.newcomers.clear();
  }

  #refusedByServer(entry: Entry, data: unknown): void {
    const { type, error, status } = isRecord(data) ? data : {};
    const code = typeof status === "number" ? status : undefined;
    this.refused(entry.name, {
      type: typeof type === "string" ? type : "SubscriptionError",
      message: typeof error === "string" ? error : "subscription refused",
      ...(code !== undefined && { status: code }),
    });
    // Refused for now (the server's store is away, say), not for good.
    if (code === undefined || code === 429 || (code >= 500 && code < 600)) {
      setTimeout(() => {
        if (this.#entries.get(entry.name) === entry && entry.state === "joining") this.#transport.rejoin(entry.name);
      }, REFUSAL_RETRY_MS * (1 + Math.random()));
    }
  }

  #deliver(entry: Entry, frame: Frame): void {
    const { event, data, userId, meta } = frame;
    const stood = entry.position;
    if (meta) {
      if (entry.isRepeat(meta)) {
        this.#transport.log(`repeat dropped on ${entry.name}`, meta);
        return;
      }
      entry.position = { epoch: meta.epoch, offset: meta.offset };
    }
    const wire: WireEvent = {
      event,
      channel: entry.name,
      data,
      ...(userId !== undefined && { userId }),
      ...(meta && { meta }),
    };
    this.#tellAll(entry, (one) => one.event?.(wire));
    if (meta && stood && (stood.epoch !== meta.epoch || meta.offset !== stood.offset + 1)) {
      this.#transport.log(`gap on ${entry.name}`, stood, meta);
      this.#tellAll(entry, (one) => one.resync?.("gap"));
    }
  }

  /** One delivery for all who subscribe at the time it is made: who left meanwhile gets nothing. */
  #tellAll(entry: Entry, tell: (subscriber: ChannelSubscriber) => void): void {
    for (const subscriber of entry.subscribers) this.#tell(entry, subscriber, tell);
  }

  #tell(entry: Entry, subscriber: ChannelSubscriber, tell: (subscriber: ChannelSubscriber) => void): void {
    this.#queue.push({
      key: entry.name,
      run: () => {
        if (entry.subscribers.has(subscriber)) tell(subscriber);
      },
    });
  }
}
