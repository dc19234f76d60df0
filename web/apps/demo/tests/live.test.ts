import { QueryClient, type QueryKey } from "@tanstack/react-query";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { applyEvent, followFetches } from "@/system/live";

const KEY: QueryKey = ["numbers", { odd: true }];

/** A fetch whose answer the test gives when it wants to. */
interface Fetching {
  readonly answer: (numbers: readonly number[]) => void;
  readonly fail: () => void;
  readonly done: Promise<unknown>;
}

let cache: QueryClient;
let stop: () => void;

beforeEach(() => {
  cache = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  stop = followFetches(cache);
});

afterEach(() => {
  stop();
  cache.clear();
});

function beginFetch(): Fetching {
  let resolve: (numbers: readonly number[]) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<readonly number[]>((...both) => {
    [resolve, reject] = both;
  });
  const done = cache.query({ queryKey: KEY, queryFn: () => promise, staleTime: 0 }).catch(() => undefined);
  return { answer: resolve, fail: () => { reject(new Error("away")); }, done };
}

/** An event: its number is at the head of the list, once. */
function arrive(number: number): void {
  applyEvent<readonly number[]>(cache, KEY, (old) => (old?.includes(number) ? old : old && [number, ...old]));
}

async function fetched(numbers: readonly number[]): Promise<void> {
  const { answer, done } = beginFetch();
  answer(numbers);
  await done;
}

const shown = (): unknown => cache.getQueryData(KEY);

describe("an event", () => {
  it("is not undone by a fetch that read the database before it and answers after it", async () => {
    await fetched([1]);
    const { answer, done } = beginFetch();
    arrive(2);
    expect(shown()).toEqual([2, 1]);
    answer([1]);
    await done;
    expect(shown()).toEqual([2, 1]);
  });

  it("is there once when the fetch brings it as well", async () => {
    await fetched([1]);
    const { answer, done } = beginFetch();
    arrive(2);
    answer([2, 1]);
    await done;
    expect(shown()).toEqual([2, 1]);
  });

  it("that comes during the very first fetch is not lost either, and order is kept", async () => {
    const { answer, done } = beginFetch();
    arrive(2);
    arrive(3);
    answer([1]);
    await done;
    expect(shown()).toEqual([3, 2, 1]);
  });

  it("is not made again by a later fetch: what that one reads is newer", async () => {
    await fetched([1]);
    const { answer, done } = beginFetch();
    arrive(2);
    answer([1]);
    await done;
    await fetched([5]);
    expect(shown()).toEqual([5]);
  });

  it("stays when the fetch fails, and is not kept for the next one", async () => {
    await fetched([1]);
    const { fail, done } = beginFetch();
    arrive(2);
    fail();
    await done;
    expect(shown()).toEqual([2, 1]);
    await fetched([1]);
    expect(shown()).toEqual([1]);
  });

  it("changes nothing under another key, and nothing that nobody asked for", async () => {
    await fetched([1]);
    applyEvent(cache, ["numbers"], () => "broken");
    applyEvent(cache, ["numbers", { odd: false }], () => "broken");
    expect(shown()).toEqual([1]);
    expect(cache.getQueryCache().getAll()).toHaveLength(1);
  });
});
