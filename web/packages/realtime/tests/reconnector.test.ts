import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { backoffDelay, DEFAULT_BACKOFF, Reconnector, type ReconnectorHost } from "../src/core/reconnector.js";

describe("backoffDelay", () => {
  it("doubles up to the cap", () => {
    const most = (attempt: number): number => backoffDelay(attempt, DEFAULT_BACKOFF, () => 1);
    expect([0, 1, 2, 3].map(most)).toEqual([500, 1_000, 2_000, 4_000]);
    expect(most(6)).toBe(30_000);
    expect(most(5_000)).toBe(30_000);
  });

  it("spreads over the upper half", () => {
    expect(backoffDelay(2, DEFAULT_BACKOFF, () => 0)).toBe(1_000);
    expect(backoffDelay(2, DEFAULT_BACKOFF, () => 0.5)).toBe(1_500);
  });

  it("gives a crowd of clients different times", () => {
    const delays = new Set(Array.from({ length: 100 }, () => backoffDelay(3, DEFAULT_BACKOFF, Math.random)));
    expect(delays.size).toBeGreaterThan(80);
  });
});

describe("Reconnector", () => {
  let calls: string[];
  let reconnector: Reconnector;

  beforeEach(() => {
    vi.useFakeTimers();
    calls = [];
    const host: ReconnectorHost = {
      connect: () => calls.push("connect"),
      abandon: () => calls.push("abandon"),
      waiting: (attempt, atMs) => calls.push(`wait ${attempt} ${atMs - Date.now()}`),
    };
    reconnector = new Reconnector(host, DEFAULT_BACKOFF, () => 1);
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("waits longer after each failure", () => {
    reconnector.failed();
    vi.advanceTimersByTime(500);
    reconnector.failed();
    expect(calls).toEqual(["abandon", "wait 1 500", "connect", "abandon", "wait 2 1000"]);
  });

  it("gives up an attempt that takes too long", () => {
    reconnector.attempting();
    vi.advanceTimersByTime(DEFAULT_BACKOFF.attemptMs);
    expect(calls).toEqual(["abandon", "wait 1 500"]);
  });

  it("starts small again only after a connection that lasted", () => {
    reconnector.failed();
    reconnector.opened();
    vi.advanceTimersByTime(DEFAULT_BACKOFF.stableMs - 1);
    reconnector.failed();
    expect(calls.at(-1)).toBe("wait 2 1000");
    reconnector.opened();
    vi.advanceTimersByTime(DEFAULT_BACKOFF.stableMs);
    reconnector.failed();
    expect(calls.at(-1)).toBe("wait 1 500");
  });

  it("connects at once when told to hurry, and once only", () => {
    reconnector.failed();
    reconnector.hurry();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["abandon", "wait 1 500", "abandon", "connect"]);
  });

  it("begins a new attempt when told to hurry during one", () => {
    reconnector.attempting();
    reconnector.hurry();
    expect(calls).toEqual(["abandon", "connect"]);
  });

  it("does nothing after cancel", () => {
    reconnector.failed();
    reconnector.cancel();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["abandon", "wait 1 500"]);
  });
});
