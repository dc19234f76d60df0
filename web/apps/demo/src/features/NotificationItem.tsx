import { Badge, Button, Card, Group, Stack, Text, ThemeIcon } from "@mantine/core";
import { IconBell, IconBriefcase, IconCoin, IconSparkles } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { JSX } from "react";
import { Link } from "react-router";

import { api } from "@/system/api";
import { formatAgo } from "@/system/format";
import { keys, replace, type Pages } from "@/system/queries";
import type { Notification } from "@/system/types";

export function NotificationItem({ item }: { readonly item: Notification }): JSX.Element {
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
  const { icon: Icon, color } = looks(item.type);
  const isRead = Boolean(item.readAt);
  return (
    <Card component="li" data-testid="notification" data-type={item.type}>
      <Group gap="sm" wrap="nowrap" align="flex-start">
        <ThemeIcon variant="light" color={isRead ? "gray" : color} size="lg" radius="xl" aria-hidden>
          <Icon size={18} />
        </ThemeIcon>
        <Stack gap={2} flex={1} miw={0}>
          <Group gap="xs">
            <Text fw={600}>{item.title}</Text>
            {!isRead && <Badge color="indigo">unread</Badge>}
          </Group>
          <Text size="sm" style={{ overflowWrap: "anywhere" }}>
            {item.body}
          </Text>
          <Group gap="xs" mt={4}>
            <Text size="xs" c="dimmed" flex="1 0 auto">
              {formatAgo(item.createdAt)}
            </Text>
            {item.jobId !== null && (
              <Button
                component={Link}
                to={`/jobs/${item.jobId}`}
                size="compact-sm"
                variant={item.type === "job.alert" && !isRead ? "filled" : "default"}
                aria-label={`View job ${item.jobId}`}
                onClick={() => { if (!isRead) read.mutate(); }}
              >
                View job
              </Button>
            )}
            {!isRead && (
              <Button size="compact-sm" variant="default" loading={read.isPending} onClick={() => { read.mutate(); }} aria-label={`Mark as read: ${item.title}`}>
                Mark as read
              </Button>
            )}
          </Group>
        </Stack>
      </Group>
    </Card>
  );
}

interface Looks {
  readonly icon: typeof IconBell;
  readonly color: string;
}

/** By what the type begins with; a type that is newer than this page looks like any notification. */
function looks(type: string): Looks {
  if (type === "job.alert") return { icon: IconSparkles, color: "grape" };
  if (type.startsWith("job.")) return { icon: IconBriefcase, color: "indigo" };
  if (type.startsWith("wallet.")) return { icon: IconCoin, color: "teal" };
  return { icon: IconBell, color: "indigo" };
}
