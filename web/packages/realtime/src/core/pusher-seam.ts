/**
 * The four places where we reach into pusher-js, and nowhere else.
 *
 * 1. The transport's `message` event: raw frames, after pusher-js handled them itself. It is the only place where the
 *    members that pusher-js drops can be seen, and it is the same for WebSocket, xhr_streaming and xhr_polling.
 * 2. `pusher.send_event`, which channels call to send `pusher:subscribe`: the place to add `recover`.
 * 3. `connection.retryIn`, through which every reconnect of pusher-js goes: the place for backoff and jitter.
 * 4. `timeline.error`, which a transport calls when it fails before it opens. Without it a refused connection would
 *    only show when pusher-js's own 15 s timer ends.
 *
 * Each is looked for before it is used. Where a later pusher-js lacks one, that feature is off and pusher-js goes on
 * by itself: events still arrive, without recovery, or with pusher-js's own reconnect times.
 */

import type Pusher from "pusher-js";

import { parseFrame, type Frame } from "./frames.js";

export interface SeamObserver {
  /** A connection is up; called before pusher-js subscribes its channels again. */
  opened(socketId: string, transport: string): void;
  /** One frame arrived; pusher-js has handled it already. */
  frame(frame: Frame): void;
  /** The transport of an open connection is gone. */
  closed(code: number | undefined, reason: string | undefined): void;
  /** What to add to the data of a `pusher:subscribe` for this channel. */
  subscribeExtras(channel: string): Readonly<Record<string, unknown>> | undefined;
  /** A frame is about to be sent. */
  sending(event: string, data: unknown, channel: string | undefined): void;
  /** pusher-js wants to reconnect after `delayMs`; the observer does it from here on. */
  retryWanted(delayMs: number): void;
  /** A transport failed before it opened. */
  attemptFailed(): void;
}

interface Emitter {
  bind(event: string, callback: (data: never) => void): unknown;
  unbind(event: string, callback: (data: never) => void): unknown;
}

interface CloseParams {
  readonly code?: number;
  readonly reason?: string;
}

/** Parts of pusher-js that its type declarations hide or leave untyped. */
interface Internals {
  connection: { retryIn?: (delayMs: number) => void };
  timeline?: { error?: (event: unknown) => void };
}

/** Watch `pusher` from now on. Call it before the connection is up. */
export function attachSeam(pusher: Pusher, observer: SeamObserver): () => void {
  const manager: Emitter = pusher.connection;
  let releaseTransport = (): void => undefined;

  const onState = ({ current }: { readonly current: string }): void => {
    if (current !== "connected") return;
    releaseTransport();
    observer.opened(pusher.connection.socket_id, pusher.connection.connection.transport.name);
    releaseTransport = watchTransport(pusher.connection.connection.transport, observer);
  };
  manager.bind("state_change", onState);

  const restoreSend = wrapSend(pusher, observer);
  const restoreInternals = wrapInternals(pusher, observer);
  return () => {
    manager.unbind("state_change", onState);
    releaseTransport();
    restoreSend();
    restoreInternals();
  };
}

function watchTransport(transport: Emitter, observer: SeamObserver): () => void {
  const onMessage = (message: { readonly data?: unknown }): void => {
    const frame = parseFrame(message.data);
    if (frame) observer.frame(frame);
  };
  const onClosed = (params?: CloseParams): void => {
    observer.closed(params?.code, params?.reason);
  };
  transport.bind("message", onMessage);
  transport.bind("closed", onClosed);
  return () => {
    transport.unbind("message", onMessage);
    transport.unbind("closed", onClosed);
  };
}

function wrapSend(pusher: Pusher, observer: SeamObserver): () => void {
  const send = pusher.send_event.bind(pusher);
  pusher.send_event = (event: string, data: unknown, channel?: string): boolean => {
    let payload = data;
    if (event === "pusher:subscribe") {
      const subscribe = data as { readonly channel: string };
      payload = { ...subscribe, ...observer.subscribeExtras(subscribe.channel) };
    }
    observer.sending(event, payload, channel);
    return send(event, payload, channel);
  };
  return () => {
    pusher.send_event = send;
  };
}

function wrapInternals(pusher: Pusher, observer: SeamObserver): () => void {
  const { connection, timeline } = pusher as unknown as Internals;
  const retryIn = connection.retryIn;
  const error = timeline?.error;
  if (retryIn) {
    connection.retryIn = (delayMs) => {
      observer.retryWanted(delayMs);
    };
  }
  if (timeline && error) {
    timeline.error = (event) => {
      error.call(timeline, event);
      if (pusher.connection.state !== "connected") observer.attemptFailed();
    };
  }
  return () => {
    if (retryIn) connection.retryIn = retryIn;
    if (timeline && error) timeline.error = error;
  };
}
