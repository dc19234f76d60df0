import { AreaChart, BarChart, LineChart } from "@mantine/charts";
import { Alert, Card, Grid, Group, ScrollArea, SimpleGrid, Table, Text, Title } from "@mantine/core";
import { useMemo, type JSX, type ReactNode } from "react";

import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { useAnalytics, type Analytics, type EventFigures, type Latency } from "@/features/analytics";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const COLORS = ["indigo.6", "teal.6", "grape.6", "orange.6", "blue.6", "red.6"];
const CHART = { h: 220, withDots: false, curveType: "monotone", strokeWidth: 2, gridAxis: "xy", tickLine: "none" } as const;
/** Moving lines would hide what changed and cost a frame each second. */
const STILL = { isAnimationActive: false } as const;
/** The drawing is described by its label; what it draws needs no key strokes. */
const DRAWN = { accessibilityLayer: false, margin: { right: 16 } } as const;

export default function OperationsPage(): JSX.Element {
  const { data, error } = useAnalytics();
  if (!data) return error ? <Problem error={error} /> : <Loading />;
  const { latest, samples } = data;
  return (
    <>
      <PageTitle title="Operations" subtitle={`Figures of the last ${latest.windowSeconds} seconds, every second`} />
      {error && <Problem error={error} />}
      {latest.outbox.oldestPendingSeconds > 5 && (
        <Alert color="orange" mb="md" title="Events wait to be published">
          The oldest is {number.format(latest.outbox.oldestPendingSeconds)} s old. Is the worker running, and Redis?
        </Alert>
      )}
      <Totals latest={latest} />
      <Grid gap="md">
        <Grid.Col span={{ base: 12, md: 6 }}>
          <Throughput samples={samples} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 6 }}>
          <Connections samples={samples} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 6 }}>
          <LatencyChart events={latest.events} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 6 }}>
          <Outbox samples={samples} />
        </Grid.Col>
        <Grid.Col span={12}>
          <EventTable events={latest.events} />
        </Grid.Col>
        <Grid.Col span={12}>
          <NodeTable nodes={latest.nodes} />
        </Grid.Col>
      </Grid>
    </>
  );
}

function Totals({ latest }: { readonly latest: Analytics }): JSX.Element {
  const { totals, nodes, outbox } = latest;
  const figures = [
    { label: "Events per second", value: number.format(totals.eventsPerSecond) },
    { label: "Deliveries per second", value: number.format(totals.deliveriesPerSecond) },
    { label: "Connections", value: number.format(totals.connections) },
    { label: "Subscriptions", value: number.format(totals.subscriptions) },
    { label: "Gateway nodes", value: number.format(nodes.length) },
    { label: "Outbox waiting", value: number.format(outbox.pending) },
  ];
  return (
    <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }} mb="md" data-testid="totals">
      {figures.map(({ label, value }) => (
        <Card key={label} padding="sm">
          <Text size="xs" c="dimmed">
            {label}
          </Text>
          <Text fz={22} fw={700} style={{ fontVariantNumeric: "tabular-nums" }}>
            {value}
          </Text>
        </Card>
      ))}
    </SimpleGrid>
  );
}

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
  return clock.format(new Date(sample.at));
}

function Throughput({ samples }: SamplesProps): JSX.Element {
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

function Connections({ samples }: SamplesProps): JSX.Element {
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

function LatencyChart({ events }: { readonly events: readonly EventFigures[] }): JSX.Element {
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

function Outbox({ samples }: SamplesProps): JSX.Element {
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

function latencyText(latency: Latency | null): string {
  return latency ? `${number.format(latency.p50)} / ${number.format(latency.p95)} / ${number.format(latency.p99)}` : "–";
}

function EventTable({ events }: { readonly events: readonly EventFigures[] }): JSX.Element {
  return (
    <Figures
      title="Events"
      head={["Event", "Count", "Per second", "Commit to publish, ms (p50 / p95 / p99)", "Commit to socket, ms (p50 / p95 / p99)"]}
      rows={events.map(({ event, count, perSecond, commitToPublishMs, commitToSocketMs }) => [
        event,
        number.format(count),
        number.format(perSecond),
        latencyText(commitToPublishMs),
        latencyText(commitToSocketMs),
      ])}
    />
  );
}

function NodeTable({ nodes }: { readonly nodes: Analytics["nodes"] }): JSX.Element {
  return (
    <Figures
      title="Gateway nodes"
      head={["Node", "Connections", "Subscriptions", "Deliveries per second", "Seen"]}
      rows={nodes.map(({ node, connections, subscriptions, deliveriesPerSecond, updatedAt }) => [
        node,
        number.format(connections),
        number.format(subscriptions),
        number.format(deliveriesPerSecond),
        clock.format(new Date(updatedAt)),
      ])}
    />
  );
}

interface FiguresProps {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

function Figures({ title, head, rows }: FiguresProps): JSX.Element {
  return (
    <Card>
      <Group justify="space-between" mb="xs">
        <Title order={2} fz="h5">
          {title}
        </Title>
      </Group>
      <ScrollArea viewportProps={{ tabIndex: 0, role: "region", "aria-label": title }}>
        <Table miw={640}>
          <Table.Thead>
            <Table.Tr>
              {head.map((name) => (
                <Table.Th key={name} scope="col">
                  {name}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map(([name, ...cells]) => (
              <Table.Tr key={name}>
                <Table.Td fw={600}>{name}</Table.Td>
                {cells.map((cell, index) => (
                  <Table.Td key={head[index + 1]} style={{ fontVariantNumeric: "tabular-nums" }}>
                    {cell}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        {rows.length === 0 && (
          <Text size="sm" c="dimmed" p="xs">
            Nothing in this window.
          </Text>
        )}
      </ScrollArea>
    </Card>
  );
}
