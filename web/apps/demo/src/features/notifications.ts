import { useInfiniteQuery } from "@tanstack/react-query";

import { api } from "@/system/api";
import { flatten, keys } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";

export function useNotifications() {
  const isLoggedIn = useAuthStore((state) => state.user !== null);
  return useInfiniteQuery({
    queryKey: keys.notifications,
    queryFn: ({ pageParam }) => api.notifications(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    enabled: isLoggedIn,
  });
}

export function useUnreadCount(): number {
  const { data } = useNotifications();
  return flatten(data).filter(({ readAt }) => !readAt).length;
}
