/** The three samples stand in the app as the document has them, to the letter. */

import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
const samples = [...read("./architecture-samples.md").matchAll(/```typescript\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");

describe("the architecture document's samples", () => {
  it.each(["DiscoveryPage", "ClaimedJobPage", "WalletPage"])("%s is unchanged", (name) => {
    const sample = samples.find((text) => text.includes(`function ${name}(`));
    expect(sample).toBeDefined();
    expect(read(`../src/seed/${name}.tsx`)).toContain(sample);
  });
});
