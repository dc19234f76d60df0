import { Badge, Button, Center, Grid, Group, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import { useDebouncedValue, useDisclosure } from "@mantine/hooks";
import type { JobPosted } from "@sharedjox/realtime";
import { IconPlus, IconSearch } from "@tabler/icons-react";
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState, type JSX } from "react";
import { useNavigate } from "react-router";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { JobCard } from "@/features/JobCard";
import { PostJobModal } from "@/features/PostJobModal";
import { api, type JobFilters } from "@/system/api";
import { matchScore } from "@/system/format";
import { useWebSocket } from "@/system/hooks/useWebSocket";
import { applyEvent } from "@/system/live";
import { flatten, keys, prepend, without, type Pages } from "@/system/queries";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Job, User } from "@/system/types";

const NO_SKILLS: readonly string[] = [];

export default function DiscoveryPage(): JSX.Element {
  const user = useAuthStore((state) => state.user);
  const [filters, setFilters] = useState<JobFilters>({});
  const [applied] = useDebouncedValue(filters, 250);
  const [isPosting, posting] = useDisclosure();
  const feed = useDiscoveryFeed(applied, user);
  const jobs = flatten(feed.query.data);
  return (
    <>
      <PageTitle title="Discovery" subtitle="Open jobs. New ones appear by themselves.">
        {user?.role === "client" && (
          <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={posting.open}>
            Post a job
          </Button>
        )}
      </PageTitle>
      <Filters filters={filters} onChange={setFilters} />
      {feed.query.error && <Problem error={feed.query.error} retry={() => void feed.query.refetch()} />}
      {feed.query.isPending ? (
        <Loading />
      ) : (
        <>
          <Stack gap="sm" role="feed" aria-label="Open jobs" aria-busy={feed.query.isFetching}>
            {jobs.map((job) => (
              <JobCard key={job.id} job={job} isNew={feed.arrived.has(job.id)} ownSkills={user?.skills ?? NO_SKILLS}>
                {user?.role === "freelancer" && <ClaimButton job={job} />}
              </JobCard>
            ))}
          </Stack>
          <More query={feed.query} isEmpty={jobs.length === 0} />
        </>
      )}
      <PostJobModal isOpen={isPosting} onClose={posting.close} />
    </>
  );
}

type FeedQuery = ReturnType<typeof useDiscoveryFeed>["query"];

function More({ query, isEmpty }: { readonly query: FeedQuery; readonly isEmpty: boolean }): JSX.Element | null {
  if (isEmpty && !query.error) {
    return <Empty title="Nothing here yet">Jobs that fit these filters appear the moment they are posted.</Empty>;
  }
  if (!query.hasNextPage) return null;
  return (
    <Center mt="sm">
      <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        Show more
      </Button>
    </Center>
  );
}

type DiscoveryKey = readonly [...typeof keys.discovery, JobFilters];

function useDiscoveryFeed(filters: JobFilters, user: User | null) {
  const { subscribeToDiscovery } = useWebSocket();
  const cache = useQueryClient();
  const [arrived, setArrived] = useState<ReadonlySet<number>>(new Set());
  const query = useInfiniteQuery({
    queryKey: [...keys.discovery, filters] satisfies DiscoveryKey,
    queryFn: ({ pageParam }) => api.activeJobs(filters, pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });

  useEffect(
    () =>
      subscribeToDiscovery({
        "job.posted": (posted) => {
          const job = toJob(posted, user);
          // Lists with other filters are kept for a while, and are to be right when they are shown again.
          const lists = cache
            .getQueryCache()
            .findAll({ queryKey: keys.discovery })
            .filter(({ queryKey }) => fits(job, (queryKey as DiscoveryKey)[1]));
          for (const { queryKey } of lists) applyEvent<Pages<Job>>(cache, queryKey, (pages) => prepend(pages, job));
          if (lists.length > 0) setArrived((old) => new Set(old).add(job.id));
        },
        resync: () => void cache.invalidateQueries({ queryKey: keys.discovery }),
      }),
    [subscribeToDiscovery, cache, user],
  );
  return { query, arrived };
}

/** The list entry for a job that came as an event; what the event leaves out is fetched when the job is opened. */
function toJob({ job }: JobPosted, user: User | null): Job {
  return {
    ...job,
    description: null,
    claimedBy: null,
    agreedAmount: null,
    deliverables: [],
    updatedAt: job.createdAt,
    claimedAt: null,
    ...(user?.role === "freelancer" && { matchScore: matchScore(user.skills ?? NO_SKILLS, job.requiredSkills) }),
  };
}

/** Whether a new job belongs on a filtered list. Words are left to the server: it knows the description as well. */
function fits(job: Job, { skill, minBudget, maxBudget, q }: JobFilters): boolean {
  return (
    (!skill || job.requiredSkills.includes(skill)) &&
    (minBudget === undefined || job.budgetMax >= minBudget) &&
    (maxBudget === undefined || job.budgetMin <= maxBudget) &&
    (!q || job.title.toLowerCase().includes(q.toLowerCase()))
  );
}

interface FiltersProps {
  readonly filters: JobFilters;
  readonly onChange: (filters: JobFilters) => void;
}

function Filters({ filters, onChange }: FiltersProps): JSX.Element {
  const skills = useAuthStore((state) => state.user?.skills) ?? NO_SKILLS;
  const budget = (value: string | number): number | undefined => (value === "" ? undefined : Number(value));
  return (
    <Stack gap="xs" mb="md" role="search" aria-label="Filter jobs">
      <Grid gap="sm">
        <Grid.Col span={{ base: 12, sm: 5 }}>
          <TextInput
            aria-label="Search"
            placeholder="Search title and description"
            leftSection={<IconSearch size={16} aria-hidden />}
            value={filters.q ?? ""}
            onChange={(event) => { onChange({ ...filters, q: event.currentTarget.value }); }}
          />
        </Grid.Col>
        <Grid.Col span={{ base: 12, sm: 3 }}>
          <TextInput
            aria-label="Skill"
            placeholder="Skill"
            value={filters.skill ?? ""}
            onChange={(event) => { onChange({ ...filters, skill: event.currentTarget.value.trim().toLowerCase() }); }}
          />
        </Grid.Col>
        <Grid.Col span={{ base: 6, sm: 2 }}>
          <NumberInput aria-label="Budget at least" placeholder="Budget from" min={0} value={filters.minBudget ?? ""} onChange={(value) => { onChange({ ...filters, minBudget: budget(value) }); }} />
        </Grid.Col>
        <Grid.Col span={{ base: 6, sm: 2 }}>
          <NumberInput aria-label="Budget at most" placeholder="Budget to" min={0} value={filters.maxBudget ?? ""} onChange={(value) => { onChange({ ...filters, maxBudget: budget(value) }); }} />
        </Grid.Col>
      </Grid>
      {skills.length > 0 && (
        <Group gap={6}>
          <Text size="sm" c="dimmed">
            Your skills:
          </Text>
          {skills.map((skill) => (
            <Badge
              key={skill}
              component="button"
              type="button"
              color={filters.skill === skill ? "indigo" : "gray"}
              aria-pressed={filters.skill === skill}
              onClick={() => { onChange({ ...filters, skill: filters.skill === skill ? "" : skill }); }}
            >
              {skill}
            </Badge>
          ))}
        </Group>
      )}
    </Stack>
  );
}

function ClaimButton({ job }: { readonly job: Job }): JSX.Element {
  const cache = useQueryClient();
  const navigate = useNavigate();
  const claiming = useMutation({
    mutationFn: () => api.claim(job.id),
    onSuccess: (claimed) => {
      cache.setQueryData(keys.job(claimed.id), claimed);
      void cache.invalidateQueries({ queryKey: keys.mine });
      void navigate(`/jobs/${claimed.id}`);
    },
    onSettled: () => {
      cache.setQueriesData<Pages<Job>>({ queryKey: keys.discovery }, (pages) => without(pages, job.id));
    },
    meta: { notifies: true },
  });
  return (
    <Button size="compact-sm" loading={claiming.isPending} onClick={() => { claiming.mutate(); }} aria-label={`Claim ${job.title}`}>
      Claim
    </Button>
  );
}
