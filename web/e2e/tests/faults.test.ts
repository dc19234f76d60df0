/** What goes wrong out there: the page is right again without a reload, and no event is missing or doubled. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import { goTo, launch, live, logIn, type Person } from "../support/browser.js";
import { RestClient } from "../support/rest.js";
import { signalService, type ServiceName } from "../support/stack.js";

let browser: Browser;
let rest: RestClient;

beforeAll(async () => {
  browser = await launch();
  rest = await RestClient.logIn("client");
});

afterAll(async () => {
  await browser.close();
});

/** A page that writes down the titles of all jobs it hears of, through the package, in the order of arrival. */
async function listening(options: Parameters<typeof logIn>[2] = {}): Promise<Person> {
  const person = await logIn(browser, "freelancer", options);
  await goTo(person.page, "/discovery");
  await person.page.getByRole("feed").waitFor();
  return person;
}

/** Titles with this mark on the page, newest first. */
async function titles(page: Page, mark: string): Promise<string[]> {
  const cards = page.getByTestId("job-card").filter({ hasText: mark });
  return cards.getByRole("link").allInnerTexts();
}

async function postMany(mark: string, from: number, to: number): Promise<string[]> {
  const posted: string[] = [];
  for (let n = from; n <= to; n += 1) {
    const title = `${mark} no ${n}`;
    await rest.postJob(title);
    posted.unshift(title);
  }
  return posted;
}

async function disconnected(page: Page): Promise<void> {
  await page.locator("[data-testid=connection]:not([data-state=connected])").waitFor({ timeout: 20_000 });
}

describe("the page", () => {
  it("gets what was posted while both gateways were dead", async () => {
    const { page, errors } = await listening();
    const mark = `killed ${Date.now()}`;
    const before = await postMany(mark, 1, 2);
    await expect.poll(() => titles(page, mark)).toEqual(before);
    for (const name of ["gateway-1", "gateway-2"] satisfies ServiceName[]) signalService(inject("stack"), name, "SIGKILL");
    await disconnected(page);
    const during = await postMany(mark, 3, 5);
    await live(page, 30_000);
    const after = await postMany(mark, 6, 6);
    await expect.poll(() => titles(page, mark), { timeout: 20_000 }).toEqual([...after, ...during, ...before]);
    expect(errors).toEqual([]);
  });

  it("recovers from a network that is cut for ten seconds, without being reloaded", async () => {
    const { page, errors } = await listening();
    const loads = await page.evaluate(() => performance.timeOrigin);
    const mark = `cut ${Date.now()}`;
    const before = await postMany(mark, 1, 2);
    await expect.poll(() => titles(page, mark)).toEqual(before);
    await page.context().setOffline(true);
    const cutAt = Date.now();
    const during = await postMany(mark, 3, 5);
    await disconnected(page);
    await page.waitForTimeout(Math.max(0, cutAt + 10_000 - Date.now()));
    await page.context().setOffline(false);
    await live(page);
    await expect.poll(() => titles(page, mark), { timeout: 20_000 }).toEqual([...during, ...before]);
    expect(await page.evaluate(() => performance.timeOrigin)).toBe(loads);
    expect(errors).toEqual([]);
  });

  it("outlives its access token", async () => {
    const { page, errors } = await listening();
    const accessToken = (): Promise<string> =>
      page.evaluate(() => {
        const stored = JSON.parse(localStorage.getItem("sharedjox.session") ?? "{}") as { state?: { accessToken?: string } };
        return stored.state?.accessToken ?? "";
      });
    const first = await accessToken();
    await page.evaluate(() => {
      const key = "sharedjox.session";
      const stored = JSON.parse(localStorage.getItem(key) ?? "{}") as { state: { accessToken: string } };
      // An access token whose time is up, as far as the server can tell.
      stored.state.accessToken = "expired.expired.expired";
      localStorage.setItem(key, JSON.stringify(stored));
      dispatchEvent(new StorageEvent("storage", { key }));
    });
    await goTo(page, "/wallet");
    await page.getByTestId("balance").filter({ hasText: /\d/ }).waitFor();
    await expect.poll(accessToken).not.toBe("expired.expired.expired");
    expect(await accessToken()).not.toBe(first);
    await page.context().setOffline(true);
    await disconnected(page);
    await page.context().setOffline(false);
    await live(page);
    await goTo(page, "/notifications");
    const { userId } = await RestClient.logIn("freelancer");
    await page.evaluate((id) => {
      const heard: unknown[] = [];
      Object.assign(window, { heard });
      window.Echo.private(`user.${id}`).subscribed(() => heard.push("subscribed"));
    }, userId);
    expect(errors).toEqual([]);
  });

  it("goes on while the API and the worker are restarted", async () => {
    const { page } = await listening();
    const mark = `restarted ${Date.now()}`;
    const before = await postMany(mark, 1, 1);
    await expect.poll(() => titles(page, mark)).toEqual(before);
    signalService(inject("stack"), "worker", "SIGKILL");
    const during = await postMany(mark, 2, 4);
    await expect.poll(() => titles(page, mark), { timeout: 40_000 }).toEqual([...during, ...before]);
  });
});

describe("without WebSocket", () => {
  it.each([["xhr_streaming"], ["xhr_polling"]])("works over %s", async (transport) => {
    const { page, errors } = await listening({ transports: transport });
    const mark = `${transport} ${Date.now()}`;
    const posted = await postMany(mark, 1, 3);
    await expect.poll(() => titles(page, mark), { timeout: 20_000 }).toEqual(posted);
    await goTo(page, "/monitor");
    await page.getByTestId("transport").filter({ hasText: transport }).waitFor();
    expect(errors).toEqual([]);
  });

  it("falls back by itself when every WebSocket fails", async () => {
    const { page } = await listening({ isWebSocketBlocked: true });
    const mark = `fallback ${Date.now()}`;
    const posted = await postMany(mark, 1, 2);
    await expect.poll(() => titles(page, mark), { timeout: 20_000 }).toEqual(posted);
    await goTo(page, "/monitor");
    await page.getByTestId("transport").filter({ hasText: "xhr" }).waitFor();
  });
});
