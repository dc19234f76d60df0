/** axe over every page, light and wide, dark and narrow: no violation. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { goTo, launch, live, logIn, offline, open, type Role } from "../support/browser.js";
import { RestClient } from "../support/rest.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const WIDE = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
/** Contrast is a matter of the scheme, structure one of the size: each of both once, or axe would run for four minutes. */
const VIEWS = [
  { colorScheme: "light", viewport: WIDE },
  { colorScheme: "dark", viewport: PHONE },
] as const;

let browser: Browser;
let client: RestClient;
let freelancer: RestClient;
/** A job that both are party to, with something in every part of its page. */
let jobId: number;

beforeAll(async () => {
  browser = await launch();
  client = await RestClient.logIn("client");
  freelancer = await RestClient.logIn("freelancer");
  await client.call("/api/wallet/deposits", { amount: 12 });
  jobId = await client.postJob(`For both ${Date.now()}`);
  await freelancer.call(`/api/jobs/${jobId}/claim`);
  await freelancer.call(`/api/jobs/${jobId}/status`, { status: "in_progress" });
  await freelancer.call(`/api/jobs/${jobId}/status`, { status: "submitted", deliverables: ["source code"] });
  await client.postJob(`For everybody ${Date.now()}`);
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

/** Path, heading, and what has to be there for the page to be worth checking. */
const PAGES: Readonly<Record<Role, readonly (readonly [string, string, string])[]>> = {
  client: [
    ["/discovery", "Discovery", "[data-testid=job-card]"],
    ["/jobs", "My jobs", "[data-testid=job-card]"],
    ["/wallet", "Wallet", "[data-testid=waiting]"],
    ["/notifications", "Notifications", "[data-testid=notification]"],
  ],
  freelancer: [
    ["/discovery", "Discovery", "[data-testid=job-card]"],
    ["/wallet", "Wallet", "[data-testid=statement-line]"],
    ["/notifications", "Notifications", "[role=switch]"],
  ],
  operator: [
    ["/wallet", "Wallet", "[data-transaction]"],
    ["/operations", "Operations", ".recharts-surface"],
    ["/monitor", "Monitor", "[data-testid=frames] tr[data-event='job.posted']"],
    ["/samples", "Code samples", "[data-testid=console]"],
  ],
};
const ROLES = ["client", "freelancer", "operator"] as const;

describe.each(VIEWS)("in $colorScheme at $viewport.width", (view) => {
  it("log-in and registration have no violation", async () => {
    const { page } = await open(browser, view);
    await live(page);
    expect(await violations(page), "log in").toEqual([]);
    await page.getByRole("tab", { name: "Create an account" }).click();
    await page.getByRole("button", { name: "Create the account" }).waitFor();
    expect(await violations(page), "register").toEqual([]);
    await page.getByRole("tab", { name: "Log in" }).click();
    await page.getByRole("textbox", { name: "Email" }).fill("nobody@sharedjox.test");
    await page.getByRole("tabpanel", { name: "Log in" }).locator("input[type=password]").fill("wrong");
    await page.getByRole("button", { name: "Log in", exact: true }).click();
    await page.getByText("That did not work").waitFor();
    expect(await violations(page), "refused").toEqual([]);
    await page.context().close();
  });

  it.each(ROLES)("the pages of a %s have no violation", async (role) => {
    const { page } = await logIn(browser, role, view);
    for (const [path, title, content] of PAGES[role]) {
      await goTo(page, path);
      await page.getByRole("heading", { name: title, level: 1 }).waitFor();
      if (path === "/monitor") await client.postJob(`Monitored ${Date.now()}`);
      await page.locator(content).first().waitFor();
      expect(await violations(page), path).toEqual([]);
    }
    await page.context().close();
  });

  it("a job's page, menus and the dialog for a new one have no violation", async () => {
    const { page } = await logIn(browser, "client", view);
    await goTo(page, `/jobs/${jobId}`);
    await page.getByTestId("viewers").waitFor();
    await page.getByRole("textbox", { name: "Note" }).waitFor();
    expect(await violations(page), "job").toEqual([]);
    await page.getByTestId("user-menu").click();
    await page.getByRole("menuitem", { name: "Log out" }).waitFor();
    expect(await violations(page), "menu").toEqual([]);
    await page.keyboard.press("Escape");
    await goTo(page, "/discovery");
    await page.getByRole("button", { name: "Post a job" }).click();
    await page.getByRole("dialog").waitFor();
    expect(await violations(page), "dialog").toEqual([]);
    await page.context().close();
  });

  it("a page that is offline, and one that is told something, have no violation", async () => {
    const { page } = await logIn(browser, "client", view);
    await page.getByTestId("job-card").first().waitFor();
    await page.context().setOffline(true);
    await offline(page);
    expect(await violations(page), "offline").toEqual([]);
    await page.context().setOffline(false);
    await live(page);
    await freelancer.call(`/api/jobs/${await client.postJob(`Told ${Date.now()}`)}/claim`);
    await page.getByRole("alert").getByRole("link", { name: "View job" }).first().waitFor();
    expect(await violations(page), "told").toEqual([]);
    await page.context().close();
  });
});
