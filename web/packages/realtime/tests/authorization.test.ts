/** Tokens: for channels and for requests. */

import { describe, expect, it } from "vitest";

import { CHANNEL, joined, record, benchOfEachTest } from "./support/bench.js";
import { signature } from "./support/gateway-double.js";
import { settle, until } from "./support/poll.js";

const bench = benchOfEachTest();

describe("authorization", () => {
  const PRIVATE = "private-job.1";

  it("sends the token of the moment", async () => {
    let token = "first";
    const client = bench.connect({ tokens: { get: () => token } });
    const log = record(client, PRIVATE);
    await joined(client, log);
    token = "second";
    bench.gateway.drop();
    await until(() => bench.gateway.subscribes.length === 2);
    expect(bench.gateway.auths.map(({ authorization }) => authorization)).toEqual(["Bearer first", "Bearer second"]);
  });

  it("names the page for channels that only Echo holds: their positions the gateway keeps", async () => {
    const client = bench.connect();
    client.echo.private("user.9").listen(".wallet.updated", () => undefined);
    const log = record(client, PRIVATE);
    await joined(client, log);
    bench.gateway.drop();
    await until(() => bench.gateway.auths.length === 4);
    const idsOf = (channel: string): (string | null)[] =>
      bench.gateway.auths.filter(({ body }) => body.get("channel_name") === channel).map(({ body }) => body.get("client_id"));
    const [first, second] = idsOf("private-user.9");
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(second).toBe(first);
    expect(idsOf(PRIVATE)).toEqual([null, null]);
  });

  it("refreshes an expired token once for all channels", async () => {
    let refreshes = 0;
    const client = bench.connect({
      tokens: {
        get: () => "expired",
        refresh: async () => {
          refreshes += 1;
          await settle(20);
          return "fresh";
        },
      },
    });
    bench.gateway.answerAuth = ({ authorization, body }) =>
      authorization === "Bearer fresh" ? { status: 200, body: signature(body) } : { status: 401 };
    const logs = ["private-job.1", "private-job.2", "private-user.3"].map((channel) => record(client, channel));
    for (const log of logs) await joined(client, log);
    expect(refreshes).toBe(1);
  });

  it("reports a refusal to the subscriber and asks again at the next connection", async () => {
    const client = bench.connect();
    bench.gateway.answerAuth = () => ({ status: 403 });
    const log = record(client, PRIVATE);
    await until(() => log.includes("error:403"));
    expect(bench.gateway.auths).toHaveLength(1);
    bench.gateway.answerAuth = ({ body }) => ({ status: 200, body: signature(body) });
    bench.gateway.drop();
    await joined(client, log);
  });

  it("tries again while the application is away", async () => {
    const client = bench.connect();
    let answers = 0;
    bench.gateway.answerAuth = ({ body }) => ((answers += 1) < 3 ? { status: 503 } : { status: 200, body: signature(body) });
    const log = record(client, PRIVATE);
    await joined(client, log);
    expect(log).toEqual(["resync:joined"]);
  });

  it("never uses an answer that was made for an earlier socket", async () => {
    const client = bench.connect();
    bench.gateway.answerAuth = ({ body }) => ({ status: 200, body: signature(body), delayMs: bench.gateway.opened === 1 ? 250 : 0 });
    const log = record(client, PRIVATE);
    await until(() => bench.gateway.auths.length === 1);
    bench.gateway.drop();
    await joined(client, log);
    await settle(300);
    expect(bench.gateway.subscribes.map(({ auth }) => auth)).toEqual([`key:${client.socketId}:${PRIVATE}`]);
  });

  it("asks again when the server refuses for now", async () => {
    const client = bench.connect();
    bench.gateway.refusals.set(CHANNEL, { type: "Unavailable", error: "store is away", status: 503 });
    const log = record(client);
    await until(() => log.includes("error:503"));
    bench.gateway.refusals.clear();
    await joined(client, log);
  });

  it("does not ask again when the server refuses for good", async () => {
    const client = bench.connect();
    bench.gateway.refusals.set(CHANNEL, { type: "AuthError", error: "no", status: 401 });
    const log = record(client);
    await until(() => log.includes("error:401"));
    await settle(2_200);
    expect(bench.gateway.subscribes).toHaveLength(1);
  });

  it("does not take a refresh that fails for now for the end of the session", async () => {
    let refreshes = 0;
    const refresh = async (): Promise<string> => {
      if ((refreshes += 1) < 3) throw new Error("the application is away");
      return Promise.resolve("fresh");
    };
    const client = bench.connect({ tokens: { get: () => "expired", refresh } });
    bench.gateway.answerAuth = ({ authorization, body }) =>
      authorization === "Bearer fresh" ? { status: 200, body: signature(body) } : { status: 401 };
    const log = record(client, PRIVATE);
    await joined(client, log);
    expect(log).toEqual(["resync:joined"]);
  });

  it("survives a token source that fails", async () => {
    const client = bench.connect({ tokens: { get: () => Promise.reject(new Error("storage")) } });
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
      const client = bench.connect();
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
