import { AreaChart, BarChart, LineChart } from "@mantine/charts";
import { Card, Text, Title } from "@mantine/core";
import { useMemo, type JSX, type ReactNode } from "react";

import type { Analytics, EventFigures } from "@/features/analytics";
import { formatClock } from "@/system/format";

const COLORS = ["indigo.6", "teal.6", "grape.6", "orange.6", "blue.6", "red.6"];
const CHART = { h: 220, withDots: false, curveType: "monotone", strokeWidth: 2, gridAxis: "xy", tickLine: "none" } as const;
/** Moving lines would hide what changed and cost a frame each second. */
const STILL = { isAnimationActive: false } as const;
/** The drawing is described by its label; what it draws needs no key strokes. */
const DRAWN = { accessibilityLayer: false, margin: { right: 16 } } as const;

interface ChartCardProps {
  readonly title: string;
  /** What the chart shows, for those who do not see it. */
  readonly summary: string;
  readonly children: ReactNode;
}

function ChartCard({ title, summary, children }: ChartCardProps): JSX.Element {
  return (
    <Card>
      <Title order={2} fz="h5" mb="sm">
        {title}
      </Title>
      <div role="img" aria-label={summary}>
        <div aria-hidden>{children}</div>
      </div>
    </Card>
  );
}

interface SamplesProps {
  readonly samples: readonly Analytics[];
}

function at(sample: Analytics): string {
  return formatClock(sample.at);
}

export function Throughput({ samples }: SamplesProps): JSX.Element {
  const data = useMemo(
    () =>
      samples.map((sample) => ({
        at: at(sample),
        Events: sample.totals.eventsPerSecond,
        Deliveries: sample.totals.deliveriesPerSecond,
      })),
    [samples],
  );
  const last = data.at(-1);
  return (
    <ChartCard title="Throughput, per second" summary={`${last?.Events ?? 0} events and ${last?.Deliveries ?? 0} deliveries per second`}>
      <AreaChart
        {...CHART}
        data={data}
        dataKey="at"
        withLegend
        areaProps={STILL}
        areaChartProps={DRAWN}
        series={[
          { name: "Deliveries", color: "teal.6" },
          { name: "Events", color: "indigo.6" },
        ]}
      />
    </ChartCard>
  );
}

export function Connections({ samples }: SamplesProps): JSX.Element {
  const { data, nodes } = useMemo(() => {
    const names = [...new Set(samples.flatMap((sample) => sample.nodes.map(({ node }) => node)))].sort();
    return {
      nodes: names,
      data: samples.map((sample) => ({
        at: at(sample),
        ...Object.fromEntries(
          names.map((name) => [shortName(name), sample.nodes.find(({ node }) => node === name)?.connections ?? 0]),
        ),
      })),
    };
  }, [samples]);
  const now = samples.at(-1)?.nodes.map(({ node, connections }) => `${shortName(node)}: ${connections}`).join(", ");
  return (
    <ChartCard title="Connections per node" summary={now || "no node"}>
      <AreaChart
        {...CHART}
        type="stacked"
        data={data}
        dataKey="at"
        withLegend
        areaProps={STILL}
        areaChartProps={DRAWN}
        yAxisProps={{ allowDecimals: false }}
        series={nodes.map((name, index) => ({ name: shortName(name), color: COLORS[index % COLORS.length] ?? "indigo.6" }))}
      />
    </ChartCard>
  );
}

/** The telling end of a node's name. */
function shortName(node: string): string {
  return node.length > 18 ? `…${node.slice(-16)}` : node;
}

export function LatencyChart({ events }: { readonly events: readonly EventFigures[] }): JSX.Element {
  const measured = events.flatMap(({ event, commitToSocketMs }) =>
    commitToSocketMs ? [{ event, p50: commitToSocketMs.p50, p95: commitToSocketMs.p95, p99: commitToSocketMs.p99 }] : [],
  );
  const summary = measured.map(({ event, p50, p99 }) => `${event}: half within ${p50} ms, 99 of 100 within ${p99} ms`);
  return (
    <ChartCard title="Commit to socket, milliseconds" summary={summary.join("; ") || "nothing measured yet"}>
      {measured.length > 0 ? (
        <BarChart
          h={220}
          data={measured}
          dataKey="event"
          // Lying bars: names of events are long, and beside each other some would be left out.
          orientation="vertical"
          gridAxis="x"
          yAxisProps={{ width: 140, interval: 0 }}
          withLegend
          tickLine="none"
          barProps={STILL}
          barChartProps={DRAWN}
          series={[
            { name: "p50", color: "teal.6" },
            { name: "p95", color: "indigo.6" },
            { name: "p99", color: "grape.6" },
          ]}
        />
      ) : (
        <Text h={220} c="dimmed" size="sm">
          No event reached a socket in this window.
        </Text>
      )}
    </ChartCard>
  );
}

export function Outbox({ samples }: SamplesProps): JSX.Element {
  const data = useMemo(
    () =>
      samples.map((sample) => ({
        at: at(sample),
        Waiting: sample.outbox.pending,
        "Oldest, seconds": sample.outbox.oldestPendingSeconds,
      })),
    [samples],
  );
  return (
    <ChartCard title="Outbox" summary={`${data.at(-1)?.Waiting ?? 0} events wait to be published`}>
      <LineChart
        {...CHART}
        data={data}
        dataKey="at"
        withLegend
        lineProps={STILL}
        lineChartProps={DRAWN}
        series={[
          { name: "Waiting", color: "orange.6" },
          { name: "Oldest, seconds", color: "red.6" },
        ]}
      />
    </ChartCard>
  );
}
