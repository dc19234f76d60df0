import { Alert, Button, Group, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { JSX } from "react";

import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { formatMoney } from "@/system/format";
import { keys } from "@/system/queries";
import type { Job } from "@/system/types";

/** For the client of a completed job: the payment that waits for their word. */
export function Payment({ job }: { readonly job: Job }): JSX.Element | null {
  const cache = useQueryClient();
  const pending = useQuery({
    queryKey: [...keys.transactions, "pending", job.id],
    queryFn: () => api.transactions({ status: "pending", jobId: job.id }),
  });
  const settled = (): void => void cache.invalidateQueries({ queryKey: keys.transactions });
  const confirm = useMutation({ mutationFn: api.confirm, onSettled: settled });
  const payment = pending.data?.items.find(({ jobId, status }) => jobId === job.id && status === "pending");
  if (confirm.error) return <Problem error={confirm.error} />;
  if (!payment) return null;
  return (
    <Alert color="indigo" title="Payment waits for you">
      <Group justify="space-between">
        <Text size="sm">{formatMoney(payment.amount)} for this job; without your word it is paid after three days.</Text>
        <Button size="compact-md" loading={confirm.isPending} onClick={() => { confirm.mutate(payment.id); }}>
          Confirm the payment
        </Button>
      </Group>
    </Alert>
  );
}
