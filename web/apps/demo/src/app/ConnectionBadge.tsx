import { Badge, Tooltip } from "@mantine/core";
import { useConnectionStatus, useRealtime } from "@sharedjox/realtime/react";
import type { ConnectionState, ConnectionStatus } from "@sharedjox/realtime";
import { useEffect, useState, type JSX } from "react";

const LOOKS: Readonly<Record<ConnectionState, { readonly color: string; readonly label: string }>> = {
  idle: { color: "gray", label: "Not connected" },
  connecting: { color: "yellow", label: "Connecting…" },
  connected: { color: "teal", label: "Live" },
  waiting: { color: "orange", label: "Reconnecting" },
  offline: { color: "red", label: "Offline" },
  refused: { color: "red", label: "Connection closed" },
};

/** The state of the connection, always in sight; a click tries again when that makes sense. */
export function ConnectionBadge(): JSX.Element {
  const client = useRealtime();
  const status = useConnectionStatus();
  const seconds = useSecondsUntil(status.retryAt);
  const { color, label } = LOOKS[status.state];
  const isWaiting = status.state === "waiting" && seconds > 0;
  const retry = status.state === "refused" ? () => { client.connect(); } : undefined;
  return (
    <Tooltip label={details(status)} multiline maw={280} withArrow events={{ hover: true, focus: true, touch: true }}>
      <Badge
        component={retry ? "button" : "div"}
        {...(retry && { onClick: retry, type: "button" as const })}
        color={color}
        size="lg"
        variant="light"
        role="status"
        aria-live="polite"
        tabIndex={0}
        data-testid="connection"
        data-state={status.state}
        leftSection={<span className={status.state === "connected" ? "dot dot-live" : "dot"} aria-hidden />}
      >
        {isWaiting ? `${label} in ${seconds} s` : label}
      </Badge>
    </Tooltip>
  );
}

function details({ transport, socketId, code, reason, attempt }: ConnectionStatus): string {
  if (socketId) return `Connected by ${transport ?? "?"}, socket ${socketId}`;
  const closed = code === undefined ? "" : ` Closed with ${code}${reason ? `: ${reason}` : ""}.`;
  return `${attempt > 0 ? `Attempt ${attempt}.` : "No connection."}${closed} What happens meanwhile is delivered afterwards.`;
}

function useSecondsUntil(at: number | undefined): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (at === undefined) return undefined;
    const tick = setInterval(() => {
      setNow(Date.now());
    }, 250);
    return () => {
      clearInterval(tick);
    };
  }, [at]);
  return at === undefined ? 0 : Math.ceil((at - now) / 1_000);
}
