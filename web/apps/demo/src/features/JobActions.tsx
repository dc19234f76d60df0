import { Button, Group, Stack, TagsInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type JSX } from "react";

import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { keys } from "@/system/queries";
import type { Job, JobStatus, User } from "@/system/types";

interface Step {
  readonly to: JobStatus;
  readonly label: string;
  readonly isMain?: boolean;
}

/** What each side may do next; the server decides, this only offers. */
const CLIENT_STEPS: Partial<Record<JobStatus, readonly Step[]>> = {
  active: [{ to: "cancelled", label: "Cancel the job" }],
  claimed: [{ to: "cancelled", label: "Cancel the job" }],
  in_progress: [{ to: "cancelled", label: "Cancel the job" }],
  submitted: [
    { to: "completed", label: "Accept and complete", isMain: true },
    { to: "in_progress", label: "Ask for changes" },
  ],
};

const FREELANCER_STEPS: Partial<Record<JobStatus, readonly Step[]>> = {
  claimed: [
    { to: "in_progress", label: "Start work", isMain: true },
    { to: "active", label: "Give it back" },
  ],
};

interface JobActionsProps {
  readonly job: Job;
  readonly user: User;
  readonly onTyping: () => void;
  readonly onTypingEnd: () => void;
}

export function JobActions({ job, user, onTyping, onTypingEnd }: JobActionsProps): JSX.Element | null {
  const cache = useQueryClient();
  const [deliverables, setDeliverables] = useState<readonly string[]>(job.deliverables);
  const settle = (changed: Job): void => {
    cache.setQueryData(keys.job(changed.id), changed);
    void cache.invalidateQueries({ queryKey: keys.mine });
    void cache.invalidateQueries({ queryKey: keys.transactions });
  };
  const claim = useMutation({ mutationFn: () => api.claim(job.id), onSuccess: settle });
  const step = useMutation({
    mutationFn: ({ to, withDeliverables }: { to: JobStatus; withDeliverables?: readonly string[] }) =>
      api.setStatus(job.id, to, withDeliverables),
    onSuccess: settle,
  });
  const isClient = user.id === job.clientId;
  const isFreelancer = user.id === job.claimedBy;
  const steps = (isClient ? CLIENT_STEPS : isFreelancer ? FREELANCER_STEPS : {})[job.status] ?? [];
  const canClaim = user.role === "freelancer" && job.status === "active";
  const canSubmit = isFreelancer && job.status === "in_progress";
  const error = claim.error ?? step.error;
  if (steps.length === 0 && !canClaim && !canSubmit) return error ? <Problem error={error} /> : null;
  return (
    <Stack gap="sm">
      {error && <Problem error={error} />}
      {canSubmit && (
        <TagsInput
          label="Deliverables"
          description="What you hand over; Enter adds one"
          placeholder="source code"
          value={[...deliverables]}
          onChange={setDeliverables}
          onSearchChange={(text) => { if (text) onTyping(); }}
          onBlur={onTypingEnd}
        />
      )}
      <Group gap="sm">
        {canClaim && (
          <Button loading={claim.isPending} onClick={() => { claim.mutate(); }}>
            Claim this job
          </Button>
        )}
        {canSubmit && (
          <Button
            disabled={deliverables.length === 0}
            loading={step.isPending}
            onClick={() => { onTypingEnd(); step.mutate({ to: "submitted", withDeliverables: deliverables }); }}
          >
            Submit
          </Button>
        )}
        {steps.map(({ to, label, isMain }) => (
          <Button
            key={to}
            variant={isMain ? "filled" : "default"}
            loading={step.isPending && step.variables.to === to}
            onClick={() => { step.mutate({ to }); }}
          >
            {label}
          </Button>
        ))}
      </Group>
    </Stack>
  );
}
