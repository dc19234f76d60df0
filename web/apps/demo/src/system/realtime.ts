/** The page's one realtime client. Built once, before the first render. */

import { createRealtime, type RealtimeClient, type RealtimeEcho, type Transport } from "@sharedjox/realtime";

import type { GatewayConfig } from "@/system/config";
import { useAuthStore } from "@/system/stores/useAuthStore";

declare global {
  interface Window {
    /** For the browser's console, as in the architecture document. */
    Echo: RealtimeEcho;
  }
}

const DEBUG_KEY = "sharedjox.debug";
const TRANSPORTS_KEY = "sharedjox.transports";

let client: RealtimeClient | undefined;

export function startRealtime({ url, key }: GatewayConfig): RealtimeClient {
  const transports = localStorage.getItem(TRANSPORTS_KEY)?.split(",") as Transport[] | undefined;
  const created = createRealtime({
    url,
    key,
    tokens: {
      get: () => useAuthStore.getState().accessToken,
      refresh: () => useAuthStore.getState().refresh(),
    },
    debug: localStorage.getItem(DEBUG_KEY) !== null,
    ...(transports && { transports }),
  });
  client = created;
  created.connect();
  window.Echo = created.echo;
  useAuthStore.subscribe((now, before) => {
    if (now.user?.id !== before.user?.id) created.userChanged();
  });
  return created;
}

/** The client that `startRealtime` made. */
export function realtime(): RealtimeClient {
  if (!client) throw new Error("startRealtime has not been called");
  return client;
}

/** Log every frame to the console, from now on and after reloads. */
export function setDebugLogging(isOn: boolean): void {
  if (isOn) localStorage.setItem(DEBUG_KEY, "1");
  else localStorage.removeItem(DEBUG_KEY);
  realtime().setDebug(isOn);
}

export function isDebugLogging(): boolean {
  return localStorage.getItem(DEBUG_KEY) !== null;
}

/** Allow only these transports after the next reload; undefined allows all. */
export function setTransports(transports: readonly Transport[] | undefined): void {
  if (transports) localStorage.setItem(TRANSPORTS_KEY, transports.join(","));
  else localStorage.removeItem(TRANSPORTS_KEY);
}

export function chosenTransports(): string {
  return localStorage.getItem(TRANSPORTS_KEY) ?? "all";
}
