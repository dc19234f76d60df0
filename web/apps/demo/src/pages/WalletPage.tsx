import { Badge, Button, Card, Group, NumberInput, ScrollArea, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type JSX } from "react";

import { Dialog } from "@/components/Dialog";
import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { formatMoney, formatTime, TRANSACTION } from "@/system/format";
import { flatten, keys } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Transaction, User } from "@/system/types";

export default function WalletPage(): JSX.Element | null {
  const user = useAuthStore((state) => state.user);
  if (!user) return null;
  return user.role === "operator" ? <PendingPage user={user} /> : <OwnWallet user={user} />;
}

function OwnWallet({ user }: { readonly user: User }): JSX.Element {
  const [dialog, setDialog] = useState<AmountDialogKind | null>(null);
  return (
    <>
      <PageTitle title="Wallet" subtitle="Balances follow every booking as it happens.">
        <Button onClick={() => { setDialog("deposit"); }}>Deposit</Button>
        <Button variant="default" onClick={() => { setDialog("withdraw"); }}>
          Withdraw
        </Button>
      </PageTitle>
      <Balances />
      <Statement user={user} />
      <AmountDialog dialog={dialog} onClose={() => { setDialog(null); }} />
    </>
  );
}

function PendingPage({ user }: { readonly user: User }): JSX.Element {
  return (
    <>
      <PageTitle title="Wallet" subtitle="Deposits, withdrawals and earnings of all users. Pending ones wait for you." />
      <Statement user={user} />
    </>
  );
}

function Balances(): JSX.Element {
  const { data, error, refetch } = useQuery({ queryKey: keys.wallet, queryFn: api.wallet });
  if (error) return <Problem error={error} retry={() => void refetch()} />;
  return (
    <SimpleGrid cols={{ base: 1, xs: 3 }} mb="lg">
      <Balance label="Balance" amount={data?.balance} testId="balance" />
      <Balance label="Available" amount={data?.availableBalance} testId="available" />
      <Balance label="Held for jobs and withdrawals" amount={data?.heldBalance} testId="held" />
    </SimpleGrid>
  );
}

interface BalanceProps {
  readonly label: string;
  readonly amount: number | undefined;
  readonly testId: string;
}

function Balance({ label, amount, testId }: BalanceProps): JSX.Element {
  const [first, setFirst] = useState(amount);
  if (first === undefined && amount !== undefined) setFirst(amount);
  return (
    <Card key={amount} className={amount === first ? "" : "arrived"}>
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Text fz={28} fw={700} data-testid={testId} aria-live="polite" style={{ fontVariantNumeric: "tabular-nums" }}>
        {amount === undefined ? "…" : formatMoney(amount)}
      </Text>
    </Card>
  );
}

function Statement({ user }: { readonly user: User }): JSX.Element {
  const query = useInfiniteQuery({
    queryKey: [...keys.transactions, "all"],
    queryFn: ({ pageParam }) =>
      api.transactions({ cursor: pageParam, ...(user.role === "operator" && { scope: "all" as const }) }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    ...(user.role === "operator" && { refetchInterval: 5_000 }),
  });
  const rows = flatten(query.data);
  if (query.error) return <Problem error={query.error} retry={() => void query.refetch()} />;
  if (query.isPending) return <Loading />;
  if (rows.length === 0) return <Empty title="No bookings yet">Deposits, holds, payments and earnings are listed here.</Empty>;
  return (
    <Card padding={0}>
      <ScrollArea viewportProps={{ tabIndex: 0, "aria-label": "Statement", role: "region" }}>
        <Table verticalSpacing="sm" horizontalSpacing="md" miw={560} data-testid="statement">
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
              <Row key={row.id} row={row} user={user} />
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

function Row({ row, user }: { readonly row: Transaction; readonly user: User }): JSX.Element {
  const { label, sign } = TRANSACTION[row.type];
  const isDecidable = row.status === "pending" && (user.role === "operator" || row.type === "job_payment");
  return (
    <Table.Tr data-transaction={row.id}>
      <Table.Td>
        <Text size="sm" fw={600}>
          {label}
        </Text>
        <Text size="xs" c="dimmed">
          {[`No. ${row.id}`, row.jobId !== null && `job ${row.jobId}`, user.role === "operator" && row.userId && `user ${row.userId}`]
            .filter(Boolean)
            .join(" · ")}
        </Text>
      </Table.Td>
      <Table.Td>
        <Text size="sm">{formatTime(row.createdAt)}</Text>
      </Table.Td>
      <Table.Td>
        <Group gap="xs">
          <Badge color={STATE_COLORS[row.status]}>{row.status}</Badge>
          {isDecidable && <Decide row={row} />}
        </Group>
      </Table.Td>
      <Table.Td ta="right" fw={600} style={{ fontVariantNumeric: "tabular-nums", whiteSpace: "nowrap" }}>
        {SIGNS[`${sign}`]}
        {formatMoney(row.amount)}
      </Table.Td>
    </Table.Tr>
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

type AmountDialogKind = "deposit" | "withdraw";

function AmountDialog({ dialog, onClose }: { readonly dialog: AmountDialogKind | null; readonly onClose: () => void }): JSX.Element {
  const cache = useQueryClient();
  const [amount, setAmount] = useState<number | string>(100);
  const send = useMutation({
    mutationFn: () => (dialog === "withdraw" ? api.withdraw(Number(amount)) : api.deposit(Number(amount))),
    onSuccess: () => {
      void cache.invalidateQueries({ queryKey: keys.transactions });
      onClose();
    },
  });
  return (
    <Dialog isOpen={dialog !== null} onClose={onClose} title={dialog === "withdraw" ? "Withdraw money" : "Deposit money"}>
      <form onSubmit={(event) => { event.preventDefault(); send.mutate(); }}>
        <Stack>
          {send.error && <Problem error={send.error} />}
          <NumberInput
            label="Amount"
            description={dialog === "withdraw" ? "Held at once, paid out when an operator confirms" : "In your wallet when an operator confirms"}
            required
            min={0.01}
            decimalScale={2}
            value={amount}
            onChange={setAmount}
            data-autofocus
          />
          <Button type="submit" loading={send.isPending}>
            {dialog === "withdraw" ? "Withdraw" : "Deposit"}
          </Button>
        </Stack>
      </form>
    </Dialog>
  );
}
