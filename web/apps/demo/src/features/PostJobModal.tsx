import { Button, Group, NumberInput, Stack, TagsInput, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type JSX } from "react";

import { Dialog } from "@/components/Dialog";
import { Problem } from "@/components/Problem";
import { api } from "@/system/api";
import { keys } from "@/system/queries";
import type { NewJob } from "@/system/types";

const EMPTY: NewJob = {
  title: "",
  description: "",
  budgetMin: 50,
  budgetMax: 150,
  requiredSkills: [],
  estimatedDuration: 120,
};

export const KNOWN_SKILLS = ["react", "typescript", "python", "postgres", "redis", "design", "writing", "devops"];

interface PostJobModalProps {
  readonly isOpen: boolean;
  readonly onClose: () => void;
}

export function PostJobModal({ isOpen, onClose }: PostJobModalProps): JSX.Element {
  const [draft, setDraft] = useState(EMPTY);
  const cache = useQueryClient();
  const posting = useMutation({
    mutationFn: api.postJob,
    onSuccess: (job) => {
      setDraft(EMPTY);
      onClose();
      cache.setQueryData(keys.job(job.id), job);
      void cache.invalidateQueries({ queryKey: keys.discovery });
      void cache.invalidateQueries({ queryKey: keys.mine });
    },
  });
  const change = (part: Partial<NewJob>): void => {
    setDraft((old) => ({ ...old, ...part }));
  };
  const rangeProblem = draft.budgetMax < draft.budgetMin ? "Not below the minimum" : null;
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title="Post a job" size="lg">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!rangeProblem) posting.mutate(draft);
        }}
      >
        <Stack>
          {posting.error && <Problem error={posting.error} />}
          <TextInput
            label="Title"
            required
            maxLength={200}
            placeholder="Build React Dashboard"
            value={draft.title}
            onChange={(event) => { change({ title: event.currentTarget.value }); }}
            data-autofocus
          />
          <Textarea
            label="Description"
            autosize
            minRows={3}
            value={draft.description}
            onChange={(event) => { change({ description: event.currentTarget.value }); }}
          />
          <Group grow align="flex-start">
            <NumberInput
              label="Budget from"
              required
              min={1}
              decimalScale={2}
              value={draft.budgetMin}
              onChange={(value) => { change({ budgetMin: Number(value) }); }}
            />
            <NumberInput
              label="Budget to"
              required
              min={1}
              decimalScale={2}
              value={draft.budgetMax}
              error={rangeProblem}
              onChange={(value) => { change({ budgetMax: Number(value) }); }}
            />
            <NumberInput
              label="Minutes"
              required
              min={1}
              allowDecimal={false}
              value={draft.estimatedDuration}
              onChange={(value) => { change({ estimatedDuration: Number(value) }); }}
            />
          </Group>
          <TagsInput
            label="Skills"
            description="Enter adds one"
            comboboxProps={{ position: "top" }}
            data={KNOWN_SKILLS}
            value={[...draft.requiredSkills]}
            onChange={(requiredSkills) => { change({ requiredSkills }); }}
          />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={posting.isPending}>
              Post
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
