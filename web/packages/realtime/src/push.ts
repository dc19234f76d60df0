/** Web Push: ask, subscribe the browser, and hand the subscription to the application. */

import type { RealtimeClient } from "./core/client.js";
import { isRecord } from "./core/frames.js";

export interface PushOptions {
  /** The service worker that shows the notifications. */
  readonly serviceWorker?: string;
  readonly publicKeyEndpoint?: string;
  readonly subscriptionsEndpoint?: string;
}

export type PushState = "unsupported" | "denied" | "off" | "on";

const DEFAULTS = {
  serviceWorker: "/push-worker.js",
  publicKeyEndpoint: "/api/push/public-key",
  subscriptionsEndpoint: "/api/push/subscriptions",
} as const;

export function isPushSupported(): boolean {
  return typeof window !== "undefined" && "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
}

/** What holds now, without asking the user anything. */
export async function pushState(options: PushOptions = {}): Promise<PushState> {
  if (!isPushSupported()) return "unsupported";
  if (Notification.permission === "denied") return "denied";
  const { serviceWorker } = { ...DEFAULTS, ...options };
  const registration = await navigator.serviceWorker.getRegistration(serviceWorker);
  return (await registration?.pushManager.getSubscription()) ? "on" : "off";
}

/**
 * Turn Web Push on. Call it from a click: browsers only then ask the user.
 *
 * Rejects when the application does not take the subscription; the browser's own subscription is then undone.
 */
export async function enablePush(client: RealtimeClient, options: PushOptions = {}): Promise<PushState> {
  if (!isPushSupported()) return "unsupported";
  if ((await Notification.requestPermission()) !== "granted") return "denied";
  const { serviceWorker, publicKeyEndpoint, subscriptionsEndpoint } = { ...DEFAULTS, ...options };
  const key = await readPublicKey(await client.fetch(publicKeyEndpoint));
  await navigator.serviceWorker.register(serviceWorker);
  const registration = await navigator.serviceWorker.ready;
  const subscription = await registration.pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: decodeBase64Url(key),
  });
  const answer = await client.fetch(subscriptionsEndpoint, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(subscription),
  });
  if (answer.ok) return "on";
  await subscription.unsubscribe();
  throw new Error(`${subscriptionsEndpoint} answered ${answer.status}`);
}

/**
 * Turn Web Push off, here and at the application.
 *
 * Rejects when the application cannot be reached. It is off here all the same, and the push service tells the
 * application with the next message.
 */
export async function disablePush(client: RealtimeClient, options: PushOptions = {}): Promise<PushState> {
  if (!isPushSupported()) return "unsupported";
  const { serviceWorker, subscriptionsEndpoint } = { ...DEFAULTS, ...options };
  const registration = await navigator.serviceWorker.getRegistration(serviceWorker);
  const subscription = await registration?.pushManager.getSubscription();
  if (!subscription) return "off";
  const search = new URLSearchParams({ endpoint: subscription.endpoint });
  try {
    await client.fetch(`${subscriptionsEndpoint}?${search.toString()}`, { method: "DELETE" });
  } finally {
    await subscription.unsubscribe();
  }
  return "off";
}

async function readPublicKey(answer: Response): Promise<string> {
  if (!answer.ok) throw new Error(`no public key for Web Push: ${answer.status}`);
  const body: unknown = await answer.json();
  if (isRecord(body) && typeof body.publicKey === "string") return body.publicKey;
  throw new Error("no public key for Web Push in the answer");
}

/** A VAPID key as browsers want it. */
export function decodeBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const padded = text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "=");
  return Uint8Array.from(atob(padded), (letter) => letter.charCodeAt(0));
}
