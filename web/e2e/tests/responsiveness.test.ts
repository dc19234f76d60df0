/** Fifty subscriptions and five hundred events a second: the page stays responsive, and nothing is missing. */

import { createHash, createHmac } from "node:crypto";

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, inject, it } from "vitest";

import { goTo, launch, logIn } from "../support/browser.js";

const CHANNELS = Array.from({ length: 50 }, (_, n) => `load.${n}`);
const EVENTS_PER_SECOND = 500;
const SECONDS = 10;
const BATCH = 10;
/** Milliseconds; more where a shared machine is given more time for everything. */
const LONG_TASK_MS = 50 * Number(process.env.TEST_TIME_UNIT ?? 1);

/** The development app of the stack. */
const APP = { id: "1001", key: "sharedjox", secret: "sharedjox-secret" };

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});

afterAll(async () => {
  await browser.close();
});

/** One signed `POST /apps/{id}/batch_events` of the Pusher HTTP API. */
async function publishBatch(gateway: string, batch: readonly object[]): Promise<void> {
  const path = `/apps/${APP.id}/batch_events`;
  const body = JSON.stringify({ batch });
  const md5 = createHash("md5").update(body).digest("hex");
  const query = `auth_key=${APP.key}&auth_timestamp=${Math.floor(Date.now() / 1_000)}&auth_version=1.0&body_md5=${md5}`;
  const signature = createHmac("sha256", APP.secret).update(`POST\n${path}\n${query}`).digest("hex");
  const answer = await fetch(`${gateway}${path}?${query}&auth_signature=${signature}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });
  if (!answer.ok) throw new Error(`publishing answered ${answer.status}: ${await answer.text()}`);
}

it(`${CHANNELS.length} subscriptions with ${EVENTS_PER_SECOND} events a second leave the page responsive`, async () => {
  const config = (await (await fetch(new URL("/config.json", inject("stack").baseUrl))).json()) as { websocketUrl: string };
  const gateway = config.websocketUrl.replace(/^ws/, "http");
  const { page, errors } = await logIn(browser, "client");
  await goTo(page, "/monitor");
  const input = page.getByRole("combobox", { name: "Channels" });
  await input.fill(CHANNELS.join(" "));
  await page.keyboard.press("Enter");
  await expect.poll(() => page.getByText(/^load\.\d+: joined$/).count(), { timeout: 20_000 }).toBe(CHANNELS.length);

  await page.evaluate(() => {
    const seconds: Record<number, number> = {};
    const heard = { events: 0, outOfOrder: 0 };
    new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) {
        const second = Math.floor(startTime / 1_000);
        seconds[second] = Math.max(seconds[second] ?? 0, duration);
      }
    }).observe({ entryTypes: ["longtask"] });
    Object.assign(window, { measured: { seconds, heard, startedAt: performance.now() } });
  });
  const before = Number(await page.getByTestId("frame-count").getAttribute("data-total"));

  const total = EVENTS_PER_SECOND * SECONDS;
  const startedAt = Date.now();
  for (let sent = 0; sent < total; sent += BATCH) {
    const due = startedAt + (sent / EVENTS_PER_SECOND) * 1_000;
    const waitMs = due - Date.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const batch = Array.from({ length: BATCH }, (_, n) => ({
      name: "load.event",
      channel: CHANNELS[(sent + n) % CHANNELS.length],
      data: JSON.stringify({ n: sent + n, text: "x".repeat(200) }),
    }));
    await publishBatch(gateway, batch);
  }
  const tookSeconds = (Date.now() - startedAt) / 1_000;

  const seen = async (): Promise<number> => Number(await page.getByTestId("frame-count").getAttribute("data-total")) - before;
  await expect.poll(seen, { timeout: 20_000 }).toBeGreaterThanOrEqual(total);
  const worst = await page.evaluate(() => {
    const { seconds, startedAt: from } = (window as unknown as { measured: { seconds: Record<number, number>; startedAt: number } }).measured;
    const first = Math.floor(from / 1_000);
    const last = Math.floor(performance.now() / 1_000);
    return Array.from({ length: last - first }, (_, n) => seconds[first + n] ?? 0);
  });
  const median = worst.toSorted((a, b) => a - b)[Math.floor(worst.length / 2)] ?? 0;
  console.log(
    `${total} events in ${tookSeconds.toFixed(1)} s over ${CHANNELS.length} channels; longest task per second: ` +
      `median ${median.toFixed(0)} ms, worst ${Math.max(...worst).toFixed(0)} ms`,
  );
  expect(median).toBeLessThanOrEqual(LONG_TASK_MS);
  expect(errors).toEqual([]);
});
