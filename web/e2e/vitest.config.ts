import { defineConfig } from "vitest/config";

import { within } from "./support/time.js";

export default defineConfig({
  test: {
    globalSetup: ["./support/global-setup.ts"],
    include: ["**/*.test.ts"],
    // One stack and two cores: one file at a time.
    fileParallelism: false,
    expect: { poll: { timeout: within(30), interval: 100 } },
    testTimeout: within(120),
    hookTimeout: within(60),
  },
});
