/** Names of what is cached, and how events change it. */

import { QueryClient, type InfiniteData, type MutationCache } from "@tanstack/react-query";

import { followFetches } from "@/system/live";
import { isPassing } from "@/system/problems";
import type { Page } from "@/system/types";

export const keys = {
  me: ["me"] as const,
  push: ["push"] as const,
  discovery: ["discovery"] as const,
  job: (id: number) => ["job", id] as const,
  jobs: ["job"] as const,
  mine: ["mine"] as const,
  wallet: ["wallet"] as const,
  transactions: ["transactions"] as const,
  /** Below `transactions`: whatever makes those stale makes this stale. */
  statement: ["transactions", "statement"] as const,
  notifications: ["notifications"] as const,
  analytics: ["analytics"] as const,
};

/** How often a page that could not be fetched is tried again by itself. */
const HEAL_EVERY_MS = 5_000;

export function createQueryClient(mutationCache: MutationCache): QueryClient {
  const cache = new QueryClient({
    mutationCache,
    defaultOptions: {
      queries: {
        // Events keep the cache right; it does not go stale by itself.
        staleTime: 60_000,
        retry: (count, error) => count < 3 && isPassing(error),
        // A page that was asked to fetch while the server was away is right again without anybody's help.
        refetchInterval: ({ state }) => (state.error !== null && isPassing(state.error) ? HEAL_EVERY_MS : false),
      },
    },
  });
  followFetches(cache);
  return cache;
}

export type Pages<T> = InfiniteData<Page<T>>;

/** Put an item at the head of a paged list, unless it is there already. */
export function prepend<T extends { readonly id: number }>(pages: Pages<T> | undefined, item: T): Pages<T> | undefined {
  const [first, ...rest] = pages?.pages ?? [];
  if (!pages || !first || pages.pages.some((page) => page.items.some(({ id }) => id === item.id))) return pages;
  return { ...pages, pages: [{ ...first, items: [item, ...first.items] }, ...rest] };
}

/** Change one item of a paged list. */
export function replace<T extends { readonly id: number }>(
  pages: Pages<T> | undefined,
  id: number,
  change: (item: T) => T,
): Pages<T> | undefined {
  return (
    pages && {
      ...pages,
      pages: pages.pages.map((page) => ({
        ...page,
        items: page.items.map((item) => (item.id === id ? change(item) : item)),
      })),
    }
  );
}

/** Take one item out of a paged list. */
export function without<T extends { readonly id: number }>(pages: Pages<T> | undefined, id: number): Pages<T> | undefined {
  return (
    pages && {
      ...pages,
      pages: pages.pages.map((page) => ({ ...page, items: page.items.filter((item) => item.id !== id) })),
    }
  );
}

export function flatten<T>(pages: Pages<T> | undefined): readonly T[] {
  return pages?.pages.flatMap((page) => page.items) ?? [];
}
