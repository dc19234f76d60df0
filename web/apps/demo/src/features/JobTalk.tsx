import { Button, Group, Paper, Stack, Text, TextInput } from "@mantine/core";
import { wireChannels } from "@sharedjox/realtime";
import { useChannel, useRealtime } from "@sharedjox/realtime/react";
import { useState, type JSX } from "react";

import type { User } from "@/system/types";

interface Note {
  readonly key: number;
  readonly name: string;
  readonly text: string;
  readonly isOwn: boolean;
}

const EVENT = "client-note";
const KEPT = 50;

interface JobTalkProps {
  readonly jobId: number;
  readonly user: User;
  readonly onTyping: () => void;
  readonly onTypingEnd: () => void;
}

/** Notes between the two parties, sent as client events: from browser to browser, stored nowhere. */
export function JobTalk({ jobId, user, onTyping, onTypingEnd }: JobTalkProps): JSX.Element {
  const client = useRealtime();
  const channel = wireChannels.privateJob(jobId);
  const [notes, setNotes] = useState<readonly Note[]>([]);
  const [text, setText] = useState("");
  const [isLost, setIsLost] = useState(false);
  const add = (note: Omit<Note, "key">): void => {
    setNotes((old) => [...old, { ...note, key: (old.at(-1)?.key ?? 0) + 1 }].slice(-KEPT));
  };
  useChannel(channel, {
    event: ({ event, data }) => {
      if (event !== EVENT) return;
      const { name, text: received } = data as { readonly name?: unknown; readonly text?: unknown };
      add({ name: String(name), text: String(received), isOwn: false });
    },
  });
  const send = (): void => {
    const sent = text.trim();
    if (!sent) return;
    const isSent = client.trigger(channel, EVENT, { name: user.name, text: sent });
    setIsLost(!isSent);
    if (!isSent) return;
    add({ name: user.name, text: sent, isOwn: true });
    setText("");
    onTypingEnd();
  };
  return (
    <Stack gap="xs">
      <Stack gap={6} className="talk" role="log" aria-label="Notes" tabIndex={0}>
        {notes.length === 0 && (
          <Text size="sm" c="dimmed">
            Notes go straight to the other party while both are here, and are not stored.
          </Text>
        )}
        {notes.map(({ key, name, text: note, isOwn }) => (
          <Paper key={key} withBorder p={8} ml={isOwn ? "xl" : 0} mr={isOwn ? 0 : "xl"}>
            <Text size="xs" c="dimmed">
              {isOwn ? "You" : name}
            </Text>
            <Text size="sm" style={{ overflowWrap: "anywhere" }}>
              {note}
            </Text>
          </Paper>
        ))}
      </Stack>
      <form onSubmit={(event) => { event.preventDefault(); send(); }}>
        <Group gap="xs" wrap="nowrap" align="flex-start">
          <TextInput
            aria-label="Note"
            placeholder="Write a note"
            maxLength={500}
            style={{ flex: 1 }}
            value={text}
            error={isLost ? "Not connected: try again in a moment" : null}
            onChange={(event) => { setText(event.currentTarget.value); onTyping(); }}
            onBlur={onTypingEnd}
          />
          <Button type="submit" variant="default">
            Send
          </Button>
        </Group>
      </form>
    </Stack>
  );
}
