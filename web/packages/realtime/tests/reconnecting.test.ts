/** When the client connects again, and when it does not. */

import { describe, expect, it } from "vitest";

import { CHANNEL, joined, record, benchOfEachTest } from "./support/bench.js";
import { settle, until } from "./support/poll.js";

const bench = benchOfEachTest();

describe("connecting again", () => {
  it.each([
    [4200, "please reconnect"],
    [4100, "over capacity"],
    [1001, "going away"],
    [1011, "fault"],
  ])("happens after close code %i", async (code, reason) => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.drop(code, reason);
    await until(() => bench.gateway.opened === 2 && client.status.get().state === "connected");
    await settle(300);
    expect(bench.gateway.opened).toBe(2);
  });

  it("never happens after a refusal, until it is asked for", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    bench.gateway.drop(4009, "session revoked");
    await until(() => client.status.get().state === "refused");
    expect(client.status.get()).toMatchObject({ code: 4009, reason: "session revoked" });
    await settle(300);
    expect(bench.gateway.opened).toBe(1);
    client.connect();
    await until(() => client.status.get().state === "connected");
  });

  it("comes soon after the server is back, not after pusher-js's fifteen seconds", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    await bench.gateway.stop();
    await until(() => client.status.get().attempt >= 3, "three attempts");
    expect(client.status.get().retryAt).toBeDefined();
    await bench.gateway.listen();
    bench.gateway.publish(CHANNEL, "job.posted", "missed");
    await until(() => log.includes("missed"), "recovery", 2_000);
    expect(client.status.get().attempt).toBe(0);
  });

  it("does not happen after disconnect, and keeps the subscriptions for the next connect", async () => {
    const client = bench.connect();
    const log = record(client);
    await joined(client, log);
    client.disconnect();
    expect(client.status.get()).toEqual({ state: "idle", attempt: 0 });
    await settle(300);
    expect(bench.gateway.opened).toBe(1);
    bench.gateway.publish(CHANNEL, "job.posted", "away");
    client.connect();
    await until(() => log.includes("away"));
  });

  it("is a new object in the status store only when something changed", async () => {
    const client = bench.connect();
    const states: string[] = [];
    client.status.subscribe(() => states.push(client.status.get().state));
    client.connect();
    await until(() => client.status.get().state === "connected");
    expect(client.status.get()).toBe(client.status.get());
    bench.gateway.drop();
    await until(() => states.at(-1) === "connected" && states.length > 2);
    expect(states).toEqual(["connecting", "connected", "waiting", "connecting", "connected"]);
    expect(client.status.get()).toMatchObject({ transport: "ws", socketId: "2.14" });
  });
});
