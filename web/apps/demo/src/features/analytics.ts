/** `/api/analytics/realtime`, once a second, with the last minutes kept for charts. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import { api } from "@/system/api";
import { keys } from "@/system/queries";

export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface EventFigures {
  readonly event: string;
  readonly count: number;
  readonly perSecond: number;
  readonly commitToPublishMs: Latency | null;
  readonly commitToSocketMs: Latency | null;
}

export interface NodeFigures {
  readonly node: string;
  readonly connections: number;
  readonly subscriptions: number;
  readonly deliveriesPerSecond: number;
  readonly updatedAt: string;
}

export interface Analytics {
  readonly at: string;
  readonly windowSeconds: number;
  readonly totals: {
    readonly eventsPerSecond: number;
    readonly deliveriesPerSecond: number;
    readonly connections: number;
    readonly subscriptions: number;
  };
  readonly events: readonly EventFigures[];
  readonly nodes: readonly NodeFigures[];
  readonly outbox: { readonly pending: number; readonly oldestPendingSeconds: number };
}

const EVERY_MS = 1_000;
const KEPT_SAMPLES = 180;

export function useAnalytics() {
  const query = useQuery({
    queryKey: keys.analytics,
    queryFn: api.analytics,
    refetchInterval: EVERY_MS,
    staleTime: 0,
    gcTime: 0,
  });
  const [samples, setSamples] = useState<readonly Analytics[]>([]);
  useEffect(() => {
    const { data } = query;
    if (data) setSamples((old) => (old.at(-1)?.at === data.at ? old : [...old, data].slice(-KEPT_SAMPLES)));
  }, [query]);
  return { latest: query.data, samples, error: query.error };
}
