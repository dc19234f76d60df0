/** Job alerts and Web Push, from the switch on the page to what a freelancer is shown. */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";

import { goTo, launch, logIn, type Person } from "../support/browser.js";
import { deliver, PushService } from "../support/push-service.js";
import { RestClient } from "../support/rest.js";

let browser: Browser;
let client: RestClient;

beforeAll(async () => {
  browser = await launch();
  client = await RestClient.logIn("client");
});

afterAll(async () => {
  await browser.close();
});

async function settings(page: Page): Promise<void> {
  await goTo(page, "/notifications");
  await page.getByRole("region", { name: "Settings" }).waitFor();
}

/** Set a switch and wait until the server has taken it: it cannot be used before. */
async function set(page: Page, name: string, isOn: boolean): Promise<void> {
  const toggle = page.getByRole("switch", { name });
  await toggle.and(page.locator(":enabled")).waitFor();
  if ((await toggle.isChecked()) !== isOn) await toggle.click();
  await expect.poll(() => page.getByRole("switch", { name, checked: isOn, disabled: false }).count()).toBe(1);
}

function alerts(page: Page, title: string) {
  return page.locator("[data-testid=notification][data-type='job.alert']").filter({ hasText: title });
}

describe("job alerts", () => {
  it("are nothing for clients to switch on", async () => {
    const { page } = await logIn(browser, "client");
    await settings(page);
    await page.getByRole("switch", { name: "Push notifications" }).waitFor();
    expect(await page.getByRole("switch", { name: "Job alerts" }).count()).toBe(0);
    await page.context().close();
  });

  it("tell a freelancer who wants them of the jobs that fit, at once and with the way there", async () => {
    const { page, errors } = await logIn(browser, "freelancer");
    await settings(page);
    await set(page, "Job alerts", true);
    const stamp = Date.now();
    await client.postJob(`Needs more ${stamp}`, ["react", "cobol"]);
    const id = await client.postJob(`Fits ${stamp}`, ["react"]);

    const alert = alerts(page, `Fits ${stamp}`);
    await alert.waitFor();
    await alert.getByText("unread").waitFor();
    await page.getByRole("alert").filter({ hasText: `Fits ${stamp}` }).getByRole("link", { name: "View job" }).waitFor();
    expect(await alert.count()).toBe(1);
    expect(await alerts(page, `Needs more ${stamp}`).count()).toBe(0);

    await alert.getByRole("link", { name: `View job ${id}` }).click();
    await page.getByRole("heading", { name: `Fits ${stamp}`, level: 1 }).waitFor();
    await settings(page);
    await alert.waitFor();
    await expect.poll(() => alert.getByText("unread").count()).toBe(0);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it("stay as they were chosen, and end when they are switched off", async () => {
    const { page } = await logIn(browser, "freelancer");
    for (const isOn of [true, false]) {
      await settings(page);
      await set(page, "Job alerts", isOn);
      await page.reload();
      await expect.poll(() => page.getByRole("switch", { name: "Job alerts", checked: isOn, disabled: false }).count()).toBe(1);
    }
    await page.context().close();
  });
});

describe("Web Push", () => {
  let service: PushService;
  let person: Person;

  beforeEach(async () => {
    service = await PushService.start();
    person = await logIn(browser, "freelancer");
    const { page } = person;
    await page.context().grantPermissions(["notifications"], { origin: inject("stack").baseUrl });
    await service.serve(page.context());
    await page.reload();
    await settings(page);
    return async () => {
      await page.context().close();
      await service.stop();
    };
  });

  it("brings an alert to a browser that registered, and its service worker shows it", async () => {
    const { page, errors } = person;
    await set(page, "Job alerts", true);
    await set(page, "Push notifications", true);
    const title = `Pushed ${Date.now()}`;
    const jobId = await client.postJob(title, ["react"]);
    await expect.poll(() => service.pushes.filter(({ text }) => text.includes(title)).length).toBe(1);

    const push = service.pushes.find(({ text }) => text.includes(title));
    expect(push?.senderKey).toBe(await page.evaluate(() => window.pushKey));
    const shown = (): Promise<{ title: string; body: string; data: unknown }[]> =>
      page.evaluate(async () => {
        const registration = await navigator.serviceWorker.ready;
        return (await registration.getNotifications()).map(({ title, body, data }) => ({ title, body, data: data as unknown }));
      });
    // Asked for its list between storing a notification and showing it, Chromium may drop it as one that is not shown. So
    // it is asked rarely, and what is missing is delivered again, as push services may: the tag makes one of two.
    const delivered = async (): ReturnType<typeof shown> => {
      const list = await shown();
      if (push && list.length === 0) await deliver(page, push);
      return list;
    };
    await expect
      .poll(delivered, { interval: 500 })
      .toEqual([{ title: "A job that fits you", body: expect.stringContaining(title) as string, data: { jobId } }]);
    await set(page, "Job alerts", false);
    expect(errors).toEqual([]);
  });

  it("ends for this browser when its user switches it off or logs out", async () => {
    const { page } = person;
    const forgotten = async (act: () => Promise<void>): Promise<void> => {
      await set(page, "Push notifications", true);
      const answer = page.waitForResponse(
        (response) => response.request().method() === "DELETE" && response.url().includes("/api/push/subscriptions"),
      );
      await act();
      expect((await answer).status()).toBe(204);
    };
    await forgotten(() => set(page, "Push notifications", false));
    await forgotten(async () => {
      await page.getByTestId("user-menu").click();
      await page.getByRole("menuitem", { name: "Log out" }).click();
      await page.getByRole("heading", { name: "SharedJox" }).waitFor();
    });
    await page.getByRole("button", { name: "Log in as freelancer" }).click();
    await page.getByTestId("user-menu").waitFor();
    await settings(page);
    await expect.poll(() => page.getByRole("switch", { name: "Push notifications", checked: false, disabled: false }).count()).toBe(1);
  });
});
