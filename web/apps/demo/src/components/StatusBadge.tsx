import { Badge } from "@mantine/core";
import type { JSX } from "react";

import { STATUS } from "@/system/format";
import type { JobStatus } from "@/system/types";

export function StatusBadge({ status }: { readonly status: JobStatus }): JSX.Element {
  const { label, color } = STATUS[status];
  return (
    <Badge color={color} data-testid="job-status" data-status={status}>
      {label}
    </Badge>
  );
}
