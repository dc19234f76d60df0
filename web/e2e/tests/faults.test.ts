/** What goes wrong out there: the page is right again without a reload, and no event is missing or doubled. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";

import { accessToken, disconnected, goTo, launch, live, logIn, offline, type Person } from "../support/browser.js";
import { hearThroughEcho, onDiscovery, postMany, titles } from "../support/discovery.js";
import { RestClient } from "../support/rest.js";
import { signalService, type ServiceName } from "../support/stack.js";
import { within } from "../support/time.js";

let browser: Browser;
let rest: RestClient;

beforeAll(async () => {
  browser = await launch();
  rest = await RestClient.logIn("client");
});

afterAll(async () => {
  await browser.close();
});

/** Run `during`, and check that the page was never loaded anew and threw nothing. */
async function withoutReload({ page, errors }: Person, during: () => Promise<void>): Promise<void> {
  const loaded = await page.evaluate(() => performance.timeOrigin);
  await during();
  expect(await page.evaluate(() => performance.timeOrigin)).toBe(loaded);
  expect(errors).toEqual([]);
  await page.context().close();
}

function kill(...names: ServiceName[]): void {
  for (const name of names) signalService(inject("stack"), name, "SIGKILL");
}

/** A deposit that an operator has confirmed: `wallet.updated` for its owner. */
async function deposit(owner: RestClient, amount: number): Promise<void> {
  const operator = await RestClient.logIn("operator");
  const { id } = await owner.call<{ readonly id: number }>("/api/wallet/deposits", { amount });
  await operator.call(`/api/wallet/transactions/${id}/confirm`);
}

async function balance(page: Page): Promise<number> {
  const shown = page.getByTestId("balance").filter({ hasText: /\d/ });
  return Number((await shown.innerText()).replaceAll(",", ""));
}

/** Wait until the time of an access token (a JWT) is up. */
async function expiry(token: string): Promise<void> {
  const { exp } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { readonly exp: number };
  await expect.poll(() => Date.now() / 1_000, { timeout: within(60) }).toBeGreaterThan(exp);
}

/** A promise and what resolves it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => { open(); } };
}

describe("the page", () => {
  it("keeps events that come while an older answer of the API is on its way", async () => {
    const person = await onDiscovery(browser);
    await withoutReload(person, async () => {
      const { page } = person;
      const mark = `late ${Date.now()}`;
      const heard = await hearThroughEcho(page, mark);
      const { opened: isRead, open: hasRead } = gate();
      const { opened: isReleased, open: release } = gate();
      await page.route(/\/api\/jobs\?.*q=late/, async (route) => {
        const answer = await route.fetch();
        hasRead();
        await isReleased;
        await route.fulfill({ response: answer });
      });
      await page.getByRole("textbox", { name: "Search" }).fill(mark);
      await isRead;
      const posted = await postMany(rest, mark, 1, 3);
      await expect.poll(heard).toEqual(posted.toReversed());
      release();
      await expect.poll(() => titles(page, mark)).toEqual(posted);
    });
  });

  it("gets what was posted while both gateways were dead", async () => {
    const person = await onDiscovery(browser);
    await withoutReload(person, async () => {
      const { page } = person;
      const mark = `killed ${Date.now()}`;
      const heard = await hearThroughEcho(page, mark);
      const before = await postMany(rest, mark, 1, 2);
      await expect.poll(() => titles(page, mark)).toEqual(before);
      kill("gateway-1", "gateway-2");
      await disconnected(page);
      const during = await postMany(rest, mark, 3, 5);
      await live(page);
      const after = await postMany(rest, mark, 6, 6);
      const all = [...after, ...during, ...before];
      await expect.poll(() => titles(page, mark)).toEqual(all);
      await expect.poll(heard).toEqual(all.toReversed());
    });
  });

  it("recovers from a network that is cut for ten seconds", async () => {
    const person = await onDiscovery(browser);
    await withoutReload(person, async () => {
      const { page } = person;
      const mark = `cut ${Date.now()}`;
      const heard = await hearThroughEcho(page, mark);
      const before = await postMany(rest, mark, 1, 2);
      await expect.poll(() => titles(page, mark)).toEqual(before);
      await page.context().setOffline(true);
      const cutAt = Date.now();
      const during = await postMany(rest, mark, 3, 5);
      await offline(page);
      await page.waitForTimeout(Math.max(0, cutAt + 10_000 - Date.now()));
      await page.context().setOffline(false);
      await live(page);
      await expect.poll(() => titles(page, mark)).toEqual([...during, ...before]);
      await expect.poll(heard).toEqual([...during, ...before].toReversed());
    });
  });

  it("follows its job again after a cut: status, who is viewing, who is typing", async () => {
    const client = await logIn(browser, "client");
    const freelancer = await logIn(browser, "freelancer");
    const worker = await RestClient.logIn("freelancer");
    const id = await rest.postJob(`Followed ${Date.now()}`);
    await worker.call(`/api/jobs/${id}/claim`);
    await Promise.all([client, freelancer].map(({ page }) => goTo(page, `/jobs/${id}`)));
    const viewers = client.page.getByTestId("viewers");
    await viewers.filter({ hasText: "2 viewing" }).waitFor();
    await withoutReload(client, async () => {
      await client.page.context().setOffline(true);
      await disconnected(client.page);
      await worker.call(`/api/jobs/${id}/status`, { status: "in_progress" });
      await worker.call(`/api/jobs/${id}/status`, { status: "submitted", deliverables: ["source code"] });
      await client.page.context().setOffline(false);
      await live(client.page);
      await client.page.locator("[data-testid=job-status][data-status=submitted]").waitFor();
      await client.page.getByTestId("deliverables").filter({ hasText: "source code" }).waitFor();
      await viewers.filter({ hasText: "2 viewing" }).waitFor();
      await freelancer.page.getByRole("textbox", { name: "Note" }).pressSequentially("Done");
      await client.page.getByTestId("typing").filter({ hasText: "is typing" }).waitFor();
    });
    await freelancer.page.context().close();
  });

  it("outlives its access token: private channels are joined again with a new one", async () => {
    const person = await logIn(browser, "freelancer");
    const owner = await RestClient.logIn("freelancer");
    await withoutReload(person, async () => {
      const { page } = person;
      await goTo(page, "/wallet");
      const before = await balance(page);
      const first = await accessToken(page);
      await expiry(first);
      kill("gateway-1", "gateway-2");
      await disconnected(page);
      await live(page);
      await deposit(owner, 7);
      await expect.poll(() => balance(page)).toBe(before + 7);
      expect(await accessToken(page)).not.toBe(first);
    });
  });

  it("keeps its session when the network takes away the answer to a refresh", async () => {
    const person = await logIn(browser, "freelancer");
    await withoutReload(person, async () => {
      const { page } = person;
      const first = await accessToken(page);
      let refreshes = 0;
      await page.route("**/api/auth/refresh", async (route) => {
        refreshes += 1;
        if (refreshes > 1) return route.continue();
        await route.fetch();
        return route.abort("connectionreset");
      });
      await expiry(first);
      await goTo(page, "/jobs");
      await expect.poll(() => refreshes).toBeGreaterThan(1);
      await expect.poll(() => accessToken(page)).not.toBe(first);
      await page.getByTestId("job-card").first().waitFor();
    });
  });

  it("goes on while the API and the worker are killed and restarted", async () => {
    const person = await onDiscovery(browser);
    await withoutReload(person, async () => {
      const { page } = person;
      const mark = `restarted ${Date.now()}`;
      const heard = await hearThroughEcho(page, mark);
      const before = await postMany(rest, mark, 1, 1);
      await expect.poll(() => titles(page, mark)).toEqual(before);
      kill("worker", "api");
      await expect.poll(isApiUp).toBe(true);
      const during = await postMany(rest, mark, 2, 4);
      await expect.poll(() => titles(page, mark), { timeout: within(60) }).toEqual([...during, ...before]);
      await expect.poll(heard).toEqual([...during, ...before].toReversed());
    });
  });
});

async function isApiUp(): Promise<boolean> {
  try {
    return (await fetch(new URL("/readyz", inject("stack").baseUrl))).ok;
  } catch {
    return false;
  }
}
