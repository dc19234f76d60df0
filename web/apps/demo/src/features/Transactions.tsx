import { Badge, Button, Card, Group, ScrollArea, Stack, Table, Text, Title } from "@mantine/core";
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { JSX } from "react";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { formatMoney, formatTime, TRANSACTION } from "@/system/format";
import { flatten, keys } from "@/system/queries";
import type { Transaction } from "@/system/types";

/** Everybody's, for operators: they get no event for them, so the list is fetched every few seconds. */
export function AllTransactions(): JSX.Element {
  const query = useInfiniteQuery({
    queryKey: [...keys.transactions, "all"],
    queryFn: ({ pageParam }) => api.transactions({ cursor: pageParam, scope: "all" }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    refetchInterval: 5_000,
  });
  const rows = flatten(query.data);
  if (query.error) return <Problem error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending) return <Loading />;
  if (rows.length === 0) return <Empty title="No transactions yet">Deposits, withdrawals, payments and earnings are listed here.</Empty>;
  return (
    <Card padding={0}>
      <ScrollArea viewportProps={{ tabIndex: 0, "aria-label": "Transactions", role: "region" }}>
        <Table verticalSpacing="sm" horizontalSpacing="md" miw={560}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">What</Table.Th>
              <Table.Th scope="col">When</Table.Th>
              <Table.Th scope="col">State</Table.Th>
              <Table.Th scope="col" ta="right">
                Amount
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row) => (
              <Row key={row.id} row={row} />
            ))}
          </Table.Tbody>
        </Table>
      </ScrollArea>
      {query.hasNextPage && (
        <Button m="md" variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          Show more
        </Button>
      )}
    </Card>
  );
}

const STATE_COLORS = { pending: "orange", confirmed: "teal", rejected: "gray" } as const;
const SIGNS = { "1": "+", "-1": "−", "0": "" } as const;

function Row({ row }: { readonly row: Transaction }): JSX.Element {
  const { label, sign } = TRANSACTION[row.type];
  return (
    <Table.Tr data-transaction={row.id}>
      <Table.Td>
        <Text size="sm" fw={600}>
          {label}
        </Text>
        <Text size="xs" c="dimmed">
          {[`No. ${row.id}`, row.jobId !== null && `job ${row.jobId}`, row.userId && `user ${row.userId}`].filter(Boolean).join(" · ")}
        </Text>
      </Table.Td>
      <Table.Td>
        <Text size="sm">{formatTime(row.createdAt)}</Text>
      </Table.Td>
      <Table.Td>
        <Group gap="xs">
          <Badge color={STATE_COLORS[row.status]}>{row.status}</Badge>
          {row.status === "pending" && <Decide row={row} />}
        </Group>
      </Table.Td>
      <Table.Td ta="right" fw={600} style={{ fontVariantNumeric: "tabular-nums", whiteSpace: "nowrap" }}>
        {SIGNS[`${sign}`]}
        {formatMoney(row.amount)}
      </Table.Td>
    </Table.Tr>
  );
}

/** The user's own that somebody has still to decide; nothing when there are none. */
export function WaitingTransactions(): JSX.Element | null {
  const { data, error, refetch } = useQuery({
    queryKey: [...keys.transactions, "pending"],
    queryFn: () => api.transactions({ status: "pending" }),
  });
  if (error) return <Problem error={error} retry={() => void refetch()} />;
  if (!data?.items.length) return null;
  return (
    <Stack gap="xs" mb="lg" component="section" aria-labelledby="waiting-title">
      <Title order={2} fz="h5" id="waiting-title">
        Waiting for a confirmation
      </Title>
      {data.items.map((row) => (
        <Card key={row.id} padding="sm" data-testid="waiting" data-transaction={row.id}>
          <Group justify="space-between" gap="xs">
            <div>
              <Text size="sm" fw={600}>
                {TRANSACTION[row.type].label}, {formatMoney(row.amount)}
              </Text>
              <Text size="xs" c="dimmed">
                {[formatTime(row.createdAt), row.jobId !== null && `job ${row.jobId}`].filter(Boolean).join(" · ")}
              </Text>
            </div>
            <Group gap="xs">{row.type === "job_payment" ? <Decide row={row} /> : <Badge color="orange">pending</Badge>}</Group>
          </Group>
        </Card>
      ))}
    </Stack>
  );
}

function Decide({ row }: { readonly row: Transaction }): JSX.Element {
  const cache = useQueryClient();
  const decide = useMutation({
    mutationFn: (isYes: boolean) => (isYes ? api.confirm(row.id) : api.reject(row.id)),
    onSettled: () => {
      void cache.invalidateQueries({ queryKey: keys.transactions });
      void cache.invalidateQueries({ queryKey: keys.wallet });
    },
    meta: { notifies: true },
  });
  return (
    <>
      <Button size="compact-xs" loading={decide.isPending} onClick={() => { decide.mutate(true); }} aria-label={`Confirm number ${row.id}`}>
        Confirm
      </Button>
      <Button size="compact-xs" variant="default" disabled={decide.isPending} onClick={() => { decide.mutate(false); }} aria-label={`Reject number ${row.id}`}>
        Reject
      </Button>
    </>
  );
}
