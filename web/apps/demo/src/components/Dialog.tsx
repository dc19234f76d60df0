import { CloseButton, Group, Modal, Title, type ModalProps } from "@mantine/core";
import type { JSX, ReactNode } from "react";

interface DialogProps extends Pick<ModalProps, "size"> {
  readonly title: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

/** A modal whose heading is a heading: the library's own is a second banner to a screen reader. */
export function Dialog({ title, isOpen, onClose, children, size = "md" }: DialogProps): JSX.Element {
  return (
    <Modal opened={isOpen} onClose={onClose} size={size} withCloseButton={false} attributes={{ content: { "aria-label": title } }}>
      <Group justify="space-between" mb="md">
        <Title order={2} fz="h4">
          {title}
        </Title>
        <CloseButton aria-label="Close" onClick={onClose} />
      </Group>
      {children}
    </Modal>
  );
}
