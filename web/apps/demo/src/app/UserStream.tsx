/** What concerns the logged-in user, wherever in the app they are: balances, notifications, claims. */

import { Anchor } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import type { NotificationCreated, WalletUpdated } from "@sharedjox/realtime";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, type JSX } from "react";

import { useWebSocket } from "@/system/hooks/useWebSocket";
import { applyEvent } from "@/system/live";
import { keys, prepend, type Pages } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Notification, Wallet } from "@/system/types";

export function UserStream(): null {
  const { subscribeToUser } = useWebSocket();
  const userId = useAuthStore((state) => state.user?.id);
  const cache = useQueryClient();

  useEffect(() => {
    if (userId === undefined) return undefined;
    const refetch = (...stale: (readonly unknown[])[]): void => {
      for (const queryKey of stale) void cache.invalidateQueries({ queryKey });
    };
    return subscribeToUser(userId, {
      "wallet.updated": (data) => {
        applyEvent<Wallet>(cache, keys.wallet, () => toWallet(data));
        refetch(keys.transactions);
      },
      "notification.created": (data) => {
        applyEvent<Pages<Notification>>(cache, keys.notifications, (pages) => prepend(pages, toNotification(data)));
        notifications.show({ id: `notification-${data.id}`, title: data.title, message: <Message {...data} /> });
      },
      "job.claimed": ({ jobId }) => {
        refetch(keys.job(jobId), keys.mine);
      },
      resync: () => {
        refetch(keys.wallet, keys.transactions, keys.notifications, keys.mine);
      },
    });
  }, [subscribeToUser, userId, cache]);

  return null;
}

/** A plain address: these are shown beside the router, not inside. */
function Message({ body, jobId }: NotificationCreated): JSX.Element {
  return (
    <>
      {body}
      {jobId !== null && (
        <>
          {" "}
          <Anchor href={`#/jobs/${jobId}`} size="sm" underline="always">
            View job
          </Anchor>
        </>
      )}
    </>
  );
}

function toWallet({ userId, newBalance, availableBalance }: WalletUpdated): Wallet {
  return { userId, balance: newBalance, availableBalance, heldBalance: round(newBalance - availableBalance) };
}

function round(amount: number): number {
  return Math.round(amount * 100) / 100;
}

function toNotification({ id, type, title, body, jobId, createdAt }: NotificationCreated): Notification {
  return { id, type, title, body, jobId, createdAt, readAt: null };
}
