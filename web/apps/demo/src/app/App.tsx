import { MantineProvider } from "@mantine/core";
import { Notifications, notifications } from "@mantine/notifications";
import type { RealtimeClient } from "@sharedjox/realtime";
import { RealtimeProvider } from "@sharedjox/realtime/react";
import { MutationCache, QueryClientProvider, type QueryClient } from "@tanstack/react-query";
import { lazy, type JSX } from "react";
import { createHashRouter, Navigate, RouterProvider } from "react-router";

import { Shell } from "@/app/Shell";
import { theme, variables } from "@/app/theme";
import { UserStream } from "@/app/UserStream";
import { Empty } from "@/components/Empty";
import { LoginPage } from "@/pages/LoginPage";
import { messageOf } from "@/system/problems";
import { useAuthStore } from "@/system/stores/useAuthStore";

const DiscoveryPage = lazy(() => import("@/pages/DiscoveryPage"));
const MyJobsPage = lazy(() => import("@/pages/MyJobsPage"));
const JobPage = lazy(() => import("@/pages/JobPage"));
const WalletPage = lazy(() => import("@/pages/WalletPage"));
const NotificationsPage = lazy(() => import("@/pages/NotificationsPage"));
const OperationsPage = lazy(() => import("@/pages/OperationsPage"));
const MonitorPage = lazy(() => import("@/pages/MonitorPage"));
const SamplesPage = lazy(() => import("@/pages/SamplesPage"));

// Hash addresses: every page is one file to whatever serves it, and no path can collide with the API's.
const router = createHashRouter([
  {
    element: <Shell />,
    children: [
      { index: true, element: <Navigate to="/discovery" replace /> },
      { path: "discovery", element: <DiscoveryPage /> },
      { path: "jobs", element: <MyJobsPage /> },
      { path: "jobs/:jobId", element: <JobPage /> },
      { path: "wallet", element: <WalletPage /> },
      { path: "notifications", element: <NotificationsPage /> },
      { path: "operations", element: <OperationsPage /> },
      { path: "monitor", element: <MonitorPage /> },
      { path: "samples", element: <SamplesPage /> },
      { path: "*", element: <Empty title="There is no such page">Choose one on the left.</Empty> },
    ],
  },
]);

/** Failures of buttons that have no place of their own for them. */
export const mutationCache = new MutationCache({
  onError: (error, _variables, _context, mutation) => {
    if (mutation.meta?.notifies) notifications.show({ color: "red", title: "That did not work", message: messageOf(error) });
  },
});

interface AppProps {
  readonly client: RealtimeClient;
  readonly cache: QueryClient;
}

export function App({ client, cache }: AppProps): JSX.Element {
  const userId = useAuthStore((state) => state.user?.id);
  return (
    <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto">
      <Notifications position="bottom-right" limit={4} />
      <QueryClientProvider client={cache}>
        <RealtimeProvider client={client}>
          {userId === undefined ? (
            <LoginPage />
          ) : (
            <div key={userId}>
              <UserStream />
              <RouterProvider router={router} />
            </div>
          )}
        </RealtimeProvider>
      </QueryClientProvider>
    </MantineProvider>
  );
}
