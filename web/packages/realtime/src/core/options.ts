/** Options of the client, with their defaults in one place. */

import type { TokenSource } from "./authorization.js";
import { DEFAULT_QUEUE, type QueueOptions } from "./delivery-queue.js";
import { DEFAULT_BACKOFF, type BackoffOptions } from "./reconnector.js";
import type { HubOptions } from "./subscription-hub.js";

export type Transport = "ws" | "wss" | "xhr_streaming" | "xhr_polling";

export type Logger = (message: string, ...details: readonly unknown[]) => void;

export interface RealtimeOptions {
  /** `ws://host:8080`, `wss://host` or `https://host/prefix`; what `VITE_WS_URL` holds. */
  readonly url: string;
  /** The application's key. */
  readonly key?: string;
  /** Bearer tokens for authorization; leave out for public channels only. */
  readonly tokens?: TokenSource;
  readonly authEndpoint?: string;
  readonly userAuthEndpoint?: string;
  /** WebSocket first and the HTTP transports when it cannot be opened; name fewer to allow fewer. */
  readonly transports?: readonly Transport[];
  readonly backoff?: Partial<BackoffOptions>;
  readonly queue?: Partial<QueueOptions>;
  readonly subscriptions?: Partial<HubOptions>;
  /** Keep deliveries back while the page is hidden. */
  readonly queueWhileHidden?: boolean;
  /** Sign the user in at every connection (server-to-user events, watchlist). */
  readonly signIn?: boolean;
  /** Silence after which the client asks the server for a sign of life, and how long it waits for one. */
  readonly activityTimeoutMs?: number;
  readonly pongTimeoutMs?: number;
  /** Log to the console (true) or to a function. Can be switched later with `setDebug`. */
  readonly debug?: boolean | Logger;
  /** Source of randomness for jitter, in [0, 1). */
  readonly random?: () => number;
}

const HTTP_ATTEMPT_MS = 20_000;

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly isSecure: boolean;
}

/** Take a WebSocket or HTTP address apart. Throws TypeError when it is neither. */
export function parseEndpoint(url: string): Endpoint {
  const { protocol, hostname, port, pathname } = new URL(url);
  if (!/^(wss?|https?):$/.test(protocol)) throw new TypeError(`not a ws://, wss://, http:// or https:// address: ${url}`);
  const isSecure = protocol === "wss:" || protocol === "https:";
  return {
    host: hostname,
    port: port === "" ? (isSecure ? 443 : 80) : Number(port),
    path: pathname.replace(/\/+$/, ""),
    isSecure,
  };
}

type Defaulted = Omit<RealtimeOptions, "url" | "tokens" | "backoff" | "queue" | "subscriptions">;

const DEFAULTS: Required<Defaulted> = {
  key: "sharedjox",
  authEndpoint: "/broadcasting/auth",
  userAuthEndpoint: "/broadcasting/user-auth",
  transports: ["ws", "wss", "xhr_streaming", "xhr_polling"],
  queueWhileHidden: false,
  signIn: false,
  activityTimeoutMs: 30_000,
  pongTimeoutMs: 6_000,
  debug: false,
  random: Math.random,
};

export function withDefaults(options: RealtimeOptions) {
  const given = { ...DEFAULTS, ...options };
  const isHttpAllowed = given.transports.some((transport) => transport.startsWith("xhr"));
  return {
    ...given,
    endpoint: parseEndpoint(options.url),
    /** A transport that fails at once is then the only one there is. */
    isWebSocketOnly: !isHttpAllowed,
    backoff: {
      ...DEFAULT_BACKOFF,
      ...(isHttpAllowed && { attemptMs: HTTP_ATTEMPT_MS }),
      ...options.backoff,
    },
    queue: { ...DEFAULT_QUEUE, ...options.queue },
    subscriptions: { maxChannels: 100, lingerMs: 500, ...options.subscriptions },
  };
}

export type Settings = ReturnType<typeof withDefaults>;
