import { Alert, Card, Grid, SimpleGrid, Text } from "@mantine/core";
import type { JSX } from "react";

import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { useAnalytics, type Analytics } from "@/features/analytics";
import { Connections, LatencyChart, Outbox, Throughput } from "@/features/OperationsCharts";
import { EventTable, NodeTable } from "@/features/OperationsTables";
import { formatFigure } from "@/system/format";

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
          The oldest is {formatFigure(latest.outbox.oldestPendingSeconds)} s old. Is the worker running, and Redis?
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
    { label: "Events per second", value: formatFigure(totals.eventsPerSecond) },
    { label: "Deliveries per second", value: formatFigure(totals.deliveriesPerSecond) },
    { label: "Connections", value: formatFigure(totals.connections) },
    { label: "Subscriptions", value: formatFigure(totals.subscriptions) },
    { label: "Gateway nodes", value: formatFigure(nodes.length) },
    { label: "Outbox waiting", value: formatFigure(outbox.pending) },
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
