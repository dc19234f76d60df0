import { Alert, Avatar, Badge, Card, Grid, Group, List, Stack, Stepper, Text, Title, Tooltip, VisuallyHidden } from "@mantine/core";
import { useViewers, useTyping } from "@sharedjox/realtime/react";
import type { Member, Typist } from "@sharedjox/realtime";
import { IconPackage } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, type JSX } from "react";
import { useParams } from "react-router";

import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { StatusBadge } from "@/components/StatusBadge";
import { JobActions } from "@/features/JobActions";
import { JobTalk } from "@/features/JobTalk";
import { Payment } from "@/features/Payment";
import { api } from "@/system/api";
import { formatDuration, formatMoney, formatTime } from "@/system/format";
import { useWebSocket } from "@/system/hooks/useWebSocket";
import { applyEvent } from "@/system/live";
import { keys } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Job, JobStatus, User } from "@/system/types";

export default function JobPage(): JSX.Element {
  const { jobId } = useParams();
  const id = Number(jobId);
  const user = useAuthStore((state) => state.user);
  const query = useQuery({ queryKey: keys.job(id), queryFn: () => api.job(id) });
  const job = query.data;
  const isParty = job !== undefined && (user?.id === job.clientId || user?.id === job.claimedBy);
  useJobEvents(id, isParty);
  if (query.error) return <Problem error={query.error} retry={() => void query.refetch()} />;
  if (!job || !user) return <Loading />;
  return <JobDetails key={job.id} job={job} user={user} isParty={isParty} />;
}

/** Keep the cached job right by its events; those who are not a party only see what the page fetches. */
function useJobEvents(id: number, isParty: boolean): void {
  const { subscribeToJob } = useWebSocket();
  const cache = useQueryClient();
  useEffect(() => {
    if (!isParty) return undefined;
    const refetch = (): void => {
      void cache.invalidateQueries({ queryKey: keys.job(id) });
      void cache.invalidateQueries({ queryKey: keys.mine });
    };
    return subscribeToJob(id, {
      "job.claimed": refetch,
      "job.updated": ({ status, deliverables, updatedAt }) => {
        // What was fetched may be newer than an event that was on its way.
        applyEvent<Job>(cache, keys.job(id), (job) =>
          job && Date.parse(updatedAt) >= Date.parse(job.updatedAt) ? { ...job, status, deliverables, updatedAt } : job,
        );
        void cache.invalidateQueries({ queryKey: keys.mine });
        void cache.invalidateQueries({ queryKey: keys.transactions });
        if (status === "active") refetch();
      },
      resync: refetch,
      error: refetch,
    });
  }, [subscribeToJob, cache, id, isParty]);
}

interface JobDetailsProps {
  readonly job: Job;
  readonly user: User;
  readonly isParty: boolean;
}

function JobDetails({ job, user, isParty }: JobDetailsProps): JSX.Element {
  const { viewers } = useViewers(job.id);
  const typing = useTyping(job.id, { id: String(user.id), name: user.name });
  return (
    <>
      <PageTitle title={job.title} subtitle={`Job ${job.id}, posted ${formatTime(job.createdAt)}`}>
        <StatusBadge status={job.status} />
        <Viewers viewers={viewers} selfId={user.id} />
      </PageTitle>
      <Progress status={job.status} />
      <Grid gap="md" mt="md">
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Stack>
            {user.id === job.clientId && job.status === "completed" && <Payment job={job} />}
            <Card>
              <Stack gap="sm">
                <Text style={{ whiteSpace: "pre-wrap" }}>{job.description || "No description."}</Text>
                <Facts job={job} />
              </Stack>
            </Card>
            <JobActions key={job.status} job={job} user={user} onTyping={typing.notify} onTypingEnd={typing.stop} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <Stack>
            <Card>
              <Title order={2} fz="h5" mb="xs">
                Deliverables
              </Title>
              <Deliverables items={job.deliverables} />
            </Card>
            {isParty && job.claimedBy !== null && (
              <Card>
                <Title order={2} fz="h5" mb="xs">
                  Notes
                </Title>
                <JobTalk jobId={job.id} user={user} onTyping={typing.notify} onTypingEnd={typing.stop} />
                <TypingLine typists={typing.typists} />
              </Card>
            )}
          </Stack>
        </Grid.Col>
      </Grid>
    </>
  );
}

const STEPS: readonly JobStatus[] = ["active", "claimed", "in_progress", "submitted", "completed"];
const STEP_LABELS = ["Posted", "Claimed", "Working", "Submitted", "Completed"];

function Progress({ status }: { readonly status: JobStatus }): JSX.Element {
  if (status === "cancelled") return <Alert color="gray" title="This job was cancelled" />;
  const step = STEPS.indexOf(status);
  return (
    <Card>
      <Stepper active={status === "completed" ? STEPS.length : step} size="xs" iconSize={28} wrap={false} allowNextStepsSelect={false}>
        {STEP_LABELS.map((label, index) => (
          <Stepper.Step key={label} label={<StepLabel text={label} />} aria-current={index === step ? "step" : undefined} />
        ))}
      </Stepper>
    </Card>
  );
}

/** On a phone there is only room for the numbers; the words are still there to be read out. */
function StepLabel({ text }: { readonly text: string }): JSX.Element {
  return (
    <>
      <VisuallyHidden>{text}</VisuallyHidden>
      <Text component="span" size="xs" visibleFrom="sm" aria-hidden>
        {text}
      </Text>
    </>
  );
}

function Facts({ job }: { readonly job: Job }): JSX.Element {
  return (
    <Group gap="lg">
      <Fact label="Budget" value={`${formatMoney(job.budgetMin)} to ${formatMoney(job.budgetMax)}`} />
      {job.agreedAmount !== null && <Fact label="Agreed" value={formatMoney(job.agreedAmount)} />}
      <Fact label="Duration" value={formatDuration(job.estimatedDuration)} />
      {job.matchScore !== undefined && job.matchScore !== null && <Fact label="Match" value={`${job.matchScore} %`} />}
      <Group gap={6}>
        {job.requiredSkills.map((skill) => (
          <Badge key={skill} color="gray">
            {skill}
          </Badge>
        ))}
      </Group>
    </Group>
  );
}

function Fact({ label, value }: { readonly label: string; readonly value: string }): JSX.Element {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Text fw={600}>{value}</Text>
    </div>
  );
}

function Deliverables({ items }: { readonly items: readonly string[] }): JSX.Element {
  if (items.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing handed over yet.
      </Text>
    );
  }
  return (
    <List spacing={4} icon={<IconPackage size={16} aria-hidden />} data-testid="deliverables">
      {items.map((item) => (
        <List.Item key={item}>{item}</List.Item>
      ))}
    </List>
  );
}

function nameOf({ id, info }: Member): string {
  const name = (info as { readonly name?: unknown } | null)?.name;
  return typeof name === "string" ? name : `User ${id}`;
}

function Viewers({ viewers, selfId }: { readonly viewers: readonly Member[]; readonly selfId: number }): JSX.Element | null {
  if (viewers.length === 0) return null;
  const names = viewers.map((viewer) => (viewer.id === String(selfId) ? "you" : nameOf(viewer)));
  return (
    <Tooltip label={`Viewing: ${names.join(", ")}`} withArrow events={{ hover: true, focus: true, touch: true }}>
      <Group gap="xs" role="group" aria-label={`Viewing: ${names.join(", ")}`} tabIndex={0} data-testid="viewers">
        <Avatar.Group>
          {viewers.slice(0, 5).map((viewer) => (
            <Avatar key={viewer.id} name={nameOf(viewer)} color="initials" size="sm" />
          ))}
        </Avatar.Group>
        <Text size="sm" c="dimmed">
          {viewers.length} viewing
        </Text>
      </Group>
    </Tooltip>
  );
}

function TypingLine({ typists }: { readonly typists: readonly Typist[] }): JSX.Element {
  const names = typists.map(({ name }) => name).join(", ");
  return (
    <Text size="xs" c="dimmed" mih={18} mt={4} aria-live="polite" data-testid="typing">
      {typists.length > 0 && `${names} ${typists.length === 1 ? "is" : "are"} typing…`}
    </Text>
  );
}
