import "@mantine/core/styles.css";

import { MantineProvider, Title } from "@mantine/core";
import { createRealtime } from "@sharedjox/realtime";
import { RealtimeProvider, useConnectionStatus } from "@sharedjox/realtime/react";
import { StrictMode, type JSX } from "react";
import { createRoot } from "react-dom/client";

const client = createRealtime({ url: import.meta.env.VITE_WS_URL ?? `ws://${location.hostname}:8080` });

function Status(): JSX.Element {
  return <Title>SharedJox: {useConnectionStatus().state}</Title>;
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider>
        <RealtimeProvider client={client}>
          <Status />
        </RealtimeProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
