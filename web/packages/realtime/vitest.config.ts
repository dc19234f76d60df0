import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const installed = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export default defineConfig({
  test: {
    restoreMocks: true,
    testTimeout: 15_000,
    projects: [
      {
        extends: true,
        test: { name: "package", include: ["tests/**/*.test.{ts,tsx}"] },
      },
      {
        extends: true,
        resolve: {
          alias: {
            react: installed("compat/react-18/node_modules/react"),
            "react-dom": installed("compat/react-18/node_modules/react-dom"),
            // Its ES modules: what it would `require` cannot be aliased.
            "@testing-library/react": installed("node_modules/@testing-library/react/dist/@testing-library/react.esm.js"),
          },
        },
        test: {
          name: "react-18",
          include: ["tests/react/**/*.test.tsx"],
          // Its imports of React are to be the aliased ones, too.
          server: { deps: { inline: ["@testing-library/react"] } },
        },
      },
    ],
  },
});
