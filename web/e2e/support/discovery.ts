/** What a freelancer sees on Discovery, and what the socket under it brings. */

import type { Browser, Page } from "playwright-core";

import { goTo, logIn, type Person, type PersonOptions } from "./browser.js";
import type { RestClient } from "./rest.js";

/** A freelancer on Discovery whose page has joined the feed's channel. */
export async function onDiscovery(browser: Browser, options: PersonOptions = {}): Promise<Person> {
  const person = await logIn(browser, "freelancer", options);
  await goTo(person.page, "/discovery");
  await person.page.getByRole("feed").waitFor();
  return person;
}

/** Titles with this mark on the page, newest first. */
export async function titles(page: Page, mark: string): Promise<string[]> {
  return page.getByTestId("job-card").filter({ hasText: mark }).getByRole("link").allInnerTexts();
}

/** Post jobs with numbered titles, one after the other; their titles, newest first, as Discovery lists them. */
export async function postMany(rest: RestClient, mark: string, from: number, to: number): Promise<string[]> {
  const posted: string[] = [];
  for (let n = from; n <= to; n += 1) {
    const title = `${mark} no ${n}`;
    await rest.postJob(title);
    posted.unshift(title);
  }
  return posted;
}

/** Write down on the page what `window.Echo` hears of this mark; the returned function reads it, oldest first. */
export async function hearThroughEcho(page: Page, mark: string): Promise<() => Promise<string[]>> {
  await page.evaluate((wanted) => {
    window.heard = [];
    window.Echo.channel("jobs.discovery").listen(".job.posted", (data) => {
      const { title } = (data as { readonly job: { readonly title: string } }).job;
      if (title.includes(wanted)) window.heard.push(title);
    });
  }, mark);
  return () => page.evaluate(() => window.heard);
}
