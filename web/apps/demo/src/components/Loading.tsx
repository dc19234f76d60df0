import { Center, Loader } from "@mantine/core";
import type { JSX } from "react";

export function Loading(): JSX.Element {
  return (
    <Center mih={200} role="status" aria-label="Loading">
      <Loader />
    </Center>
  );
}
