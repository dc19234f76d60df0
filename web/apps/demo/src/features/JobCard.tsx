import { Anchor, Badge, Card, Group, RingProgress, Stack, Text, Tooltip } from "@mantine/core";
import { IconClock, IconCoin } from "@tabler/icons-react";
import type { JSX, ReactNode } from "react";
import { Link } from "react-router";

import { StatusBadge } from "@/components/StatusBadge";
import { formatAgo, formatDuration, formatMoney } from "@/system/format";
import type { Job } from "@/system/types";

interface JobCardProps {
  readonly job: Job;
  readonly isNew?: boolean;
  readonly ownSkills?: readonly string[];
  readonly children?: ReactNode;
}

export function JobCard({ job, isNew = false, ownSkills = [], children }: JobCardProps): JSX.Element {
  return (
    <Card component="article" className={isNew ? "arrived" : ""} data-testid="job-card" data-job={job.id}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <Stack gap={6} style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Anchor component={Link} to={`/jobs/${job.id}`} fw={600} fz="md">
              {job.title}
            </Anchor>
            {isNew && <Badge color="indigo">new</Badge>}
            {job.status !== "active" && <StatusBadge status={job.status} />}
          </Group>
          <Group gap="md" c="dimmed" fz="sm" style={{ rowGap: 2 }}>
            <Group gap={4} wrap="nowrap">
              <IconCoin size={16} aria-hidden />
              {job.agreedAmount === null
                ? `${formatMoney(job.budgetMin)} to ${formatMoney(job.budgetMax)}`
                : `${formatMoney(job.agreedAmount)} agreed`}
            </Group>
            <Group gap={4} wrap="nowrap">
              <IconClock size={16} aria-hidden />
              {formatDuration(job.estimatedDuration)}
            </Group>
            <Text size="sm">{formatAgo(job.createdAt)}</Text>
          </Group>
          <Group gap={6}>
            {job.requiredSkills.map((skill) => (
              <Badge key={skill} color={ownSkills.includes(skill) ? "teal" : "gray"} size="sm">
                {skill}
              </Badge>
            ))}
          </Group>
        </Stack>
        <Stack gap="xs" align="center">
          {job.matchScore !== undefined && job.matchScore !== null && <Match score={job.matchScore} />}
          {children}
        </Stack>
      </Group>
    </Card>
  );
}

function Match({ score }: { readonly score: number }): JSX.Element {
  const color = score >= 90 ? "teal.7" : score >= 70 ? "indigo.6" : "gray.6";
  return (
    <Tooltip label={`Match with your skills: ${score} of 100`} withArrow>
      <RingProgress
        size={52}
        thickness={5}
        roundCaps
        sections={[{ value: score, color }]}
        role="img"
        aria-label={`Match ${score} of 100`}
        label={
          <Text ta="center" fz="xs" fw={700} aria-hidden>
            {score}
          </Text>
        }
      />
    </Tooltip>
  );
}
