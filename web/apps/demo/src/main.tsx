import "@mantine/core/styles.css";
import "@mantine/charts/styles.css";
import "@mantine/notifications/styles.css";
import "@/app/styles.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App, mutationCache } from "@/app/App";
import { loadGatewayConfig } from "@/system/config";
import { createQueryClient } from "@/system/queries";
import { startRealtime } from "@/system/realtime";
import { followOtherTabs, useAuthStore } from "@/system/stores/useAuthStore";

async function start(root: HTMLElement): Promise<void> {
  followOtherTabs();
  const client = startRealtime(await loadGatewayConfig());
  const cache = createQueryClient(mutationCache);
  // What was fetched for one user is nobody else's. Here, before any page of the new user begins to fetch.
  useAuthStore.subscribe((now, before) => {
    if (now.user?.id !== before.user?.id) cache.clear();
  });
  createRoot(root).render(
    <StrictMode>
      <App client={client} cache={cache} />
    </StrictMode>,
  );
}

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
void start(root);
