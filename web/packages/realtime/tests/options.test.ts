import { describe, expect, it } from "vitest";

import { parseEndpoint, withDefaults } from "../src/core/options.js";
import { decodeBase64Url } from "../src/push.js";

describe("parseEndpoint", () => {
  it.each([
    ["ws://localhost:8080", { host: "localhost", port: 8080, path: "", isSecure: false }],
    ["wss://example.com", { host: "example.com", port: 443, path: "", isSecure: true }],
    ["ws://example.com/", { host: "example.com", port: 80, path: "", isSecure: false }],
    ["https://example.com/sockets/", { host: "example.com", port: 443, path: "/sockets", isSecure: true }],
    ["http://[::1]:8080", { host: "[::1]", port: 8080, path: "", isSecure: false }],
  ])("takes %s apart", (url, endpoint) => {
    expect(parseEndpoint(url)).toEqual(endpoint);
  });

  it.each(["localhost:8080", "ftp://example.com", "", "/app"])("refuses %o", (url) => {
    expect(() => parseEndpoint(url)).toThrow(TypeError);
  });
});

describe("withDefaults", () => {
  it("gives an attempt more time when HTTP may follow WebSocket", () => {
    expect(withDefaults({ url: "ws://h" }).backoff.attemptMs).toBe(20_000);
    expect(withDefaults({ url: "ws://h", transports: ["ws"] }).backoff.attemptMs).toBe(6_000);
    expect(withDefaults({ url: "ws://h", backoff: { attemptMs: 1 } }).backoff.attemptMs).toBe(1);
  });
});

describe("decodeBase64Url", () => {
  it("reads keys without padding and with the letters of URLs", () => {
    expect([...decodeBase64Url("-_8")]).toEqual([0xfb, 0xff]);
    expect([...decodeBase64Url("AQID")]).toEqual([1, 2, 3]);
  });
});
