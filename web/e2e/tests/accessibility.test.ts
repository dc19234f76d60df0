/** axe over every page, in both colour schemes, wide and narrow: no violation. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { goTo, launch, live, logIn, open, type Role } from "../support/browser.js";
import { RestClient } from "../support/rest.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const VIEWS = [
  { colorScheme: "light", viewport: { width: 1280, height: 800 } },
  { colorScheme: "dark", viewport: { width: 390, height: 844 } },
] as const;

let browser: Browser;
let jobId: number;

beforeAll(async () => {
  browser = await launch();
  jobId = await (await RestClient.logIn("client")).postJob(`For everybody ${Date.now()}`);
});

afterAll(async () => {
  await browser.close();
});

async function violations(page: Page): Promise<string[]> {
  await page.locator("[role=status][aria-label=Loading]").waitFor({ state: "detached" });
  // Entrance animations show half-transparent text for a moment, whose contrast is nobody's.
  await page.evaluate(() => {
    for (const animation of document.getAnimations()) {
      if (animation.effect?.getComputedTiming().endTime === Infinity) animation.cancel();
      else animation.finish();
    }
  });
  await page.evaluate(AXE);
  const results = await page.evaluate(
    (values) => (window as unknown as { axe: { run(options: object): Promise<AxeResults> } }).axe.run({ runOnly: { type: "tag", values } }),
    RULES,
  );
  return results.violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${String(target)} ${failureSummary ?? ""}`));
}

const PAGES: readonly (readonly [Role, string, string])[] = [
  ["client", "/discovery", "Discovery"],
  ["freelancer", "/discovery", "Discovery"],
  ["client", "/jobs", "My jobs"],
  ["client", "/wallet", "Wallet"],
  ["operator", "/wallet", "Wallet"],
  ["freelancer", "/notifications", "Notifications"],
  ["operator", "/operations", "Operations"],
  ["client", "/monitor", "Monitor"],
  ["client", "/samples", "Code samples"],
];

describe.each(VIEWS)("in $colorScheme at $viewport.width", (view) => {
  it("the log-in page has no violation", async () => {
    const { page } = await open(browser, view);
    await live(page);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it.each(PAGES)("%s's %s has no violation", async (role, path, title) => {
    const { page } = await logIn(browser, role, view);
    await goTo(page, path);
    await page.getByRole("heading", { name: title, level: 1 }).waitFor();
    await page.waitForLoadState("networkidle").catch(() => undefined);
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });

  it("a job's page and the dialog for a new one have no violation", async () => {
    const { page } = await logIn(browser, "client", view);
    await goTo(page, `/jobs/${jobId}`);
    await page.getByTestId("viewers").waitFor();
    expect(await violations(page)).toEqual([]);
    await goTo(page, "/discovery");
    await page.getByRole("button", { name: "Post a job" }).click();
    await page.getByRole("dialog").waitFor();
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });
});
