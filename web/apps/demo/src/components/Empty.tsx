import { Card, Stack, Text } from "@mantine/core";
import type { JSX, ReactNode } from "react";

/** Nothing to show, and what to do about it. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }): JSX.Element {
  return (
    <Card py="xl">
      <Stack align="center" gap={4}>
        <Text fw={600}>{title}</Text>
        <Text c="dimmed" size="sm" ta="center">
          {children}
        </Text>
      </Stack>
    </Card>
  );
}
