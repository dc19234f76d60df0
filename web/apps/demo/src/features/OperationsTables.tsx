import { Card, ScrollArea, Table, Text, Title } from "@mantine/core";
import type { JSX } from "react";

import type { Analytics, EventFigures, Latency } from "@/features/analytics";
import { formatClock, formatFigure } from "@/system/format";

function latencyText(latency: Latency | null): string {
  return latency ? `${formatFigure(latency.p50)} / ${formatFigure(latency.p95)} / ${formatFigure(latency.p99)}` : "–";
}

export function EventTable({ events }: { readonly events: readonly EventFigures[] }): JSX.Element {
  return (
    <Figures
      title="Events"
      head={["Event", "Count", "Per second", "Commit to publish, ms (p50 / p95 / p99)", "Commit to socket, ms (p50 / p95 / p99)"]}
      rows={events.map(({ event, count, perSecond, commitToPublishMs, commitToSocketMs }) => [
        event,
        formatFigure(count),
        formatFigure(perSecond),
        latencyText(commitToPublishMs),
        latencyText(commitToSocketMs),
      ])}
    />
  );
}

export function NodeTable({ nodes }: { readonly nodes: Analytics["nodes"] }): JSX.Element {
  return (
    <Figures
      title="Gateway nodes"
      head={["Node", "Connections", "Subscriptions", "Deliveries per second", "Seen"]}
      rows={nodes.map(({ node, connections, subscriptions, deliveriesPerSecond, updatedAt }) => [
        node,
        formatFigure(connections),
        formatFigure(subscriptions),
        formatFigure(deliveriesPerSecond),
        formatClock(updatedAt),
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
      <Title order={2} fz="h5" mb="xs">
        {title}
      </Title>
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
