import { Group, Text, Title } from "@mantine/core";
import { useEffect, type JSX, type ReactNode } from "react";

interface PageTitleProps {
  readonly title: string;
  readonly subtitle?: ReactNode;
  readonly children?: ReactNode;
}

/** The heading of a page, and the title of its tab. */
export function PageTitle({ title, subtitle, children }: PageTitleProps): JSX.Element {
  useEffect(() => {
    document.title = `${title} · SharedJox`;
  }, [title]);
  return (
    <Group justify="space-between" align="flex-end" mb="md" gap="sm">
      <div>
        <Title order={1} fz="h2">
          {title}
        </Title>
        {subtitle && (
          <Text c="dimmed" size="sm">
            {subtitle}
          </Text>
        )}
      </div>
      {children && <Group gap="sm">{children}</Group>}
    </Group>
  );
}
