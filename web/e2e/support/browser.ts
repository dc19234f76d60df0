/** People in front of a browser: each has a context of their own, as on a machine of their own. */

import { existsSync } from "node:fs";

import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { inject } from "vitest";

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
}

/** Open the app, not logged in. */
export async function open(browser: Browser, { transports, isWebSocketBlocked, ...options }: PersonOptions = {}): Promise<Person> {
  const context = await browser.newContext({ baseURL: inject("stack").baseUrl, locale: "en-GB", ...options });
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
  await live(person.page);
  return person;
}

/** Wait until the page says that it is connected. */
export async function live(page: Page, timeout = 30_000): Promise<void> {
  await page.locator('[data-testid=connection][data-state=connected]').waitFor({ timeout });
}

/** Go to a page of the app by its address, without a reload. */
export async function goTo(page: Page, path: string): Promise<void> {
  await page.evaluate((hash) => { location.hash = hash; }, `#${path}`);
}
