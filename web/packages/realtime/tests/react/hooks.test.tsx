// @vitest-environment happy-dom
/** The hooks under StrictMode, which mounts everything twice, over real sockets against the double. */

import { act, cleanup, render, renderHook, screen, waitFor } from "@testing-library/react";
import { StrictMode, useEffect, useState, version, type JSX, type ReactNode } from "react";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { RealtimeClient } from "../../src/index.js";
import {
  RealtimeProvider,
  useChannel,
  useConnectionStatus,
  useRealtime,
  useTyping,
  useViewers,
  useWebSocket,
} from "../../src/react/index.js";
import { clientOf } from "../support/client.js";
import { GatewayDouble } from "../support/gateway-double.js";
import { settle, until } from "../support/poll.js";

const CHANNEL = "jobs.discovery";

let gateway: GatewayDouble;
let client: RealtimeClient;

beforeEach(async () => {
  gateway = await GatewayDouble.start();
  client = clientOf(gateway);
});

afterEach(async () => {
  cleanup();
  client.disconnect();
  await gateway.stop();
});

function Wrapper({ children }: { readonly children: ReactNode }): JSX.Element {
  return (
    <StrictMode>
      <RealtimeProvider client={client}>{children}</RealtimeProvider>
    </StrictMode>
  );
}

/** As in the architecture document: an effect that subscribes and returns the unsubscribe function. */
function Discovery({ onJob = () => undefined }: { readonly onJob?: (title: string) => void }): JSX.Element {
  const { subscribeToDiscovery } = useWebSocket();
  const [titles, setTitles] = useState<readonly string[]>([]);
  useEffect(() => {
    const unsubscribe = subscribeToDiscovery((data) => {
      onJob(data.job.title);
      setTitles((old) => [...old, data.job.title]);
    });
    return unsubscribe;
  }, [subscribeToDiscovery, onJob]);
  return <p>{titles.join(",")}</p>;
}

async function publish(title: string): Promise<void> {
  await act(async () => {
    gateway.publish(CHANNEL, "job.posted", { job: { title } });
    await settle(60);
  });
}

describe(`with React ${version}`, () => {
  it("shows each event once, although StrictMode subscribes twice", async () => {
    render(<Discovery />, { wrapper: Wrapper });
    await until(() => gateway.subscribes.length === 1);
    await settle(60);
    await publish("one");
    await publish("two");
    expect(screen.getByText("one,two")).toBeDefined();
    expect(gateway.subscribes).toHaveLength(1);
    expect(gateway.unsubscribes).toEqual([]);
  });

  it("leaves the channel when the last component is gone, and no sooner", async () => {
    const first = render(<Discovery />, { wrapper: Wrapper });
    const second = render(<Discovery />, { wrapper: Wrapper });
    await until(() => gateway.subscribes.length === 1);
    first.unmount();
    await settle(80);
    expect(gateway.unsubscribes).toEqual([]);
    second.unmount();
    await until(() => gateway.unsubscribes.length === 1);
  });

  it("gives the same functions at every render", () => {
    const { result, rerender } = renderHook(() => useWebSocket(), { wrapper: Wrapper });
    const before = result.current;
    rerender();
    expect(result.current).toBe(before);
  });

  it("does not join again for an inline subscriber, and calls the newest one", async () => {
    const seen: string[] = [];
    const { rerender } = renderHook(
      ({ name }: { name: string }) => {
        useChannel(CHANNEL, { event: () => seen.push(name) });
      },
      { wrapper: Wrapper, initialProps: { name: "old" } },
    );
    await until(() => gateway.subscribes.length === 1);
    rerender({ name: "new" });
    await publish("x");
    expect(seen).toEqual(["new"]);
    expect(gateway.subscribes).toHaveLength(1);
  });

  it("joins nothing for the channel null", async () => {
    renderHook(() => {
      useChannel(null, {});
    }, { wrapper: Wrapper });
    await settle(60);
    expect(client.channels).toEqual([]);
  });

  it("shows the connection's state as it changes", async () => {
    const { result } = renderHook(() => useConnectionStatus(), { wrapper: Wrapper });
    await waitFor(() => {
      expect(result.current.state).toBe("connected");
    });
    await act(async () => {
      gateway.drop(4009, "session revoked");
      await settle(60);
    });
    expect(result.current).toMatchObject({ state: "refused", code: 4009 });
  });

  it("keeps events back until the page is ready", async () => {
    const seen: string[] = [];
    const onJob = (title: string): void => {
      seen.push(title);
    };
    const page = (isReady: boolean): JSX.Element => (
      <StrictMode>
        <RealtimeProvider client={client} isReady={isReady}>
          <Discovery onJob={onJob} />
        </RealtimeProvider>
      </StrictMode>
    );
    const { rerender } = render(page(false));
    await until(() => gateway.subscribes.length === 1);
    await publish("one");
    await publish("two");
    expect(seen).toEqual([]);
    await act(async () => {
      rerender(page(true));
      await settle(60);
    });
    expect(seen).toEqual(["one", "two"]);
  });

  it("shows who is viewing, and nobody after leaving", async () => {
    const { result, unmount } = renderHook(() => useViewers(1), { wrapper: Wrapper });
    await waitFor(() => {
      expect(result.current.viewers).toEqual([{ id: "7", info: { name: "Ada" } }]);
    });
    await act(async () => {
      const data = JSON.stringify({ user_id: "8", user_info: { name: "Bo" } });
      gateway.send({ event: "pusher_internal:member_added", channel: "presence-job.1", data });
      await settle(60);
    });
    expect(result.current.viewers.map(({ id }) => id)).toEqual(["7", "8"]);
    unmount();
    await until(() => gateway.unsubscribes.includes("presence-job.1"));
  });

  it("says why the viewers cannot be seen", async () => {
    gateway.answerAuth = () => ({ status: 403 });
    const { result } = renderHook(() => useViewers(1), { wrapper: Wrapper });
    await waitFor(() => {
      expect(result.current.error?.status).toBe(403);
    });
  });

  it("shows who types until they stop, never this user, and sends at most one event at a time", async () => {
    const { result } = renderHook(() => useTyping(1, { id: "7", name: "Ada" }, "private"), { wrapper: Wrapper });
    await until(() => gateway.subscribes.length === 1);
    await settle(40);
    const typing = (id: string, name: string, isTyping: boolean): Promise<void> =>
      act(async () => {
        gateway.send({ event: "client-typing", channel: "private-job.1", data: { id, name, isTyping } });
        await settle(60);
      });
    await typing("7", "Ada", true);
    expect(result.current.typists).toEqual([]);
    await typing("8", "Bo", true);
    await typing("8", "Bo", true);
    expect(result.current.typists).toEqual([{ id: "8", name: "Bo" }]);
    await typing("8", "Bo", false);
    expect(result.current.typists).toEqual([]);

    result.current.notify();
    result.current.notify();
    result.current.stop();
    await until(() => gateway.clientEvents.length === 2);
    expect(gateway.clientEvents.map(({ data }) => (data as { isTyping: boolean }).isTyping)).toEqual([true, false]);
  });

  it("explains itself outside of a provider", () => {
    expect(() => renderHook(() => useRealtime())).toThrow(/RealtimeProvider/);
  });
});
