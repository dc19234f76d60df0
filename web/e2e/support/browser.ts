/** People in front of a browser: each has a context of their own, as on a machine of their own. */

import { existsSync } from "node:fs";

import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { inject } from "vitest";

import { within } from "./time.js";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--force-color-profile=srgb",
];

export type Role = "client" | "freelancer" | "operator";

export async function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? CHROMIUM.find((path) => existsSync(path));
  if (!executablePath) throw new Error("no Chromium found: install the package chromium, or set CHROMIUM to its path");
  return chromium.launch({ executablePath, args: FLAGS });
}

export interface Person {
  readonly page: Page;
  /** Uncaught errors of the page so far. */
  readonly errors: readonly string[];
}

export interface PersonOptions extends BrowserContextOptions {
  /** Allow only these transports, as the Monitor page's choice does. */
  readonly transports?: string;
  readonly isWebSocketBlocked?: boolean;
  /** Hold back answers that stream until they end, as a proxy that buffers does. */
  readonly isStreamingBlocked?: boolean;
}

/** Open the app, not logged in. */
export async function open(
  browser: Browser,
  { transports, isWebSocketBlocked, isStreamingBlocked, ...options }: PersonOptions = {}): Promise<Person> {
  const context = await browser.newContext({ baseURL: inject("stack").baseUrl, locale: "en-GB", ...options });
  context.setDefaultTimeout(within(30));
  if (transports) await context.addInitScript((value) => { localStorage.setItem("sharedjox.transports", value); }, transports);
  if (isWebSocketBlocked) {
    await context.addInitScript(() => {
      // As behind a proxy that cuts every upgrade.
      const Original = window.WebSocket;
      window.WebSocket = class extends Original {
        constructor(url: string | URL) {
          super(String(url).replace(/:\d+\//, ":9/"));
        }
      };
    });
  }
  // Requests that wait for an answer which never ends, and show none of it meanwhile.
  if (isStreamingBlocked) await context.route(/xhr_streaming/, () => new Promise(() => undefined));
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto("/");
  return { page, errors };
}

/** Open the app and log in with a demo account. */
export async function logIn(browser: Browser, role: Role, options: PersonOptions = {}): Promise<Person> {
  const person = await open(browser, options);
  await person.page.getByRole("button", { name: `Log in as ${role}` }).click();
  await person.page.waitForFunction(hasSession);
  await live(person.page);
  return person;
}

/** In the page: visitors are connected too, so that being connected does not mean being logged in. */
function hasSession(): boolean {
  const stored = JSON.parse(localStorage.getItem("sharedjox.session") ?? "{}") as { state?: { accessToken?: string | null } };
  return Boolean(stored.state?.accessToken);
}

/** Wait until the page says that it is connected. */
export async function live(page: Page): Promise<void> {
  await page.locator("[data-testid=connection][data-state=connected]").waitFor();
}

/** Wait until the page says that it is not. */
export async function disconnected(page: Page): Promise<void> {
  await page.locator("[data-testid=connection]:not([data-state=connected])").waitFor();
}

/** Wait until the page says that there is no network. Soon: who types into the void wants to know. */
export async function offline(page: Page): Promise<void> {
  await page.locator("[data-testid=connection][data-state=offline]").waitFor({ timeout: within(10) });
}

/** The access token that the page would send now; empty when nobody is logged in. */
export async function accessToken(page: Page): Promise<string> {
  return page.evaluate(() => {
    const stored = JSON.parse(localStorage.getItem("sharedjox.session") ?? "{}") as { state?: { accessToken?: string } };
    return stored.state?.accessToken ?? "";
  });
}

/** Go to a page of the app by its address, without a reload. */
export async function goTo(page: Page, path: string): Promise<void> {
  await page.evaluate((hash) => { location.hash = hash; }, `#${path}`);
}
