/** The client with the real pusher-js and Echo, over real sockets, against the double. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import {
  subscribeToDiscovery,
  subscribeToJob,
  type RealtimeClient,
  type RealtimeOptions,
  type TappedFrame,
  type WireEvent,
} from "../src/index.js";
import { clientOf } from "./support/client.js";
import { GatewayDouble, signature } from "./support/gateway-double.js";
import { settle, until } from "./support/poll.js";

const CHANNEL = "jobs.discovery";

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

function connect(options: Partial<RealtimeOptions> = {}): RealtimeClient {
  const client = clientOf(gateway, options);
  clients.push(client);
  return client;
}

/** Subscribe and write down everything, as `data` or `resync:<reason>` or `error:<status>`. */
function record(client: RealtimeClient, channel = CHANNEL): unknown[] {
  const log: unknown[] = [];
  client.subscribe(channel, {
    event: (event: WireEvent) => log.push(event.data),
    resync: (reason) => log.push(`resync:${reason}`),
    error: (error) => log.push(`error:${error.status ?? error.type}`),
  });
  return log;
}

async function joined(client: RealtimeClient, log: unknown[]): Promise<void> {
  await until(() => log.includes("resync:joined"), `the first join (${client.status.get().state})`);
}

describe("events", () => {
  it("does not connect before it is used", async () => {
    const client = connect();
    await settle(30);
    expect(gateway.opened).toBe(0);
    expect(client.status.get().state).toBe("idle");
  });

  it("tells a subscriber to fetch once its stream has begun, then delivers in order", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    for (const n of [1, 2, 3]) gateway.publish(CHANNEL, "job.posted", n);
    await until(() => log.length === 4);
    expect(log).toEqual(["resync:joined", 1, 2, 3]);
  });

  it("drops what comes twice, by id and by offset", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", "first", { id: "same" });
    gateway.publish(CHANNEL, "job.posted", "second");
    gateway.send({ event: "job.posted", channel: CHANNEL, data: '"old"', id: "other", epoch: "epoch-0", offset: 1 });
    gateway.publish(CHANNEL, "job.posted", "first again", { id: "same" });
    gateway.publish(CHANNEL, "job.posted", "last");
    await until(() => log.includes("last"));
    expect(log.filter((entry) => !String(entry).startsWith("resync"))).toEqual(["first", "second", "last"]);
  });

  it("says when an offset is missing", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", "mine", { except: String(client.socketId) });
    gateway.publish(CHANNEL, "job.posted", "theirs");
    await until(() => log.includes("resync:gap"));
    expect(log).toEqual(["resync:joined", "theirs", "resync:gap"]);
  });

  it("passes the typed payload first and the whole event second", async () => {
    const client = connect();
    const calls: unknown[] = [];
    subscribeToJob(client, 1, (data, event) => calls.push(data, event.name, event.meta?.offset));
    await until(() => client.channels.length === 1 && gateway.subscribes.length === 1);
    gateway.publish("private-job.1", "job.updated", { jobId: 1, status: "submitted" });
    gateway.publish("private-job.1", "client-typing", {});
    await until(() => calls.length > 0);
    await settle(50);
    expect(calls).toEqual([{ jobId: 1, status: "submitted" }, "job.updated", 1]);
  });
});

describe("subscriptions", () => {
  it("join once for many subscribers and leave after the last one", async () => {
    const client = connect();
    const log = record(client);
    const stop = subscribeToDiscovery(client, () => undefined);
    await joined(client, log);
    stop();
    stop();
    await settle(80);
    expect(gateway.subscribes).toHaveLength(1);
    expect(gateway.unsubscribes).toEqual([]);
  });

  it("outlive a remount that follows at once", async () => {
    const client = connect();
    const stop = subscribeToDiscovery(client, () => undefined);
    await until(() => gateway.subscribes.length === 1);
    stop();
    const log = record(client);
    await joined(client, log);
    await settle(80);
    expect(gateway.subscribes).toHaveLength(1);
    expect(gateway.unsubscribes).toEqual([]);
  });

  it("give nothing to a subscriber that has left", async () => {
    const client = connect();
    const log = record(client);
    const calls: unknown[] = [];
    const stop = subscribeToDiscovery(client, (data) => calls.push(data));
    await joined(client, log);
    stop();
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    expect(calls).toEqual([]);
  });

  it("beyond the limit wait until one is left", async () => {
    const client = connect({ subscriptions: { maxChannels: 2, lingerMs: 0 } });
    const stop = client.subscribe("a", {});
    client.subscribe("b", {});
    const log = record(client, "c");
    await until(() => gateway.subscribes.length === 2);
    await settle(50);
    expect(gateway.subscribes.map(({ channel }) => channel)).toEqual(["a", "b"]);
    stop();
    await joined(client, log);
    expect(gateway.unsubscribes).toEqual(["a"]);
  });

  it("leave a channel alone that is listened to through Echo", async () => {
    const client = connect();
    const heard: unknown[] = [];
    const stop = subscribeToDiscovery(client, () => undefined);
    client.echo.channel(CHANNEL).listen(".job.posted", (data: unknown) => heard.push(data));
    await until(() => gateway.subscribes.length === 1);
    stop();
    await settle(80);
    gateway.publish(CHANNEL, "job.posted", { n: 1 });
    await until(() => heard.length === 1);
    expect(gateway.unsubscribes).toEqual([]);
  });
});

describe("after a break", () => {
  it("gets what it missed, in order, once, before anything new", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    gateway.drop();
    gateway.publish(CHANNEL, "job.posted", 2);
    gateway.publish(CHANNEL, "job.posted", 3);
    await until(() => log.includes(3));
    gateway.publish(CHANNEL, "job.posted", 4);
    await until(() => log.includes(4));
    expect(log).toEqual(["resync:joined", 1, 2, 3, 4]);
    expect(gateway.subscribes.at(-1)?.recover).toEqual({ epoch: "epoch-0", offset: 1 });
  });

  it("asks from the joining position when no event came before the break", async () => {
    const client = connect();
    gateway.publish(CHANNEL, "job.posted", "before");
    const log = record(client);
    await joined(client, log);
    gateway.drop();
    gateway.publish(CHANNEL, "job.posted", "during");
    await until(() => log.includes("during"));
    expect(log).toEqual(["resync:joined", "during"]);
  });

  it("tells its subscribers to fetch when the history is gone, and goes on from the new head", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    gateway.forget(CHANNEL);
    gateway.drop();
    await until(() => log.includes("resync:unrecoverable"));
    gateway.publish(CHANNEL, "job.posted", 2);
    await until(() => log.includes(2));
    expect(log).toEqual(["resync:joined", 1, "resync:unrecoverable", 2]);
  });

  it("tells its subscribers to fetch on a stock server that keeps no positions", async () => {
    gateway.keepsPositions = false;
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    gateway.drop();
    await until(() => log.includes("resync:rejoined"));
    expect(gateway.subscribes.at(-1)).not.toHaveProperty("recover");
  });

  it("tells who came during the break to fetch, and only them", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    gateway.drop();
    await until(() => client.status.get().state !== "connected");
    const late = record(client);
    gateway.publish(CHANNEL, "job.posted", 2);
    await until(() => late.includes("resync:joined") && late.includes(2));
    expect(log).toEqual(["resync:joined", 1, 2]);
  });

  it("does not take over another user's position", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    client.userChanged();
    await until(() => log.filter((entry) => entry === "resync:joined").length === 2);
    expect(gateway.subscribes.at(-1)).not.toHaveProperty("recover");
  });

  it("recovers channels that are listened to through Echo on the same connection", async () => {
    const client = connect();
    const heard: unknown[] = [];
    const log = record(client);
    client.echo.channel(CHANNEL).listen(".job.posted", (data: unknown) => heard.push(data));
    await joined(client, log);
    gateway.drop();
    gateway.publish(CHANNEL, "job.posted", { n: 1 });
    await until(() => heard.length === 1);
  });
});

describe("connecting again", () => {
  it.each([
    [4200, "please reconnect"],
    [4100, "over capacity"],
    [1001, "going away"],
    [1011, "fault"],
  ])("happens after close code %i", async (code, reason) => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.drop(code, reason);
    await until(() => gateway.opened === 2 && client.status.get().state === "connected");
    await settle(300);
    expect(gateway.opened).toBe(2);
  });

  it("never happens after a refusal, until it is asked for", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    gateway.drop(4009, "session revoked");
    await until(() => client.status.get().state === "refused");
    expect(client.status.get()).toMatchObject({ code: 4009, reason: "session revoked" });
    await settle(300);
    expect(gateway.opened).toBe(1);
    client.connect();
    await until(() => client.status.get().state === "connected");
  });

  it("comes soon after the server is back, not after pusher-js's fifteen seconds", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    await gateway.stop();
    await until(() => client.status.get().attempt >= 3, "three attempts");
    expect(client.status.get().retryAt).toBeDefined();
    await gateway.listen();
    gateway.publish(CHANNEL, "job.posted", "missed");
    await until(() => log.includes("missed"), "recovery", 2_000);
    expect(client.status.get().attempt).toBe(0);
  });

  it("does not happen after disconnect, and keeps the subscriptions for the next connect", async () => {
    const client = connect();
    const log = record(client);
    await joined(client, log);
    client.disconnect();
    expect(client.status.get()).toEqual({ state: "idle", attempt: 0 });
    await settle(300);
    expect(gateway.opened).toBe(1);
    gateway.publish(CHANNEL, "job.posted", "away");
    client.connect();
    await until(() => log.includes("away"));
  });

  it("is a new object in the status store only when something changed", async () => {
    const client = connect();
    const states: string[] = [];
    client.status.subscribe(() => states.push(client.status.get().state));
    client.connect();
    await until(() => client.status.get().state === "connected");
    expect(client.status.get()).toBe(client.status.get());
    gateway.drop();
    await until(() => states.at(-1) === "connected" && states.length > 2);
    expect(states).toEqual(["connecting", "connected", "waiting", "connecting", "connected"]);
    expect(client.status.get()).toMatchObject({ transport: "ws", socketId: "2.14" });
  });
});

describe("authorization", () => {
  const PRIVATE = "private-job.1";

  it("sends the token of the moment", async () => {
    let token = "first";
    const client = connect({ tokens: { get: () => token } });
    const log = record(client, PRIVATE);
    await joined(client, log);
    token = "second";
    gateway.drop();
    await until(() => gateway.subscribes.length === 2);
    expect(gateway.auths.map(({ authorization }) => authorization)).toEqual(["Bearer first", "Bearer second"]);
  });

  it("names the page for channels that only Echo holds: their positions the gateway keeps", async () => {
    const client = connect();
    client.echo.private("user.9").listen(".wallet.updated", () => undefined);
    const log = record(client, PRIVATE);
    await joined(client, log);
    gateway.drop();
    await until(() => gateway.auths.length === 4);
    const idsOf = (channel: string): (string | null)[] =>
      gateway.auths.filter(({ body }) => body.get("channel_name") === channel).map(({ body }) => body.get("client_id"));
    const [first, second] = idsOf("private-user.9");
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(second).toBe(first);
    expect(idsOf(PRIVATE)).toEqual([null, null]);
  });

  it("refreshes an expired token once for all channels", async () => {
    let refreshes = 0;
    const client = connect({
      tokens: {
        get: () => "expired",
        refresh: async () => {
          refreshes += 1;
          await settle(20);
          return "fresh";
        },
      },
    });
    gateway.answerAuth = ({ authorization, body }) =>
      authorization === "Bearer fresh" ? { status: 200, body: signature(body) } : { status: 401 };
    const logs = ["private-job.1", "private-job.2", "private-user.3"].map((channel) => record(client, channel));
    for (const log of logs) await joined(client, log);
    expect(refreshes).toBe(1);
  });

  it("reports a refusal to the subscriber and asks again at the next connection", async () => {
    const client = connect();
    gateway.answerAuth = () => ({ status: 403 });
    const log = record(client, PRIVATE);
    await until(() => log.includes("error:403"));
    expect(gateway.auths).toHaveLength(1);
    gateway.answerAuth = ({ body }) => ({ status: 200, body: signature(body) });
    gateway.drop();
    await joined(client, log);
  });

  it("tries again while the application is away", async () => {
    const client = connect();
    let answers = 0;
    gateway.answerAuth = ({ body }) => ((answers += 1) < 3 ? { status: 503 } : { status: 200, body: signature(body) });
    const log = record(client, PRIVATE);
    await joined(client, log);
    expect(log).toEqual(["resync:joined"]);
  });

  it("never uses an answer that was made for an earlier socket", async () => {
    const client = connect();
    gateway.answerAuth = ({ body }) => ({ status: 200, body: signature(body), delayMs: gateway.opened === 1 ? 250 : 0 });
    const log = record(client, PRIVATE);
    await until(() => gateway.auths.length === 1);
    gateway.drop();
    await joined(client, log);
    await settle(300);
    expect(gateway.subscribes.map(({ auth }) => auth)).toEqual([`key:${client.socketId}:${PRIVATE}`]);
  });

  it("asks again when the server refuses for now", async () => {
    const client = connect();
    gateway.refusals.set(CHANNEL, { type: "Unavailable", error: "store is away", status: 503 });
    const log = record(client);
    await until(() => log.includes("error:503"));
    gateway.refusals.clear();
    await joined(client, log);
  });

  it("does not ask again when the server refuses for good", async () => {
    const client = connect();
    gateway.refusals.set(CHANNEL, { type: "AuthError", error: "no", status: 401 });
    const log = record(client);
    await until(() => log.includes("error:401"));
    await settle(2_200);
    expect(gateway.subscribes).toHaveLength(1);
  });

  it("does not take a refresh that fails for now for the end of the session", async () => {
    let refreshes = 0;
    const refresh = async (): Promise<string> => {
      if ((refreshes += 1) < 3) throw new Error("the application is away");
      return Promise.resolve("fresh");
    };
    const client = connect({ tokens: { get: () => "expired", refresh } });
    gateway.answerAuth = ({ authorization, body }) =>
      authorization === "Bearer fresh" ? { status: 200, body: signature(body) } : { status: 401 };
    const log = record(client, PRIVATE);
    await joined(client, log);
    expect(log).toEqual(["resync:joined"]);
  });

  it("survives a token source that fails", async () => {
    const client = connect({ tokens: { get: () => Promise.reject(new Error("storage")) } });
    const log = record(client, PRIVATE);
    await until(() => log.includes("error:0"), "the refusal", 12_000);
  });
});

describe("fetch", () => {
  it("carries the token, and the socket id only with toOthers", async () => {
    const seen: (string | null)[] = [];
    const original = globalThis.fetch;
    globalThis.fetch = (_input, init) => {
      const headers = new Headers(init?.headers);
      seen.push(headers.get("authorization"), headers.get("x-socket-id"));
      return Promise.resolve(new Response("{}"));
    };
    try {
      const client = connect();
      await client.fetch("/api/x", { toOthers: true });
      client.connect();
      await until(() => client.socketId !== undefined);
      await client.fetch("/api/x");
      await client.fetch("/api/x", { toOthers: true });
    } finally {
      globalThis.fetch = original;
    }
    expect(seen).toEqual(["Bearer token-1", null, "Bearer token-1", null, "Bearer token-1", "1.7"]);
  });
});

describe("waiting pages", () => {
  it("get everything in order once they are ready", async () => {
    const client = connect();
    const release = client.hold();
    const log = record(client);
    await until(() => gateway.subscribes.length === 1);
    gateway.publish(CHANNEL, "job.posted", 1);
    gateway.publish(CHANNEL, "job.posted", 2);
    await settle(60);
    expect(log).toEqual([]);
    release();
    await until(() => log.length === 3);
    expect(log).toEqual(["resync:joined", 1, 2]);
  });

  it("are told to fetch when too much came meanwhile", async () => {
    const client = connect({ queue: { limit: 3 } });
    const release = client.hold();
    const log = record(client);
    await until(() => gateway.subscribes.length === 1);
    for (const n of [1, 2, 3, 4]) gateway.publish(CHANNEL, "job.posted", n);
    await settle(60);
    release();
    await until(() => log.length > 0);
    expect(log[0]).toBe("resync:overflow");
  });
});

describe("consoles", () => {
  it("see every frame in both directions", async () => {
    const client = connect();
    const tapped: TappedFrame[] = [];
    client.tap((frame) => tapped.push(frame));
    const log = record(client);
    await joined(client, log);
    gateway.publish(CHANNEL, "job.posted", 1);
    await until(() => log.includes(1));
    expect(tapped.map(({ direction, frame }) => `${direction} ${frame.event}`)).toEqual([
      "out pusher:subscribe",
      "in pusher_internal:subscription_succeeded",
      "in job.posted",
    ]);
  });

  it("log only while debugging is on", async () => {
    const lines: string[] = [];
    const client = connect({ debug: (message) => lines.push(message) });
    client.connect();
    await until(() => client.status.get().state === "connected");
    expect(lines).toContain("connected");
    client.setDebug(false);
    const before = lines.length;
    gateway.drop();
    await until(() => gateway.opened === 2);
    expect(lines).toHaveLength(before);
  });
});
