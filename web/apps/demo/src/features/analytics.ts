/** `/api/analytics/realtime`, once a second, with the last minutes kept for charts. */

import { useQuery, useQueryClient } from "@tanstack/react-query";

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

interface History {
  readonly latest: Analytics;
  /** Oldest first. */
  readonly samples: readonly Analytics[];
}

export function useAnalytics() {
  const cache = useQueryClient();
  return useQuery({
    queryKey: keys.analytics,
    queryFn: async (): Promise<History> => {
      const latest = await api.analytics();
      const before = cache.getQueryData<History>(keys.analytics)?.samples ?? [];
      return { latest, samples: [...before, latest].slice(-KEPT_SAMPLES) };
    },
    refetchInterval: EVERY_MS,
    staleTime: 0,
  });
}
