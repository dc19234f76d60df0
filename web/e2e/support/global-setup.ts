/** Starts one stack for the whole run, or uses the one that is named by E2E_BASE_URL and E2E_DATA_DIR. */

import type { TestProject } from "vitest/node";

import { startStack, type StackAddress } from "./stack.js";

declare module "vitest" {
  interface ProvidedContext {
    stack: StackAddress;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { E2E_BASE_URL: baseUrl, E2E_DATA_DIR: dataDir } = process.env;
  if (baseUrl && dataDir) {
    project.provide("stack", { baseUrl, dataDir });
    return () => Promise.resolve();
  }
  const { address, stop } = await startStack();
  project.provide("stack", address);
  return stop;
}
