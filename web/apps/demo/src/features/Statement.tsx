import { Anchor, Badge, Button, Card, Stack, Table, Text, Title } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import type { JSX } from "react";
import { Link } from "react-router";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { formatChange, formatMoney, formatTime, TRANSACTION } from "@/system/format";
import { flatten, keys } from "@/system/queries";
import type { StatementLine } from "@/system/types";

/** Every movement of the user's money and what it left, newest first. Three columns: as many as fit a phone. */
export function Statement(): JSX.Element {
  const query = useInfiniteQuery({
    queryKey: keys.statement,
    queryFn: ({ pageParam }) => api.statement(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });
  const lines = flatten(query.data);
  if (query.error) return <Problem error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending) return <Loading />;
  if (lines.length === 0) return <Empty title="No bookings yet">Deposits, holds, payments and earnings are listed here.</Empty>;
  return (
    <Stack gap="xs" component="section" aria-labelledby="statement-title">
      <Title order={2} fz="h5" id="statement-title">
        Statement
      </Title>
      <Card padding={0}>
        <Table verticalSpacing="xs" horizontalSpacing="md" data-testid="statement" style={{ fontVariantNumeric: "tabular-nums" }}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">What</Table.Th>
              <Table.Th scope="col" ta="right">
                Change
              </Table.Th>
              <Table.Th scope="col" ta="right">
                Balance
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {lines.map((line) => (
              <Line key={line.id} line={line} />
            ))}
          </Table.Tbody>
        </Table>
        {query.hasNextPage && (
          <Button m="md" variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            Show more
          </Button>
        )}
      </Card>
    </Stack>
  );
}

function Line({ line }: { readonly line: StatementLine }): JSX.Element {
  return (
    <Table.Tr data-testid="statement-line" data-type={line.type}>
      <Table.Td>
        <Text size="sm" fw={600}>
          {TRANSACTION[line.type].label}
        </Text>
        <Text size="xs" c="dimmed">
          {formatTime(line.createdAt)}
          {line.jobId !== null && (
            <>
              {" · "}
              <Anchor component={Link} to={`/jobs/${line.jobId}`} size="xs" underline="always">
                job {line.jobId}
              </Anchor>
            </>
          )}
        </Text>
      </Table.Td>
      <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>
        {line.change === 0 ? (
          <Badge color="gray">{line.heldChange > 0 ? `${formatMoney(line.amount)} held` : `${formatMoney(line.amount)} freed`}</Badge>
        ) : (
          <Text size="sm" fw={600}>
            {formatChange(line.change)}
          </Text>
        )}
      </Table.Td>
      <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>
        <Text size="sm" fw={600} data-testid="line-balance">
          {formatMoney(line.balance)}
        </Text>
        {line.heldBalance > 0 && (
          <Text size="xs" c="dimmed">
            {formatMoney(line.availableBalance)} available
          </Text>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
