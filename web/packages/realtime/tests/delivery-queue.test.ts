import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { DEFAULT_QUEUE, DeliveryQueue } from "../src/core/delivery-queue.js";

describe("DeliveryQueue", () => {
  let seen: number[];
  let overflows: string[][];
  let queue: DeliveryQueue;
  const deliver = (n: number, key = "a"): void => {
    queue.push({ key, run: () => seen.push(n) });
  };

  beforeEach(() => {
    vi.useFakeTimers();
    seen = [];
    overflows = [];
    queue = new DeliveryQueue({ ...DEFAULT_QUEUE, limit: 5 }, (keys) => overflows.push([...keys]));
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it("never delivers inside push, but before anything else happens", async () => {
    deliver(1);
    expect(seen).toEqual([]);
    await Promise.resolve();
    expect(seen).toEqual([1]);
  });

  it("takes together what comes within one frame of the screen", async () => {
    deliver(1);
    await Promise.resolve();
    deliver(2);
    deliver(3);
    await Promise.resolve();
    expect(seen).toEqual([1]);
    vi.advanceTimersByTime(DEFAULT_QUEUE.intervalMs);
    expect(seen).toEqual([1, 2, 3]);
  });

  it("keeps everything while held, and delivers it in order after the last hold is released", async () => {
    const first = queue.hold();
    const second = queue.hold();
    deliver(1);
    deliver(2);
    first();
    first();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual([]);
    second();
    deliver(3);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual([1, 2, 3]);
  });

  it("drops all when too much waits and says for which channels", async () => {
    const release = queue.hold();
    for (const n of [1, 2, 3, 4, 5]) deliver(n, n < 3 ? "a" : "b");
    expect(overflows).toEqual([]);
    deliver(6, "c");
    expect(overflows).toEqual([["a", "b", "c"]]);
    release();
    deliver(7);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual([7]);
  });

  it("lets the page breathe when a batch takes too long, and loses nothing", async () => {
    const slow = (n: number): void => {
      queue.push({
        key: "a",
        run: () => {
          seen.push(n);
          vi.advanceTimersByTime(5);
        },
      });
    };
    for (const n of [1, 2, 3, 4]) slow(n);
    await Promise.resolve();
    expect(seen).toEqual([1, 2]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it("goes on after a delivery that throws, and does not hide the error", async () => {
    const errors: unknown[] = [];
    const report = vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void) => {
      try {
        run();
      } catch (error) {
        errors.push(error);
      }
      return 0;
    }) as unknown as typeof setTimeout);
    queue.push({
      key: "a",
      run: () => {
        throw new Error("subscriber");
      },
    });
    deliver(2);
    await Promise.resolve();
    expect(seen).toEqual([2]);
    expect(errors).toEqual([new Error("subscriber")]);
    report.mockRestore();
  });
});
