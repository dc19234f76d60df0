import { Button, Stack } from "@mantine/core";
import type { JSX } from "react";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { NotificationItem } from "@/features/NotificationItem";
import { NotificationSettings } from "@/features/NotificationSettings";
import { useNotifications } from "@/features/notifications";
import { flatten } from "@/system/queries";

export default function NotificationsPage(): JSX.Element {
  const query = useNotifications();
  const items = flatten(query.data);
  return (
    <>
      <PageTitle title="Notifications" subtitle="Stored for you, and shown the moment they are written." />
      <NotificationSettings />
      {query.error && <Problem error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Loading />}
      <Stack gap="sm" component="ul" p={0} m={0} style={{ listStyle: "none" }}>
        {items.map((item) => (
          <NotificationItem key={item.id} item={item} />
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
