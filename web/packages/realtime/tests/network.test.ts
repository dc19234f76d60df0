// @vitest-environment happy-dom
/** What the client makes of the browser's word on the network, over real sockets against the double. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { RealtimeClient } from "../src/index.js";
import { clientOf } from "./support/client.js";
import { GatewayDouble } from "./support/gateway-double.js";
import { settle, until } from "./support/poll.js";

let gateway: GatewayDouble;
let client: RealtimeClient;
/** All states so far: a wait is short here, and a look now and then could miss it. */
let states: string[];

beforeEach(async () => {
  gateway = await GatewayDouble.start();
  client = clientOf(gateway, { pongTimeoutMs: 200, backoff: { baseMs: 40, capMs: 200, attemptMs: 1_500 } });
  states = [];
  client.status.subscribe(() => states.push(client.status.get().state));
  client.connect();
  await until(() => client.status.get().state === "connected");
});

afterEach(async () => {
  client.disconnect();
  vi.restoreAllMocks();
  await gateway.stop();
});

function network(word: "online" | "offline"): void {
  vi.spyOn(navigator, "onLine", "get").mockReturnValue(word === "online");
  window.dispatchEvent(new Event(word));
}

it("a connection that the network has left is offline within moments, and comes back with the network", async () => {
  gateway.isSilent = true;
  network("offline");
  await until(() => states.includes("offline"));
  gateway.isSilent = false;
  network("online");
  await until(() => client.status.get().state === "connected");
});

it("a page without a network says so all the time, whatever is tried meanwhile", async () => {
  gateway.isSilent = true;
  network("offline");
  await until(() => gateway.opened >= 3);
  expect(new Set(states.slice(states.indexOf("offline")))).toEqual(new Set(["offline"]));
});

it("an attempt that got stuck without a network does not keep the next one waiting when it is back", async () => {
  gateway.isSilent = true;
  network("offline");
  await until(() => gateway.opened === 2);
  gateway.isSilent = false;
  network("online");
  await until(() => client.status.get().state === "connected");
  expect(gateway.opened).toBe(3);
});

it("a connection that dies after its first answer is found out as well", async () => {
  network("offline");
  await until(() => gateway.pings > 0);
  gateway.isSilent = true;
  await until(() => states.includes("offline"));
});

it("a connection that works all the same, to this very machine say, is kept", async () => {
  network("offline");
  await until(() => gateway.pings > 1);
  expect(client.status.get().state).toBe("connected");
  expect(gateway.opened).toBe(1);
});

it("a connection that died while the browser changed networks is replaced", async () => {
  gateway.isSilent = true;
  network("online");
  await until(() => states.includes("waiting"));
  gateway.isSilent = false;
  await until(() => client.status.get().state === "connected");
});

it("a connection that died while the machine slept is replaced when the page is seen again", async () => {
  gateway.isSilent = true;
  document.dispatchEvent(new Event("visibilitychange"));
  await until(() => states.includes("waiting"));
  gateway.isSilent = false;
  await until(() => client.status.get().state === "connected");
});

it("nothing is asked of a connection that was not wanted any more", async () => {
  client.disconnect();
  network("offline");
  await settle(50);
  expect(gateway.pings).toBe(0);
  expect(client.status.get().state).toBe("idle");
});
