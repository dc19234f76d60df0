import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Liveness, OFFLINE_ANSWER_MS, OFFLINE_PAUSE_MS } from "../src/core/liveness.js";

const ANSWER_MS = 6_000;

let calls: string[];
let isOnline: boolean;
let liveness: Liveness;

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  isOnline = true;
  const host = { ask: () => calls.push("ask"), lost: () => calls.push("lost"), isOnline: () => isOnline };
  liveness = new Liveness(host, ANSWER_MS);
});

afterEach(() => {
  vi.useRealTimers();
});

describe("while the browser is online", () => {
  it("a connection without an answer is lost after the time for one, once", () => {
    liveness.doubt();
    vi.advanceTimersByTime(ANSWER_MS - 1);
    expect(calls).toEqual(["ask"]);
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["ask", "lost"]);
  });

  it("one answer is enough", () => {
    liveness.doubt();
    vi.advanceTimersByTime(ANSWER_MS - 1);
    liveness.heard();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["ask"]);
  });
});

describe("while the browser is offline", () => {
  beforeEach(() => {
    isOnline = false;
  });

  it("an answer has less time", () => {
    liveness.doubt();
    vi.advanceTimersByTime(OFFLINE_ANSWER_MS);
    expect(calls).toEqual(["ask", "lost"]);
  });

  it("an answer is not believed for long: the browser speaks before it cuts", () => {
    liveness.doubt();
    liveness.heard();
    vi.advanceTimersByTime(OFFLINE_PAUSE_MS);
    expect(calls).toEqual(["ask", "ask"]);
    vi.advanceTimersByTime(OFFLINE_ANSWER_MS);
    expect(calls).toEqual(["ask", "ask", "lost"]);
  });

  it("a connection that answers each time is kept, however long", () => {
    liveness.doubt();
    for (let second = 0; second < 60; second += 1) {
      liveness.heard();
      vi.advanceTimersByTime(OFFLINE_PAUSE_MS);
    }
    expect(calls).toHaveLength(61);
    expect(calls).not.toContain("lost");
  });

  it("what comes unasked changes nothing", () => {
    liveness.heard();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual([]);
  });

  it("questions end with the network's return", () => {
    liveness.doubt();
    liveness.heard();
    isOnline = true;
    vi.advanceTimersByTime(OFFLINE_PAUSE_MS);
    liveness.heard();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["ask", "ask"]);
  });

  it("nothing is asked or lost any more once the connection is over", () => {
    liveness.doubt();
    liveness.heard();
    liveness.stop();
    vi.advanceTimersByTime(60_000);
    expect(calls).toEqual(["ask"]);
  });
});
