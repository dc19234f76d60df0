import { Badge, Button, Card, Group, JsonInput, Pill, ScrollArea, Select, Stack, Switch, Table, TagsInput, Text, TextInput, Title } from "@mantine/core";
import { useConnectionStatus, useRealtime } from "@sharedjox/realtime/react";
import { IconPlayerPause, IconPlayerPlay, IconTrash } from "@tabler/icons-react";
import { memo, useDeferredValue, useEffect, useMemo, useState, useSyncExternalStore, type JSX } from "react";

import { PageTitle } from "@/components/PageTitle";
import { FrameMonitor, type MonitoredFrame } from "@/features/monitor";
import { chosenTransports, isDebugLogging, setDebugLogging, setTransports } from "@/system/realtime";
import { useAuthStore } from "@/system/stores/useAuthStore";

export default function MonitorPage(): JSX.Element {
  return (
    <>
      <PageTitle title="Monitor" subtitle="Every frame of this page's connection, both ways." />
      <Stack>
        <ChannelPicker />
        <Frames />
        <Sender />
        <ConnectionSettings />
      </Stack>
    </>
  );
}

function useSuggestions(): string[] {
  const user = useAuthStore((state) => state.user);
  const own = user ? [`private-user.${user.id}`] : [];
  return ["jobs.discovery", ...own, "private-job.1", "presence-job.1", ...(user?.role === "operator" ? ["private-ops"] : [])];
}

function ChannelPicker(): JSX.Element {
  const suggestions = useSuggestions();
  const [channels, setChannels] = useState<string[]>(["jobs.discovery"]);
  const [states, setStates] = useState<Readonly<Record<string, string>>>({});
  const client = useRealtime();
  const joined = channels.join(" ");
  useEffect(() => {
    const leave = joined
      .split(" ")
      .filter(Boolean)
      .map((channel) => {
        const become = (state: string): void => {
          setStates((old) => ({ ...old, [channel]: state }));
        };
        return client.subscribe(channel, {
          resync: () => { become("joined"); },
          error: ({ message, status }) => { become(`refused${status ? ` (${status})` : ""}: ${message}`); },
        });
      });
    return () => {
      for (const stop of leave) stop();
    };
  }, [client, joined]);
  return (
    <Card>
      <TagsInput
        label="Channels"
        description="Names as they stand on the wire; Enter adds one, or several with spaces between"
        data={suggestions}
        value={channels}
        onChange={(names) => { setChannels([...new Set(names.flatMap((name) => name.split(/\s+/)).filter(Boolean))]); }}
        splitChars={[" "]}
        data-testid="monitor-channels"
      />
      <Group gap={6} mt="xs" aria-live="polite">
        {channels.map((channel) => (
          <Badge key={channel} color={stateColor(states[channel])} data-channel={channel}>
            {channel}: {states[channel] ?? "joining"}
          </Badge>
        ))}
      </Group>
    </Card>
  );
}

function stateColor(state: string | undefined): string {
  if (state === "joined") return "teal";
  return state?.startsWith("refused") ? "red" : "gray";
}

function Frames(): JSX.Element {
  const client = useRealtime();
  const monitor = useMemo(() => new FrameMonitor(client), [client]);
  const { frames, total, perSecond } = useSyncExternalStore(monitor.subscribe, monitor.get);
  const unhurried = useDeferredValue(frames);
  const [isPaused, setPaused] = useState(false);
  const [words, setWords] = useState("");
  const shown = words ? unhurried.filter(({ frame }) => JSON.stringify(frame).includes(words)) : unhurried;
  return (
    <Card>
      <Group justify="space-between" mb="xs">
        <Group gap="xs">
          <Title order={2} fz="h5">
            Frames
          </Title>
          <Badge color="gray" data-testid="frame-count" data-total={total}>
            {total} seen
          </Badge>
          <Badge color="indigo">{perSecond} per second</Badge>
        </Group>
        <Group gap="xs">
          <TextInput aria-label="Show only frames with" placeholder="Show only…" size="xs" value={words} onChange={(event) => { setWords(event.currentTarget.value); }} />
          <Button
            size="compact-sm"
            variant="default"
            leftSection={isPaused ? <IconPlayerPlay size={14} aria-hidden /> : <IconPlayerPause size={14} aria-hidden />}
            onClick={() => { monitor.pause(!isPaused); setPaused(!isPaused); }}
          >
            {isPaused ? "Go on" : "Pause"}
          </Button>
          <Button size="compact-sm" variant="default" leftSection={<IconTrash size={14} aria-hidden />} onClick={() => { monitor.clear(); }}>
            Clear
          </Button>
        </Group>
      </Group>
      <ScrollArea.Autosize mah={420} viewportProps={{ tabIndex: 0, role: "region", "aria-label": "Frames" }}>
        <Table stickyHeader layout="fixed" miw={640} className="frames">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col" w={140}>Time</Table.Th>
              <Table.Th scope="col" w={200}>Event</Table.Th>
              <Table.Th scope="col" w={150}>Channel</Table.Th>
              <Table.Th scope="col" w={70}>Offset</Table.Th>
              <Table.Th scope="col">Data</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody data-testid="frames">
            {shown.map((tapped) => (
              <FrameRow key={tapped.key} tapped={tapped} />
            ))}
          </Table.Tbody>
        </Table>
      </ScrollArea.Autosize>
      {shown.length === 0 && (
        <Text size="sm" c="dimmed" p="md" ta="center">
          Nothing yet. Post a job in another window, and it passes here.
        </Text>
      )}
    </Card>
  );
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false });
const SHOWN_CHARACTERS = 240;

/** Plain elements, drawn once per frame: at hundreds of frames a second a styled table would be the page's whole work. */
const FrameRow = memo(function FrameRow({ tapped: { direction, at, frame } }: { readonly tapped: MonitoredFrame }): JSX.Element {
  return (
    <tr data-event={frame.event}>
      <td>
        <span role="img" aria-label={direction === "in" ? "received" : "sent"}>
          {direction === "in" ? "↓" : "↑"}
        </span>{" "}
        {clock.format(at)}
      </td>
      <td>{frame.event}</td>
      <td>{frame.channel ?? (frame.data as { readonly channel?: string } | null)?.channel ?? ""}</td>
      <td>{frame.meta?.offset ?? ""}</td>
      <td>{JSON.stringify(frame.data).slice(0, SHOWN_CHARACTERS)}</td>
    </tr>
  );
});

function Sender(): JSX.Element {
  const client = useRealtime();
  const [channel, setChannel] = useState("");
  const [event, setEvent] = useState("client-test");
  const [text, setText] = useState('{ "hello": "world" }');
  const [outcome, setOutcome] = useState<string | null>(null);
  const send = (): void => {
    let data: unknown;
    try {
      data = JSON.parse(text);
    } catch {
      setOutcome("The data is not JSON.");
      return;
    }
    setOutcome(client.trigger(channel, event, data) ? "Sent to the other subscribers." : "Not sent: join the private or presence channel first.");
  };
  return (
    <Card>
      <Title order={2} fz="h5" mb="xs">
        Send a client event
      </Title>
      <form onSubmit={(submit) => { submit.preventDefault(); send(); }}>
        <Group align="flex-start" gap="sm">
          <TextInput label="Channel" placeholder="private-job.1" required value={channel} onChange={(change) => { setChannel(change.currentTarget.value); }} />
          <TextInput label="Event" required pattern="client-.+" value={event} onChange={(change) => { setEvent(change.currentTarget.value); }} />
          <JsonInput label="Data" autosize minRows={1} value={text} onChange={setText} style={{ flex: 1, minWidth: 200 }} />
          <Button type="submit" mt={25}>
            Send
          </Button>
        </Group>
        <Text size="sm" c="dimmed" mt="xs" mih={20} aria-live="polite">
          {outcome}
        </Text>
      </form>
    </Card>
  );
}

const TRANSPORTS = [
  { value: "all", label: "All, WebSocket first" },
  { value: "ws", label: "WebSocket only" },
  { value: "xhr_streaming", label: "HTTP streaming only" },
  { value: "xhr_polling", label: "HTTP polling only" },
];

function ConnectionSettings(): JSX.Element {
  const client = useRealtime();
  const status = useConnectionStatus();
  const [isDebug, setDebug] = useState(isDebugLogging);
  const chooseTransport = (value: string | null): void => {
    setTransports(value === null || value === "all" ? undefined : [value as "ws" | "xhr_streaming" | "xhr_polling"]);
    location.reload();
  };
  return (
    <Card>
      <Title order={2} fz="h5" mb="xs">
        Connection
      </Title>
      <Group gap="lg" align="flex-end">
        <Select label="Transport" data={TRANSPORTS} value={chosenTransports()} allowDeselect={false} onChange={chooseTransport} />
        <Switch label="Log frames to the console" checked={isDebug} onChange={(event) => { setDebug(event.currentTarget.checked); setDebugLogging(event.currentTarget.checked); }} mb={8} />
        <Group gap="xs" mb={4}>
          <Button size="compact-md" variant="default" onClick={() => { client.disconnect(); }}>
            Disconnect
          </Button>
          <Button size="compact-md" variant="default" onClick={() => { client.connect(); }}>
            Connect
          </Button>
        </Group>
        <Group gap={6} mb={8}>
          <Pill data-testid="transport">{status.transport ?? "no transport"}</Pill>
          <Pill>{status.socketId ?? "no socket"}</Pill>
        </Group>
      </Group>
      <Text size="sm" c="dimmed" mt="sm">
        In the browser&apos;s console: <code style={{ overflowWrap: "anywhere" }}>window.Echo.channel(&apos;jobs.discovery&apos;).listen(&apos;.job.posted&apos;, console.log)</code>
      </Text>
    </Card>
  );
}
