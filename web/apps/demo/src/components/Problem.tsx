import { Alert, Button } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { JSX } from "react";

import { messageOf } from "@/system/problems";

interface ProblemProps {
  readonly error: unknown;
  readonly retry?: () => void;
}

/** Something did not work, in words, with a way on. */
export function Problem({ error, retry }: ProblemProps): JSX.Element {
  return (
    <Alert color="red" variant="light" title="That did not work" icon={<IconAlertTriangle aria-hidden />} mb="md">
      {messageOf(error)}
      {retry && (
        <Button variant="default" size="compact-sm" ml="sm" onClick={retry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}
