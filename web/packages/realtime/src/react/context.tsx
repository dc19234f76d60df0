/** The client in React's context, and its life: connected while mounted. */

import { createContext, useContext, useEffect, type JSX, type ReactNode } from "react";

import type { RealtimeClient } from "../core/client.js";

const Context = createContext<RealtimeClient | null>(null);

export interface RealtimeProviderProps {
  readonly client: RealtimeClient;
  readonly children?: ReactNode;
  /** Whether the page can take events yet; until then they wait in the client's queue. */
  readonly isReady?: boolean;
}

export function RealtimeProvider({ client, children, isReady = true }: RealtimeProviderProps): JSX.Element {
  useEffect(() => (isReady ? undefined : client.hold()), [client, isReady]);
  useEffect(() => {
    client.connect();
  }, [client]);
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** The client of the nearest provider. Throws outside of one. */
export function useRealtime(): RealtimeClient {
  const client = useContext(Context);
  if (!client) throw new Error("useRealtime and useWebSocket need a <RealtimeProvider client={…}> above them");
  return client;
}
