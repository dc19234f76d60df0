/** One double and its clients for each test of a file, with the real pusher-js and Echo over real sockets. */

import { afterEach, beforeEach } from "vitest";

import type { RealtimeClient, RealtimeOptions, WireEvent } from "../../src/index.js";
import { clientOf } from "./client.js";
import { GatewayDouble } from "./gateway-double.js";
import { until } from "./poll.js";

export const CHANNEL = "jobs.discovery";

export interface Bench {
  /** The running test's double. */
  readonly gateway: GatewayDouble;
  /** Make a client of it, which is disconnected after the test. */
  connect(options?: Partial<RealtimeOptions>): RealtimeClient;
}

/** Call it at the top of a test file. */
export function benchOfEachTest(): Bench {
  let gateway: GatewayDouble;
  let clients: RealtimeClient[];
  beforeEach(async () => {
    gateway = await GatewayDouble.start();
    clients = [];
  });
  afterEach(async () => {
    for (const client of clients) client.disconnect();
    await gateway.stop();
  });
  return {
    get gateway() {
      return gateway;
    },
    connect: (options = {}) => {
      const client = clientOf(gateway, options);
      clients.push(client);
      return client;
    },
  };
}

/** Subscribe and write down everything, as `data` or `resync:<reason>` or `error:<status>`. */
export function record(client: RealtimeClient, channel = CHANNEL): unknown[] {
  const log: unknown[] = [];
  client.subscribe(channel, {
    event: (event: WireEvent) => log.push(event.data),
    resync: (reason) => log.push(`resync:${reason}`),
    error: (error) => log.push(`error:${error.status ?? error.type}`),
  });
  return log;
}

/** Wait until the stream of a `record` has begun. */
export async function joined(client: RealtimeClient, log: readonly unknown[]): Promise<void> {
  await until(() => log.includes("resync:joined"), `the first join (${client.status.get().state})`);
}
