/** After a break nothing is missing, or the subscriber is told. */

import { describe, expect, it } from "vitest";

import { CHANNEL, joined, record, benchOfEachTest } from "./support/bench.js";
import { until } from "./support/poll.js";

const bench = benchOfEachTest();

describe("after a break", () => {
  it("gets what it missed, in order, once, before anything new", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    bench.gateway.drop();
    bench.gateway.publish(CHANNEL, "job.posted", 2);
    bench.gateway.publish(CHANNEL, "job.posted", 3);
    await until(() => log.includes(3));
    bench.gateway.publish(CHANNEL, "job.posted", 4);
    await until(() => log.includes(4));
    expect(log).toEqual(["resync:joined", 1, 2, 3, 4]);
    expect(bench.gateway.subscribes.at(-1)?.recover).toEqual({ epoch: "epoch-0", offset: 1 });
  });

  it("asks from the joining position when no event came before the break", async () => {
    const client = bench.connect();
    bench.gateway.publish(CHANNEL, "job.posted", "before");
    const log = record(client);
    await joined(client, log);
    bench.gateway.drop();
    bench.gateway.publish(CHANNEL, "job.posted", "during");
    await until(() => log.includes("during"));
    expect(log).toEqual(["resync:joined", "during"]);
  });

  it("tells its subscribers to fetch when the history is gone, and goes on from the new head", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    bench.gateway.forget(CHANNEL);
    bench.gateway.drop();
    await until(() => log.includes("resync:unrecoverable"));
    bench.gateway.publish(CHANNEL, "job.posted", 2);
    await until(() => log.includes(2));
    expect(log).toEqual(["resync:joined", 1, "resync:unrecoverable", 2]);
  });

  it("tells its subscribers to fetch on a stock server that keeps no positions", async () => {
    bench.gateway.keepsPositions = false;
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    bench.gateway.drop();
    await until(() => log.includes("resync:rejoined"));
    expect(bench.gateway.subscribes.at(-1)).not.toHaveProperty("recover");
  });

  it("tells who came during the break to fetch, and only them", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    bench.gateway.drop();
    await until(() => client.status.get().state !== "connected");
    const late = record(client);
    bench.gateway.publish(CHANNEL, "job.posted", 2);
    await until(() => late.includes("resync:joined") && late.includes(2));
    expect(log).toEqual(["resync:joined", 1, 2]);
  });

  it("does not take over another user's position", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    client.userChanged();
    await until(() => log.filter((entry) => entry === "resync:joined").length === 2);
    expect(bench.gateway.subscribes.at(-1)).not.toHaveProperty("recover");
  });

  it("recovers channels that are listened to through Echo on the same connection", async () => {
    const client = bench.connect();
    const heard: unknown[] = [];
    const log = record(client);
    client.echo.channel(CHANNEL).listen(".job.posted", (data: unknown) => heard.push(data));
    await joined(client, log);
    bench.gateway.drop();
    bench.gateway.publish(CHANNEL, "job.posted", { n: 1 });
    await until(() => heard.length === 1);
  });
});
