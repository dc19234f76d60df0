import { createRealtime, type RealtimeClient, type RealtimeOptions } from "../../src/index.js";
import type { GatewayDouble } from "./gateway-double.js";

/** A client of the double with times that suit tests. */
export function clientOf(gateway: GatewayDouble, options: Partial<RealtimeOptions> = {}): RealtimeClient {
  return createRealtime({
    url: gateway.url,
    authEndpoint: gateway.authEndpoint,
    userAuthEndpoint: gateway.authEndpoint,
    tokens: { get: () => "token-1" },
    transports: ["ws"],
    backoff: { baseMs: 40, capMs: 200 },
    subscriptions: { lingerMs: 30 },
    ...options,
  });
}
