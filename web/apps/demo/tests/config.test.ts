// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from "vitest";

import { derivedUrl, loadGatewayConfig } from "@/system/config";

describe("derivedUrl", () => {
  it("is port 8080 of the page's host, or behind the page's own balancer with TLS", () => {
    expect(derivedUrl({ protocol: "http:", host: "box:8000", hostname: "box" })).toBe("ws://box:8080");
    expect(derivedUrl({ protocol: "https:", host: "app.example.com", hostname: "app.example.com" })).toBe("wss://app.example.com");
  });
});

describe("loadGatewayConfig", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  const serve = (answer: () => Promise<Response>): void => {
    vi.stubGlobal("fetch", answer);
  };

  it("takes what the server says", async () => {
    serve(async () => Response.json({ websocketUrl: "ws://box:9000", appKey: "other" }));
    expect(await loadGatewayConfig()).toEqual({ url: "ws://box:9000", key: "other" });
  });

  it.each([
    ["a page instead of JSON", async () => new Response("<html>", { headers: { "content-type": "text/html" } })],
    ["404", async () => new Response("", { status: 404 })],
    ["broken JSON", async () => new Response("{", { headers: { "content-type": "application/json" } })],
    ["nothing", async () => Promise.reject(new TypeError("offline"))],
  ])("derives the address when the server gives %s", async (_, answer) => {
    serve(answer);
    expect(await loadGatewayConfig()).toEqual({ url: derivedUrl(location), key: "sharedjox" });
  });
});
