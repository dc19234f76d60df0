/** What a subscriber is given, and when. */

import { describe, expect, it } from "vitest";

import { subscribeToJob, type TappedFrame } from "../src/index.js";
import { CHANNEL, joined, record, benchOfEachTest } from "./support/bench.js";
import { settle, until } from "./support/poll.js";

const bench = benchOfEachTest();

describe("events", () => {
  it("does not connect before it is used", async () => {
    const client = bench.connect();
    await settle(30);
    expect(bench.gateway.opened).toBe(0);
    expect(client.status.get().state).toBe("idle");
  });

  it("tells a subscriber to fetch once its stream has begun, then delivers in order", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    for (const n of [1, 2, 3]) bench.gateway.publish(CHANNEL, "job.posted", n);
    await until(() => log.length === 4);
    expect(log).toEqual(["resync:joined", 1, 2, 3]);
  });

  it("drops what comes twice, by id and by offset", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", "first", { id: "same" });
    bench.gateway.publish(CHANNEL, "job.posted", "second");
    bench.gateway.send({ event: "job.posted", channel: CHANNEL, data: '"old"', id: "other", epoch: "epoch-0", offset: 1 });
    bench.gateway.publish(CHANNEL, "job.posted", "first again", { id: "same" });
    bench.gateway.publish(CHANNEL, "job.posted", "last");
    await until(() => log.includes("last"));
    expect(log.filter((entry) => !String(entry).startsWith("resync"))).toEqual(["first", "second", "last"]);
  });

  it("says when an offset is missing", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", "mine", { except: String(client.socketId) });
    bench.gateway.publish(CHANNEL, "job.posted", "theirs");
    await until(() => log.includes("resync:gap"));
    expect(log).toEqual(["resync:joined", "theirs", "resync:gap"]);
  });

  it("passes the typed payload first and the whole event second", async () => {
    const client = bench.connect();
    const calls: unknown[] = [];
    subscribeToJob(client, 1, (data, event) => calls.push(data, event.name, event.meta?.offset));
    await until(() => client.channels.length === 1 && bench.gateway.subscribes.length === 1);
    bench.gateway.publish("private-job.1", "job.updated", { jobId: 1, status: "submitted" });
    bench.gateway.publish("private-job.1", "client-typing", {});
    await until(() => calls.length > 0);
    await settle(50);
    expect(calls).toEqual([{ jobId: 1, status: "submitted" }, "job.updated", 1]);
  });
});

describe("waiting pages", () => {
  it("get everything in order once they are ready", async () => {
    const client = bench.connect();
    const release = client.hold();
    const log = record(client);
    await until(() => bench.gateway.subscribes.length === 1);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    bench.gateway.publish(CHANNEL, "job.posted", 2);
    await settle(60);
    expect(log).toEqual([]);
    release();
    await until(() => log.length === 3);
    expect(log).toEqual(["resync:joined", 1, 2]);
  });

  it("are told to fetch when too much came meanwhile", async () => {
    const client = bench.connect({ queue: { limit: 3 } });
    const release = client.hold();
    const log = record(client);
    await until(() => bench.gateway.subscribes.length === 1);
    for (const n of [1, 2, 3, 4]) bench.gateway.publish(CHANNEL, "job.posted", n);
    await settle(60);
    release();
    await until(() => log.length > 0);
    expect(log[0]).toBe("resync:overflow");
  });
});

describe("consoles", () => {
  it("see every frame in both directions", async () => {
    const client = bench.connect();
    const tapped: TappedFrame[] = [];
    client.tap((frame) => tapped.push(frame));
    const log = record(client);
    await joined(client, log);
    bench.gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    expect(tapped.map(({ direction, frame }) => `${direction} ${frame.event}`)).toEqual([
      "out pusher:subscribe",
      "in pusher_internal:subscription_succeeded",
      "in job.posted",
    ]);
  });

  it("log only while debugging is on", async () => {
    const lines: string[] = [];
    const client = bench.connect({ debug: (message) => lines.push(message) });
    client.connect();
    await until(() => client.status.get().state === "connected");
    expect(lines).toContain("connected");
    client.setDebug(false);
    const before = lines.length;
    bench.gateway.drop();
    await until(() => bench.gateway.opened === 2);
    expect(lines).toHaveLength(before);
  });
});
