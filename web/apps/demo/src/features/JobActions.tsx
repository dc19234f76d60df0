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

interface Offer {
  readonly steps: readonly Step[];
  readonly canClaim: boolean;
  readonly canSubmit: boolean;
}

function offerOf(job: Job, user: User): Offer {
  const isFreelancer = user.id === job.claimedBy;
  const steps = user.id === job.clientId ? CLIENT_STEPS : isFreelancer ? FREELANCER_STEPS : {};
  return {
    steps: steps[job.status] ?? [],
    canClaim: user.role === "freelancer" && job.status === "active",
    canSubmit: isFreelancer && job.status === "in_progress",
  };
}

export function JobActions({ job, user, onTyping, onTypingEnd }: JobActionsProps): JSX.Element {
  const cache = useQueryClient();
  const settle = (changed: Job): void => {
    cache.setQueryData(keys.job(changed.id), changed);
    void cache.invalidateQueries({ queryKey: keys.mine });
    void cache.invalidateQueries({ queryKey: keys.transactions });
  };
  const claim = useMutation({ mutationFn: () => api.claim(job.id), onSuccess: settle });
  const step = useMutation({
    mutationFn: ({ to, deliverables }: { to: JobStatus; deliverables?: readonly string[] }) =>
      api.setStatus(job.id, to, deliverables),
    onSuccess: settle,
  });
  const { steps, canClaim, canSubmit } = offerOf(job, user);
  const error = claim.error ?? step.error;
  return (
    <Stack gap="sm">
      {error && <Problem error={error} />}
      {canSubmit && (
        <Handover
          before={job.deliverables}
          isBusy={step.isPending}
          onTyping={onTyping}
          onTypingEnd={onTypingEnd}
          onSubmit={(deliverables) => {
            step.mutate({ to: "submitted", deliverables });
          }}
        />
      )}
      <Group gap="sm">
        {canClaim && (
          <Button loading={claim.isPending} onClick={() => { claim.mutate(); }}>
            Claim this job
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

interface HandoverProps {
  readonly before: readonly string[];
  readonly isBusy: boolean;
  readonly onSubmit: (deliverables: readonly string[]) => void;
  readonly onTyping: () => void;
  readonly onTypingEnd: () => void;
}

function Handover({ before, isBusy, onSubmit, onTyping, onTypingEnd }: HandoverProps): JSX.Element {
  const [deliverables, setDeliverables] = useState(before);
  return (
    <Group align="flex-end" gap="sm">
      <TagsInput
        label="Deliverables"
        description="What you hand over; Enter adds one"
        placeholder="source code"
        style={{ flex: 1 }}
        value={[...deliverables]}
        onChange={setDeliverables}
        onSearchChange={(text) => { if (text) onTyping(); }}
        onBlur={onTypingEnd}
      />
      <Button
        disabled={deliverables.length === 0}
        loading={isBusy}
        onClick={() => { onTypingEnd(); onSubmit(deliverables); }}
      >
        Submit
      </Button>
    </Group>
  );
}
