import { Card, Divider, Stack, Switch } from "@mantine/core";
import { disablePush, enablePush, pushState } from "@sharedjox/realtime/push";
import { useRealtime } from "@sharedjox/realtime/react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { JSX } from "react";

import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { keys } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Account } from "@/system/types";

/** What a user is told of, and where. */
export function NotificationSettings(): JSX.Element {
  const isFreelancer = useAuthStore((state) => state.user?.role === "freelancer");
  return (
    <Card mb="md" component="section" aria-label="Settings">
      <Stack gap="sm">
        {isFreelancer && (
          <>
            <JobAlertSwitch />
            <Divider />
          </>
        )}
        <PushSwitch />
      </Stack>
    </Card>
  );
}

function JobAlertSwitch(): JSX.Element {
  const cache = useQueryClient();
  const { data, error, refetch } = useQuery({ queryKey: keys.me, queryFn: api.me });
  const change = useMutation({
    mutationFn: (jobAlerts: boolean) => api.updateMe({ jobAlerts }),
    onSuccess: (account) => {
      cache.setQueryData<Account>(keys.me, account);
    },
  });
  const skills = data?.skills.join(", ");
  return (
    <>
      {error && <Problem error={error} retry={() => void refetch()} />}
      {change.error && <Problem error={change.error} />}
      <Switch
        label="Job alerts"
        description={
          skills === ""
            ? "You have named no skills: only jobs that ask for none would be told."
            : `Be told of every new job that asks for no skill beside yours${skills ? `: ${skills}` : ""}.`
        }
        // While the answer is on its way it shows what was chosen.
        checked={change.isPending ? change.variables : (data?.jobAlerts ?? false)}
        disabled={!data || change.isPending}
        onChange={(event) => { change.mutate(event.currentTarget.checked); }}
      />
    </>
  );
}

const PUSH_TEXT = {
  unsupported: "This browser has no Web Push.",
  denied: "This browser was told not to show notifications; its settings can change that.",
  off: "Have this browser show them when no tab is open.",
  on: "This browser shows them when no tab is open.",
} as const;

function PushSwitch(): JSX.Element {
  const client = useRealtime();
  const cache = useQueryClient();
  const { data } = useQuery({ queryKey: keys.push, queryFn: () => pushState(), staleTime: Infinity });
  const change = useMutation({
    mutationFn: (isOn: boolean) => (isOn ? enablePush(client) : disablePush(client)),
    onSuccess: (state) => {
      cache.setQueryData(keys.push, state);
    },
  });
  return (
    <>
      {change.error && <Problem error={change.error} />}
      <Switch
        label="Push notifications"
        description={PUSH_TEXT[data ?? "off"]}
        checked={change.isPending ? change.variables : data === "on"}
        disabled={!data || data === "unsupported" || data === "denied" || change.isPending}
        onChange={(event) => { change.mutate(event.currentTarget.checked); }}
      />
    </>
  );
}
