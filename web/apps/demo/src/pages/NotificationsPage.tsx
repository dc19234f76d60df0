import { Anchor, Badge, Button, Card, Group, Stack, Switch, Text } from "@mantine/core";
import { useRealtime } from "@sharedjox/realtime/react";
import { disablePush, enablePush, pushState } from "@sharedjox/realtime/push";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { JSX } from "react";
import { Link } from "react-router";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { useNotifications } from "@/features/notifications";
import { api } from "@/system/api";
import { formatAgo } from "@/system/format";
import { flatten, keys, replace, type Pages } from "@/system/queries";
import type { Notification } from "@/system/types";

export default function NotificationsPage(): JSX.Element {
  const query = useNotifications();
  const items = flatten(query.data);
  return (
    <>
      <PageTitle title="Notifications" subtitle="Stored for you, and shown the moment they are written." />
      <PushCard />
      {query.error && <Problem error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Loading />}
      <Stack gap="sm" component="ul" p={0} m={0} style={{ listStyle: "none" }}>
        {items.map((item) => (
          <Item key={item.id} item={item} />
        ))}
      </Stack>
      {query.isSuccess && items.length === 0 && <Empty title="Nothing yet">Claims, deliveries and payments are told here.</Empty>}
      {query.hasNextPage && (
        <Button mt="md" variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          Show more
        </Button>
      )}
    </>
  );
}

function Item({ item }: { readonly item: Notification }): JSX.Element {
  const cache = useQueryClient();
  const read = useMutation({
    mutationFn: () => api.markRead(item.id),
    onSuccess: () => {
      cache.setQueryData<Pages<Notification>>(keys.notifications, (pages) =>
        replace(pages, item.id, (old) => ({ ...old, readAt: new Date().toISOString() })),
      );
    },
    meta: { notifies: true },
  });
  return (
    <Card component="li" data-testid="notification">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <div>
          <Group gap="xs">
            <Text fw={600}>{item.title}</Text>
            {!item.readAt && <Badge color="indigo">unread</Badge>}
          </Group>
          <Text size="sm">{item.body}</Text>
          <Text size="xs" c="dimmed">
            {formatAgo(item.createdAt)}
            {item.jobId !== null && (
              <>
                {" · "}
                <Anchor component={Link} to={`/jobs/${item.jobId}`} size="xs" underline="always">
                  job {item.jobId}
                </Anchor>
              </>
            )}
          </Text>
        </div>
        {!item.readAt && (
          <Button size="compact-sm" variant="default" loading={read.isPending} onClick={() => { read.mutate(); }} aria-label={`Mark “${item.title}” as read`}>
            Read
          </Button>
        )}
      </Group>
    </Card>
  );
}

const PUSH_TEXT = {
  unsupported: "This browser has no Web Push.",
  denied: "This browser was told not to show notifications; its settings can change that.",
  off: "Be told of claims and payments when no tab is open.",
  on: "This browser is told of claims and payments when no tab is open.",
} as const;

function PushCard(): JSX.Element {
  const client = useRealtime();
  const cache = useQueryClient();
  const { data = "unsupported" } = useQuery({ queryKey: ["push"], queryFn: () => pushState(), staleTime: Infinity });
  const change = useMutation({
    mutationFn: (isOn: boolean) => (isOn ? enablePush(client) : disablePush(client)),
    onSuccess: (state) => {
      cache.setQueryData(["push"], state);
    },
  });
  return (
    <Card mb="md">
      {change.error && <Problem error={change.error} />}
      <Switch
        label="Push notifications"
        description={PUSH_TEXT[data]}
        checked={data === "on"}
        disabled={data === "unsupported" || data === "denied" || change.isPending}
        onChange={(event) => { change.mutate(event.currentTarget.checked); }}
      />
    </Card>
  );
}
