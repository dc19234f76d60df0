import { Button, Card, NumberInput, SimpleGrid, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type JSX } from "react";

import { Dialog } from "@/components/Dialog";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { Statement } from "@/features/Statement";
import { AllTransactions, WaitingTransactions } from "@/features/Transactions";
import { api } from "@/system/api";
import { formatMoney } from "@/system/format";
import { keys } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";

export default function WalletPage(): JSX.Element | null {
  const user = useAuthStore((state) => state.user);
  if (!user) return null;
  return user.role === "operator" ? <EverybodysPage /> : <OwnWallet />;
}

function OwnWallet(): JSX.Element {
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
      <WaitingTransactions />
      <Statement />
      <AmountDialog dialog={dialog} onClose={() => { setDialog(null); }} />
    </>
  );
}

function EverybodysPage(): JSX.Element {
  return (
    <>
      <PageTitle title="Wallet" subtitle="Deposits, withdrawals and earnings of all users. Pending ones wait for you." />
      <AllTransactions />
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
