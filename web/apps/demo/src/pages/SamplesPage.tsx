import { Card, Code, NumberInput, Stack, Text, Title } from "@mantine/core";
import { useEffect, useState, type FunctionComponent, type JSX } from "react";

import { PageTitle } from "@/components/PageTitle";

/** The samples return nothing, as in the document; React takes that for "nothing to draw". */
type Sample = FunctionComponent<{ readonly jobId?: number }>;

const modules = import.meta.glob<Readonly<Record<string, Sample>>>("../seed/*.tsx", { eager: true });
const sources = import.meta.glob<string>("../seed/*.tsx", { eager: true, query: "?raw", import: "default" });

const NAMES = ["DiscoveryPage", "ClaimedJobPage", "WalletPage"] as const;

export default function SamplesPage(): JSX.Element {
  const [jobId, setJobId] = useState(1);
  const lines = useConsoleLines();
  return (
    <>
      <PageTitle title="Code samples" subtitle="The architecture document's three components, unchanged and running on this page." />
      <Stack>
        <NumberInput label="Job for ClaimedJobPage" maw={240} min={1} allowDecimal={false} value={jobId} onChange={(value) => { setJobId(Number(value) || 1); }} />
        <Card>
          <Title order={2} fz="h5" mb="xs">
            What they print
          </Title>
          <Stack gap={4} role="log" aria-label="Console" data-testid="console">
            {lines.length === 0 && (
              <Text size="sm" c="dimmed">
                Nothing yet. Post a job, or change one, in another window.
              </Text>
            )}
            {lines.map(({ key, text }) => (
              <Text key={key} className="frame-data">
                {text}
              </Text>
            ))}
          </Stack>
        </Card>
        {NAMES.map((name) => {
          const Running = modules[`../seed/${name}.tsx`]?.[name];
          return (
            <Card key={name}>
              <Title order={2} fz="h5" mb="xs">
                {name}
              </Title>
              {Running && <Running jobId={jobId} />}
              <Code block tabIndex={0} role="region" aria-label={`Source of ${name}`}>
                {sources[`../seed/${name}.tsx`]}
              </Code>
            </Card>
          );
        })}
      </Stack>
    </>
  );
}

interface Line {
  readonly key: number;
  readonly text: string;
}

const KEPT_LINES = 20;
const PREFIXES = ["New job posted:", "Job updated:", "Wallet updated:"];

/** Show on the page what the samples write to the console, for as long as the page is open. */
function useConsoleLines(): readonly Line[] {
  const [lines, setLines] = useState<readonly Line[]>([]);
  useEffect(() => {
    // eslint-disable-next-line no-console -- the samples print; this shows what
    const log = console.log;
    const show = (...parts: unknown[]): void => {
      log(...parts);
      if (!PREFIXES.includes(String(parts[0]))) return;
      const text = parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join(" ");
      setLines((old) => [{ key: (old[0]?.key ?? 0) + 1, text }, ...old].slice(0, KEPT_LINES));
    };
    Object.assign(console, { log: show });
    return () => {
      Object.assign(console, { log });
    };
  }, []);
  return lines;
}
