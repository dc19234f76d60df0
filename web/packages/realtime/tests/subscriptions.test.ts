/** Channels are held once for many subscribers, and within a limit. */

import { describe, expect, it } from "vitest";

import { subscribeToDiscovery } from "../src/index.js";
import { CHANNEL, joined, record, benchOfEachTest } from "./support/bench.js";
import { settle, until } from "./support/poll.js";

const bench = benchOfEachTest();

describe("subscriptions", () => {
  it("join once for many subscribers and leave after the last one", async () => {
    const client = bench.connect();
    const log = record(client);
    const stop = subscribeToDiscovery(client, () => undefined);
    await joined(client, log);
    stop();
    stop();
    await settle(80);
    expect(bench.gateway.subscribes).toHaveLength(1);
    expect(bench.gateway.unsubscribes).toEqual([]);
  });

  it("outlive a remount that follows at once", async () => {
    const client = bench.connect();
    const stop = subscribeToDiscovery(client, () => undefined);
    await until(() => bench.gateway.subscribes.length === 1);
    stop();
    const log = record(client);
    await joined(client, log);
    await settle(80);
    expect(bench.gateway.subscribes).toHaveLength(1);
    expect(bench.gateway.unsubscribes).toEqual([]);
  });

  it("give nothing to a subscriber that has left", async () => {
    const client = bench.connect();
    const log = record(client);
    const calls: unknown[] = [];
    const stop = subscribeToDiscovery(client, (data) => calls.push(data));
    await joined(client, log);
    stop();
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    expect(calls).toEqual([]);
  });

  it("beyond the limit wait until one is left", async () => {
    const client = bench.connect({ subscriptions: { maxChannels: 2, lingerMs: 0 } });
    const stop = client.subscribe("a", {});
    client.subscribe("b", {});
    const log = record(client, "c");
    await until(() => bench.gateway.subscribes.length === 2);
    await settle(50);
    expect(bench.gateway.subscribes.map(({ channel }) => channel)).toEqual(["a", "b"]);
    stop();
    await joined(client, log);
    expect(bench.gateway.unsubscribes).toEqual(["a"]);
  });

  it("leave a channel alone that is listened to through Echo", async () => {
    const client = bench.connect();
    const heard: unknown[] = [];
    const stop = subscribeToDiscovery(client, () => undefined);
    client.echo.channel(CHANNEL).listen(".job.posted", (data: unknown) => heard.push(data));
    await until(() => bench.gateway.subscribes.length === 1);
    stop();
    await settle(80);
    bench.gateway.publish(CHANNEL, "job.posted", { n: 1 });
    await until(() => heard.length === 1);
    expect(bench.gateway.unsubscribes).toEqual([]);
  });
});
