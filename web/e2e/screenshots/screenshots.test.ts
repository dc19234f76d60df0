/** Pictures of every page for the README and the documentation, with something going on. */

import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { goTo, launch, logIn, open, type Person } from "../support/browser.js";
import { RestClient } from "../support/rest.js";

const FOLDER = process.env.SCREENSHOTS_DIR ?? fileURLToPath(new URL("../../../docs/screenshots/", import.meta.url));
const LIMIT_BYTES = 200_000;
const WIDE = { viewport: { width: 1280, height: 800 } } as const;
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5 } as const;

const JOBS: readonly (readonly [string, readonly string[]])[] = [
  ["Write release notes for 2.0", ["writing"]],
  ["Index the orders table", ["postgres"]],
  ["Dark mode for the admin pages", ["react", "design"]],
  ["Type the API client", ["typescript"]],
  ["Move the dashboard to React 19", ["react", "typescript"]],
];

let browser: Browser;
let client: Person;
let freelancer: Person;
let rest: RestClient;

beforeAll(async () => {
  mkdirSync(FOLDER, { recursive: true });
  browser = await launch();
  rest = await RestClient.logIn("client");
  client = await logIn(browser, "client", { ...WIDE, colorScheme: "light" });
  freelancer = await logIn(browser, "freelancer", { ...WIDE, colorScheme: "light" });
});

afterAll(async () => {
  await browser.close();
});

async function shoot(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0);
  const path = join(FOLDER, `${name}.png`);
  await page.screenshot({ path, animations: "disabled" });
  expect(statSync(path).size, `${name}.png`).toBeLessThan(LIMIT_BYTES);
}

/** Let toasts go: they are part of the app, but hide what the picture is of. */
async function withoutToasts(page: Page): Promise<void> {
  await page.addStyleTag({ content: ".mantine-Notifications-root { display: none }" });
}

describe("pictures", () => {
  it("of the log-in page", async () => {
    const { page } = await open(browser, { ...WIDE, colorScheme: "light" });
    await page.locator("[data-testid=connection][data-state=connected]").waitFor();
    await shoot(page, "log-in");
    await page.context().close();
  });

  it("of Discovery, with jobs arriving", async () => {
    await goTo(freelancer.page, "/discovery");
    await freelancer.page.getByRole("feed").waitFor();
    for (const [title, skills] of JOBS) await rest.postJob(title, skills);
    await freelancer.page.getByTestId("job-card").filter({ hasText: JOBS.at(-1)?.[0] ?? "" }).first().waitFor();
    await shoot(freelancer.page, "discovery");
  });

  it("of a claimed job, both parties there and one typing", async () => {
    const title = "Build the invoice export";
    const id = await rest.postJob(title, ["react", "typescript"]);
    await goTo(freelancer.page, `/jobs/${id}`);
    await freelancer.page.getByRole("button", { name: "Claim this job" }).click();
    await goTo(client.page, `/jobs/${id}`);
    await withoutToasts(client.page);
    await client.page.getByTestId("viewers").filter({ hasText: "2 viewing" }).waitFor();
    await freelancer.page.getByRole("button", { name: "Start work" }).click();
    await freelancer.page.getByRole("combobox", { name: "Deliverables" }).fill("export module");
    await freelancer.page.keyboard.press("Enter");
    await freelancer.page.getByRole("combobox", { name: "Deliverables" }).fill("tests");
    await freelancer.page.keyboard.press("Enter");
    await freelancer.page.getByRole("button", { name: "Submit", exact: true }).click();
    await client.page.getByTestId("deliverables").filter({ hasText: "tests" }).waitFor();
    await client.page.getByRole("textbox", { name: "Note" }).fill("Looks good. Does it keep the cents?");
    await client.page.getByRole("button", { name: "Send" }).click();
    const note = freelancer.page.getByRole("textbox", { name: "Note" });
    await note.fill("Yes, they are integers all the way.");
    await freelancer.page.getByRole("button", { name: "Send" }).click();
    await note.pressSequentially("And ");
    await client.page.getByTestId("typing").filter({ hasText: "is typing" }).waitFor();
    await shoot(client.page, "job");
    await client.page.getByRole("button", { name: "Accept and complete" }).click();
    await client.page.getByRole("button", { name: "Confirm the payment" }).click();
    await client.page.getByText("Payment waits for you").waitFor({ state: "detached" });
  });

  it("of the wallet and the notifications", async () => {
    await withoutToasts(freelancer.page);
    await goTo(freelancer.page, "/wallet");
    await freelancer.page.getByTestId("statement").waitFor();
    await shoot(freelancer.page, "wallet");
    await goTo(freelancer.page, "/notifications");
    await freelancer.page.getByRole("switch", { name: "Job alerts" }).click();
    await freelancer.page.getByRole("switch", { name: "Job alerts", checked: true, disabled: false }).waitFor();
    await rest.postJob("Type the webhooks", ["typescript"]);
    await freelancer.page.locator("[data-testid=notification][data-type='job.alert']").waitFor();
    await shoot(freelancer.page, "notifications");
  });

  it("of Operations and Monitor, in the dark", async () => {
    const { page } = await logIn(browser, "operator", { viewport: { width: 1280, height: 980 }, colorScheme: "dark" });
    await page.mouse.move(0, 0);
    await goTo(page, "/operations");
    await page.getByTestId("totals").waitFor();
    for (let n = 0; n < 30; n += 1) {
      await rest.postJob(`Small task ${n + 1}`, ["python"]);
      await page.waitForTimeout(n < 20 ? 700 : 250);
    }
    await shoot(page, "operations");
    await goTo(page, "/monitor");
    await page.getByText("jobs.discovery: joined").waitFor();
    for (let n = 30; n < 36; n += 1) await rest.postJob(`Small task ${n + 1}`, ["python"]);
    await page.locator("[data-testid=frames] tr[data-event='job.posted']").nth(5).waitFor();
    await shoot(page, "monitor");
  });

  it("of a phone", async () => {
    const { page } = await logIn(browser, "freelancer", { ...PHONE, colorScheme: "dark" });
    await goTo(page, "/discovery");
    await page.getByTestId("job-card").first().waitFor();
    await shoot(page, "discovery-phone");
  });
});
