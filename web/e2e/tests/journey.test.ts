/** Two people in two browsers: post, claim, deliver, complete, confirm; each sees every step of the other live. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { goTo, launch, live, logIn, type Person } from "../support/browser.js";
import { RestClient } from "../support/rest.js";

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});

afterAll(async () => {
  await browser.close();
});

/** Wait for text somewhere on the page. */
async function sees(page: Page, text: string | RegExp, timeout = 10_000): Promise<void> {
  await page.getByText(text).first().waitFor({ timeout });
}

async function status(page: Page, wanted: string): Promise<void> {
  await page.locator(`[data-testid=job-status][data-status=${wanted}]`).first().waitFor({ timeout: 10_000 });
}

async function balance(page: Page): Promise<number> {
  await goTo(page, "/wallet");
  const text = page.getByTestId("balance");
  await text.filter({ hasText: /\d/ }).waitFor();
  return Number((await text.innerText()).replaceAll(",", ""));
}

/** Post a job as the client and return its number. */
async function post(page: Page, title: string): Promise<number> {
  await goTo(page, "/discovery");
  await page.getByRole("button", { name: "Post a job" }).click();
  await page.getByLabel("Title").fill(title);
  await page.getByRole("combobox", { name: "Skills" }).fill("react");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Post", exact: true }).click();
  const card = page.getByTestId("job-card").filter({ hasText: title });
  await card.waitFor();
  return Number(await card.getAttribute("data-job"));
}

describe("the main job", () => {
  let client: Person;
  let freelancer: Person;

  beforeAll(async () => {
    client = await logIn(browser, "client");
    freelancer = await logIn(browser, "freelancer");
  });

  it("is seen live by both sides from the post to the payment", async () => {
    const before = await balance(freelancer.page);
    await goTo(freelancer.page, "/discovery");
    await freelancer.page.getByRole("feed").waitFor();

    const title = `Dashboard ${Date.now()}`;
    const id = await post(client.page, title);
    const offered = freelancer.page.getByTestId("job-card").filter({ hasText: title });
    await offered.waitFor({ timeout: 5_000 });
    expect(await freelancer.page.getByTestId("job-card").filter({ hasText: title }).count()).toBe(1);

    await goTo(client.page, `/jobs/${id}`);
    await status(client.page, "active");
    await freelancer.page.getByRole("button", { name: `Claim ${title}` }).click();
    await status(client.page, "claimed");

    const viewers = client.page.getByTestId("viewers");
    await viewers.filter({ hasText: "2 viewing" }).waitFor();
    expect(await viewers.getAttribute("aria-label")).toMatch(/you/);

    await freelancer.page.getByRole("textbox", { name: "Note" }).pressSequentially("On it");
    await client.page.getByTestId("typing").filter({ hasText: "is typing" }).waitFor();
    await freelancer.page.getByRole("button", { name: "Send" }).click();
    await sees(client.page, "On it");
    await client.page.getByTestId("typing").filter({ hasText: /^$/ }).waitFor();

    await freelancer.page.getByRole("button", { name: "Start work" }).click();
    await status(client.page, "in_progress");
    await freelancer.page.getByRole("combobox", { name: "Deliverables" }).fill("source code");
    await freelancer.page.keyboard.press("Enter");
    await freelancer.page.getByRole("button", { name: "Submit", exact: true }).click();
    await status(client.page, "submitted");
    await client.page.getByTestId("deliverables").filter({ hasText: "source code" }).waitFor();

    await client.page.getByRole("button", { name: "Accept and complete" }).click();
    await status(freelancer.page, "completed");
    await goTo(freelancer.page, "/wallet");
    await client.page.getByRole("button", { name: "Confirm the payment" }).click();
    const wanted = (before + 45).toLocaleString("en-GB", { minimumFractionDigits: 2 });
    await freelancer.page.getByTestId("balance").filter({ hasText: wanted }).waitFor({ timeout: 10_000 });
    await goTo(freelancer.page, "/notifications");
    await freelancer.page.getByTestId("notification").filter({ hasText: "You were paid" }).first().waitFor();
    expect([...client.errors, ...freelancer.errors]).toEqual([]);
  });

  it("leaves an onlooker's page when the job is claimed by another", async () => {
    const title = `Onlooker ${Date.now()}`;
    const id = await post(client.page, title);
    const operator = await logIn(browser, "operator");
    await goTo(client.page, `/jobs/${id}`);
    await goTo(operator.page, `/jobs/${id}`);
    await client.page.getByTestId("viewers").filter({ hasText: "2 viewing" }).waitFor();
    await operator.page.close();
    await client.page.getByTestId("viewers").filter({ hasText: "1 viewing" }).waitFor({ timeout: 20_000 });
  });

  it("cannot be seen by anybody after logging out: the session's socket is closed", async () => {
    const { page } = await logIn(browser, "operator");
    const opened = page.waitForEvent("websocket", (socket) => socket.url().includes("/app/"));
    await page.reload();
    const ofSession = await opened;
    await live(page);
    expect(ofSession.isClosed()).toBe(false);
    await page.getByTestId("user-menu").click();
    await page.getByRole("menuitem", { name: "Log out" }).click();
    await page.getByRole("heading", { name: "SharedJox" }).waitFor();
    await expect.poll(() => ofSession.isClosed()).toBe(true);
    await live(page);
    await page.getByRole("button", { name: "Log in as operator" }).click();
    await live(page);
  });
});

describe("the wallet", () => {
  it("lists each movement as it happens, with the balance that it left, also on a phone", async () => {
    const operator = await RestClient.logIn("operator");
    const poster = await RestClient.logIn("client");
    const worker = await RestClient.logIn("freelancer");
    const { page, errors } = await logIn(browser, "client", { viewport: { width: 390, height: 844 } });
    const before = await balance(page);
    const newest = page.getByTestId("statement-line").first();

    await page.getByRole("button", { name: "Deposit" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Amount" }).fill("71.50");
    await dialog.getByRole("button", { name: "Deposit" }).click();
    const waiting = page.getByTestId("waiting").filter({ hasText: "Deposit, 71.50" });
    await waiting.waitFor();
    expect(await balance(page)).toBe(before);
    await operator.call(`/api/wallet/transactions/${await waiting.getAttribute("data-transaction")}/confirm`);
    await newest.filter({ hasText: "Deposit" }).filter({ hasText: "+71.50" }).waitFor();
    await waiting.waitFor({ state: "detached" });
    expect(await balance(page)).toBe(before + 71.5);
    expect(await newest.getByTestId("line-balance").innerText()).toBe(await page.getByTestId("balance").innerText());

    const id = await poster.postJob(`Held ${Date.now()}`);
    await worker.call(`/api/jobs/${id}/claim`);
    await newest.filter({ hasText: `job ${id}` }).filter({ hasText: /10\.00 held/ }).filter({ hasText: "available" }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    expect(errors).toEqual([]);
    await page.context().close();
  });
});

describe("a log-in", () => {
  it("shows at once what waits for that user, and nothing of the one before", async () => {
    const { page, errors } = await logIn(browser, "freelancer");
    await page.getByRole("link", { name: /Notifications, \d+ unread/ }).waitFor();
    await page.getByTestId("job-card").first().waitFor();
    await page.getByTestId("user-menu").click();
    await page.getByRole("menuitem", { name: "Log out" }).click();
    await page.getByRole("button", { name: "Log in as operator" }).click();
    await live(page);
    await page.getByTestId("job-card").first().waitFor();
    await goTo(page, "/notifications");
    await page.getByText("Nothing yet").waitFor();
    expect(errors).toEqual([]);
  });
});

describe("the document's samples", () => {
  it("print what the document says, and window.Echo works in the console", async () => {
    const client = await logIn(browser, "client");
    const { page } = await logIn(browser, "freelancer");
    const printed: string[] = [];
    page.on("console", (message) => printed.push(message.text()));
    await goTo(page, "/samples");
    await page.getByRole("heading", { name: "WalletPage" }).waitFor();
    await page.evaluate(() => {
      window.Echo.channel("jobs.discovery").listen(".job.posted", (data: unknown) => {
        console.log("Job posted:", JSON.stringify(data));
      });
    });
    const title = `Sample ${Date.now()}`;
    await post(client.page, title);
    await page.getByTestId("console").filter({ hasText: "New job posted:" }).filter({ hasText: title }).waitFor();
    await expect.poll(() => printed.filter((line) => line.startsWith("Job posted:") && line.includes(title))).toHaveLength(1);
    expect(printed.filter((line) => line.startsWith("New job posted:"))).toHaveLength(1);
  });
});
