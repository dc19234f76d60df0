/**
 * The client: one connection, its channels, and the promise that no event is lost, repeated or out of order.
 *
 * It builds pusher-js and Echo itself, at the first use, and leaves both accessible (`client.echo`), so that anything
 * written for Echo works beside it on the same connection.
 */

import Echo from "laravel-echo";
import Pusher, { type Channel, type PresenceChannel } from "pusher-js";

import { AuthorizationError, requestSignature, Tokens, type ChannelError, type Signature } from "./authorization.js";
import type { ConnectionStatus, Member, Tap, TappedFrame } from "./connection.js";
import { DeliveryQueue } from "./delivery-queue.js";
import { isRecord, type Frame } from "./frames.js";
import { Liveness } from "./liveness.js";
import { withDefaults, type Logger, type RealtimeOptions, type Settings } from "./options.js";
import { isOnline, observePage, type PageObserver } from "./page.js";
import { attachSeam, type SeamObserver } from "./pusher-seam.js";
import { Reconnector } from "./reconnector.js";
import { Store, type Readable } from "./store.js";
import { SubscriptionHub, type ChannelSubscriber, type Unsubscribe } from "./subscription-hub.js";

export type RealtimeEcho = Echo<"reverb">;

export interface FetchOptions extends RequestInit {
  /** Send the socket id along, so that this connection does not get back the event that the request causes. */
  readonly toOthers?: boolean;
}

export class RealtimeClient {
  readonly #settings: Settings;
  readonly #tokens: Tokens;
  readonly #queue: DeliveryQueue;
  readonly #hub: SubscriptionHub;
  readonly #reconnector: Reconnector;
  readonly #liveness: Liveness;
  readonly #status = new Store<ConnectionStatus>({ state: "idle", attempt: 0 });
  readonly #taps = new Set<Tap>();
  /** One per page, so that the gateway knows a page again when it comes back on another socket. */
  readonly #clientId = randomId();
  #log: Logger | undefined;
  #pusher: Pusher | undefined;
  #echo: RealtimeEcho | undefined;
  #isWanted = false;
  #lastClose: { readonly code?: number; readonly reason?: string } = {};
  #disconnectedHold: (() => void) | undefined;
  #hiddenHold: (() => void) | undefined;
  #stopListening: (() => void) | undefined;

  constructor(options: RealtimeOptions) {
    this.#settings = withDefaults(options);
    this.#tokens = new Tokens(options.tokens);
    this.#queue = new DeliveryQueue(this.#settings.queue, (channels) => {
      this.#hub.resync(channels, "overflow");
    });
    this.#hub = new SubscriptionHub(
      {
        join: (channel) => {
          this.connect();
          this.#channelOf(channel);
        },
        leave: (channel) => {
          this.#leave(channel);
        },
        rejoin: (channel) => {
          const held = this.#pusher?.channel(channel);
          // pusher-js keeps a refused subscription pending for ever and would not send it again.
          if (held) held.subscriptionPending = held.subscribed = false;
          this.#pusher?.subscribe(channel);
        },
        log: (message, ...details) => this.#log?.(message, ...details),
      },
      this.#queue,
      this.#settings.subscriptions,
    );
    this.#reconnector = new Reconnector(
      {
        connect: () => {
          this.#attempt();
        },
        abandon: () => this.#pusher?.disconnect(),
        waiting: (attempt, retryAt) => {
          this.#setStatus({ state: isOnline() ? "waiting" : "offline", attempt, retryAt, ...this.#lastClose });
        },
      },
      this.#settings.backoff,
      this.#settings.random,
    );
    this.#liveness = new Liveness(
      {
        ask: () => this.#pusher?.connection.send_event("pusher:ping", {}),
        lost: () => {
          this.#lost();
        },
        isOnline,
      },
      this.#settings.pongTimeoutMs,
    );
    this.setDebug(this.#settings.debug);
  }

  /** The connection's state, as a store for `useSyncExternalStore`. */
  get status(): Readable<ConnectionStatus> {
    return this.#status;
  }

  /** The Echo instance on this connection; built (and connecting) at the first use. */
  get echo(): RealtimeEcho {
    this.connect();
    return this.#echo ?? this.#build();
  }

  /** Id of the current connection; undefined while there is none. */
  get socketId(): string | undefined {
    return this.#status.get().socketId;
  }

  /** Names of the channels held. */
  get channels(): readonly string[] {
    return this.#hub.channels;
  }

  /** Connect, and stay connected until `disconnect`. Does nothing when already so; after a refusal it tries again. */
  connect(): void {
    if (this.#isWanted && this.#status.get().state !== "refused") return;
    this.#isWanted = true;
    this.#stopListening ??= observePage(this.#page);
    if (this.#pusher) this.#attempt();
    else this.#build();
  }

  /** Close the connection and stay away. Subscriptions are kept for the next `connect`. */
  disconnect(): void {
    this.#isWanted = false;
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#reconnector.cancel();
    this.#setStatus({ state: "idle", attempt: 0 });
    this.#pusher?.disconnect();
  }

  /** Another user, or none: forget where the channels stood and connect anew. */
  userChanged(): void {
    this.#hub.forget();
    this.#queue.clear();
    if (!this.#isWanted) return;
    this.disconnect();
    this.connect();
  }

  /** Listen on a channel by its name on the wire (`private-job.1`). Prefer the typed functions of this package. */
  subscribe(channel: string, subscriber: ChannelSubscriber): Unsubscribe {
    return this.#hub.subscribe(channel, subscriber);
  }

  /** Send a client event (`client-…`) to the other subscribers; false when the channel is not joined now. */
  trigger(channel: string, event: string, data: unknown): boolean {
    const held = this.#pusher?.channel(channel);
    return held?.subscribed === true && held.trigger(event, data);
  }

  /** Who is on a presence channel now; empty while it is not joined. */
  members(channel: string): readonly Member[] {
    if (!channel.startsWith("presence-")) return [];
    const held = this.#pusher?.channel(channel) as PresenceChannel | undefined;
    const members: unknown = held?.members.members;
    return isRecord(members) ? Object.entries(members).map(([id, info]) => ({ id, info })) : [];
  }

  /** Sign the user in on this connection and every later one; server-to-user events then reach `echo`'s user. */
  signIn(): void {
    this.connect();
    this.#pusher?.signin();
  }

  /** Keep deliveries back until the returned function is called: the page is not ready for them. */
  hold(): () => void {
    return this.#queue.hold();
  }

  /** `fetch` with a fresh bearer token and, with `toOthers`, this connection's id. */
  fetch(input: string | URL, { toOthers = false, ...init }: FetchOptions = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (toOthers && this.socketId !== undefined) headers.set("X-Socket-ID", this.socketId);
    return this.#tokens.fetch(input, { ...init, headers });
  }

  /** See every frame in both directions. */
  tap(tap: Tap): Unsubscribe {
    this.#taps.add(tap);
    return () => this.#taps.delete(tap);
  }

  setDebug(debug: boolean | Logger): void {
    this.#log =
      typeof debug === "function"
        ? debug
        : debug
          ? (message, ...details) => {
              console.debug(`[realtime] ${message}`, ...details);
            }
          : undefined;
  }

  #build(): RealtimeEcho {
    const settings = this.#settings;
    const { host, port, path, isSecure } = settings.endpoint;
    this.#setStatus({ state: isOnline() ? "connecting" : "offline", attempt: 0 });
    const pusher = new Pusher(settings.key, {
      cluster: "",
      wsHost: host,
      wsPort: port,
      wssPort: port,
      wsPath: path,
      httpHost: host,
      httpPort: port,
      httpsPort: port,
      httpPath: path,
      forceTLS: isSecure,
      // pusher-js calls a transport `ws` whether it is encrypted or not; its `wss` is a second try with TLS.
      enabledTransports: [...new Set(settings.transports.map((name) => (name === "wss" ? "ws" : name)))],
      activityTimeout: settings.activityTimeoutMs,
      pongTimeout: settings.pongTimeoutMs,
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, done) => {
          // The hub asks for what it missed by position. For a channel that only Echo's own listeners hold, the
          // gateway keeps the position itself, by this id.
          const tab = this.#hub.holds(channelName) ? {} : { client_id: this.#clientId };
          const params = { socket_id: socketId, channel_name: channelName, ...tab };
          this.#sign(settings.authEndpoint, params, done, (error) => {
            this.#hub.refused(channelName, error);
          });
        },
      },
      userAuthentication: {
        customHandler: ({ socketId }, done) => {
          this.#sign(settings.userAuthEndpoint, { socket_id: socketId }, done as Done);
        },
      },
    });
    this.#pusher = pusher;
    attachSeam(pusher, this.#observer);
    this.#reconnector.attempting();
    if (settings.signIn) pusher.signin();
    this.#echo = new Echo({ broadcaster: "reverb", key: settings.key, client: pusher });
    return this.#echo;
  }

  #sign(endpoint: string, params: Readonly<Record<string, string>>, done: Done, failed?: (error: Refusal) => void): void {
    const isCurrent = (): boolean => this.#pusher?.connection.socket_id === params.socket_id && this.socketId !== undefined;
    requestSignature(this.#tokens, { endpoint, params, isCurrent }).then(
      (signature) => {
        if (signature) done(null, signature);
      },
      (error: unknown) => {
        const failure = error instanceof AuthorizationError ? error : new AuthorizationError(0, String(error));
        failed?.({ type: "AuthError", message: failure.message, status: failure.status });
        done(failure, null);
      },
    );
  }

  readonly #observer: SeamObserver = {
    opened: (socketId, transport) => {
      this.#reconnector.opened();
      this.#lastClose = {};
      this.#setStatus({ state: "connected", attempt: 0, socketId, transport });
    },
    frame: (frame) => {
      this.#liveness.heard();
      this.#tapped("in", frame);
      this.#hub.frame(frame);
    },
    closed: (code, reason) => {
      this.#lastClose = { ...(code !== undefined && { code }), ...(reason && { reason }) };
      this.#log?.("closed", code, reason);
      this.#hub.disconnected();
      // pusher-js has decided by now: `disconnected` without our asking means that the server refused.
      if (this.#isWanted && this.#pusher?.connection.state === "disconnected" && this.#status.get().state === "connected") {
        this.#setStatus({ state: "refused", attempt: 0, ...this.#lastClose });
      }
    },
    subscribeExtras: (channel) => {
      const position = this.#hub.position(channel);
      return position && { recover: position };
    },
    sending: (event, data, channel) => {
      this.#tapped("out", { event, data, ...(channel !== undefined && { channel }) });
    },
    retryWanted: () => {
      this.#lost();
    },
    attemptFailed: () => {
      const { state, retryAt } = this.#status.get();
      const isAttempting = retryAt === undefined && (state === "connecting" || state === "offline");
      if (this.#isWanted && this.#settings.isWebSocketOnly && isAttempting) this.#reconnector.failed();
    },
  };

  readonly #page: PageObserver = {
    network: () => {
      if (isOnline()) this.#hurry();
      this.#doubt();
    },
    seen: () => {
      this.#hiddenHold?.();
      this.#hiddenHold = undefined;
      this.#hurry();
      this.#doubt(); // the machine may have slept meanwhile
    },
    hidden: () => {
      if (this.#settings.queueWhileHidden) this.#hiddenHold ??= this.#queue.hold();
    },
  };

  #lost(): void {
    this.#hub.disconnected();
    if (this.#isWanted) this.#reconnector.failed();
  }

  #doubt(): void {
    if (this.#status.get().state === "connected") this.#liveness.doubt();
  }

  #hurry(): void {
    const { state } = this.#status.get();
    if (state === "waiting" || state === "offline") this.#reconnector.hurry();
  }

  #attempt(): void {
    this.#setStatus({ state: isOnline() ? "connecting" : "offline", attempt: this.#status.get().attempt });
    this.#reconnector.attempting();
    this.#pusher?.connect();
  }

  #channelOf(channel: string): Channel | undefined {
    const echo = this.#echo ?? this.#build();
    const [, prefix, name = channel] = /^(private-encrypted-|private-|presence-)(.+)$/.exec(channel) ?? [];
    if (prefix === "presence-") echo.join(name);
    else if (prefix === "private-encrypted-") echo.encryptedPrivate(name);
    else if (prefix === "private-") echo.private(name);
    else echo.channel(channel);
    return this.#pusher?.channel(channel);
  }

  #leave(channel: string): void {
    const held = this.#pusher?.channel(channel);
    // Somebody may listen through Echo itself, in the console say: then the channel stays.
    const isUsed = held && (held.global_callbacks.length > 0 || Object.keys(held.callbacks._callbacks).length > 0);
    if (!isUsed) this.#echo?.leaveChannel(channel);
  }

  #setStatus(status: ConnectionStatus): void {
    const isUp = status.state === "connected";
    if (isUp) {
      this.#disconnectedHold?.();
      this.#disconnectedHold = undefined;
    } else if (this.#status.get().state === "connected") {
      this.#liveness.stop();
      this.#disconnectedHold ??= this.#queue.hold();
    }
    this.#log?.(status.state, status);
    this.#status.set(status);
  }

  #tapped(direction: TappedFrame["direction"], frame: Frame): void {
    this.#log?.(direction === "in" ? "←" : "→", frame);
    for (const tap of this.#taps) tap({ direction, at: Date.now(), frame });
  }
}

type Done = (error: Error | null, data: Signature | null) => void;
type Refusal = Required<ChannelError>;

/** 128 random bits. Not `crypto.randomUUID`, which pages without TLS do not have. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Make a client. It connects at the first subscription or at `connect()`. */
export function createRealtime(options: RealtimeOptions): RealtimeClient {
  return new RealtimeClient(options);
}
