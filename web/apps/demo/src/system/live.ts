/**
 * Events change what is cached, also while a fetch is under way.
 *
 * Such a fetch may have read the database before the event's commit and answer after the event has come: taken as it
 * is, its answer would undo the event, and no later event would bring it back. So changes that come during a fetch
 * are made twice: at once, and again to what the fetch brings. A change must therefore stand being made twice.
 */

import type { QueryClient, QueryKey } from "@tanstack/react-query";

/** What an event does to a cached value; undefined changes nothing. */
export type Change<T> = (cached: T | undefined) => T | undefined;

/** By query of the cache. */
const late = new WeakMap<object, readonly Change<unknown>[]>();

/** Change what is cached under exactly this key as an event says; nothing happens when nobody asked for it yet. */
export function applyEvent<T>(cache: QueryClient, queryKey: QueryKey, change: Change<T>): void {
  const query = cache.getQueryCache().find({ queryKey });
  if (!query) return;
  cache.setQueryData<T>(queryKey, change);
  if (query.state.fetchStatus === "idle") return;
  late.set(query, [...(late.get(query) ?? []), change as Change<unknown>]);
}

/** Make the late changes as fetches end. Call it once for each cache; the returned function ends it. */
export function followFetches(cache: QueryClient): () => void {
  return cache.getQueryCache().subscribe((event) => {
    if (event.type !== "updated") return;
    const { query, action } = event;
    // A fetch that begins now reads what is committed now: all that came before is in its answer.
    if (action.type === "fetch") late.delete(query);
    if (action.type !== "success" || action.manual) return;
    const changes = late.get(query) ?? [];
    late.delete(query);
    for (const change of changes) cache.setQueryData(query.queryKey, change);
  });
}
