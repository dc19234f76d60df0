/** Where the gateway is: told at build time, by the server at run time, or derived from the page's own address. */

export interface GatewayConfig {
  readonly url: string;
  readonly key: string;
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];

/** Whether this page belongs to somebody's own machine, where the demo accounts exist. */
export function isLocalPage({ hostname }: Pick<Location, "hostname"> = location): boolean {
  return LOOPBACK.includes(hostname) || hostname.endsWith(".localhost");
}

/** The gateway beside this page: port 8080 of the same host, or behind the same balancer when the page has TLS. */
export function derivedUrl({ protocol, host, hostname }: Pick<Location, "protocol" | "host" | "hostname">): string {
  return protocol === "https:" ? `wss://${host}` : `ws://${hostname}:8080`;
}

/** `/config.json` of the server, `VITE_WS_URL` of the build, or what the address says; in this order. */
export async function loadGatewayConfig(): Promise<GatewayConfig> {
  const served = await servedConfig();
  return {
    url: served.url ?? import.meta.env.VITE_WS_URL ?? derivedUrl(location),
    key: served.key ?? import.meta.env.VITE_REVERB_APP_KEY ?? "sharedjox",
  };
}

async function servedConfig(): Promise<Partial<GatewayConfig>> {
  try {
    const answer = await fetch("/config.json", { signal: AbortSignal.timeout(2_000) });
    if (!answer.ok || !answer.headers.get("content-type")?.includes("json")) return {};
    const { websocketUrl, appKey } = (await answer.json()) as { websocketUrl?: string; appKey?: string };
    return { ...(websocketUrl && { url: websocketUrl }), ...(appKey && { key: appKey }) };
  } catch {
    return {};
  }
}
