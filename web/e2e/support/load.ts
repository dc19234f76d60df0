/** Fifty subscriptions and five hundred events a second: what that does to a page, and whether it heard all of it. */

import { createHash, createHmac } from "node:crypto";

import type { Page } from "playwright-core";
import { expect, inject } from "vitest";

import { goTo } from "./browser.js";
import { within } from "./time.js";

const CHANNELS = Array.from({ length: 50 }, (_, n) => `load.${n}`);
const EVENTS_PER_SECOND = 500;
const BATCH = 10;
const TEXT = "x".repeat(200);

/** The development app of the stack. */
const APP = { id: "1001", key: "sharedjox", secret: "sharedjox-secret" };

/** Names carry their unit, as in the other benchmarks' files. */
export interface LoadResult {
  readonly events: number;
  readonly channels: number;
  /** What was really published; less than asked for when the machine could not. */
  readonly events_per_second: number;
  readonly lost: number;
  readonly repeated: number;
  readonly out_of_order: number;
  /** The longest task of the page in each second of the load (0: none above 50 ms), and the median and worst of these. */
  readonly longest_tasks_ms: readonly number[];
  readonly median_longest_task_ms: number;
  readonly worst_longest_task_ms: number;
  /** From before the request that publishes to the listener in the page. */
  readonly latency_p50_ms: number;
  readonly latency_p99_ms: number;
}

interface LoadEvent {
  readonly n: number;
  readonly sentAt: number;
}

/** What the page writes down; `tasks` are start (ms since `timeOrigin`) and duration. */
interface Notes {
  readonly tasks: (readonly [number, number])[];
  readonly heard: Record<string, number[]>;
  readonly latenciesMs: number[];
}

type WithNotes = Window & { loadNotes: Notes };

/** Open the Monitor page with all channels, publish for so many seconds, and say what the page went through. */
export async function measureLoad(page: Page, seconds: number): Promise<LoadResult> {
  const config = (await (await fetch(new URL("/config.json", inject("stack").baseUrl))).json()) as { websocketUrl: string };
  const gateway = config.websocketUrl.replace(/^ws/, "http");
  await goTo(page, "/monitor");
  await page.getByRole("combobox", { name: "Channels" }).fill(CHANNELS.join(" "));
  await page.keyboard.press("Enter");
  await expect.poll(() => page.getByText(/^load\.\d+: joined$/).count()).toBe(CHANNELS.length);
  await page.evaluate(takeNotes, CHANNELS);
  await proveThatLongTasksShow(page);

  const total = EVENTS_PER_SECOND * seconds;
  const startedAt = await page.evaluate(() => performance.now());
  const tookMs = await publishAll(gateway, total);
  await expect.poll(() => page.evaluate(countHeard), { timeout: within(20) }).toBeGreaterThanOrEqual(total);
  const { tasks, heard, latenciesMs } = await page.evaluate(() => (window as unknown as WithNotes).loadNotes);

  const longest = Array.from({ length: Math.floor(tookMs / 1_000) }, (_, second) =>
    Math.max(0, ...tasks.filter(([at]) => Math.floor((at - startedAt) / 1_000) === second).map(([, durationMs]) => durationMs)),
  );
  return {
    events: total,
    channels: CHANNELS.length,
    events_per_second: total / (tookMs / 1_000),
    ...faults(heard, total),
    longest_tasks_ms: longest,
    median_longest_task_ms: percentile(longest, 0.5),
    worst_longest_task_ms: Math.max(...longest),
    latency_p50_ms: percentile(latenciesMs, 0.5),
    latency_p99_ms: percentile(latenciesMs, 0.99),
  };
}

/** In the page: note long tasks, and what Echo's own listeners hear on top of the app's subscribers. */
function takeNotes(channels: readonly string[]): void {
  const notes: Notes = { tasks: [], heard: {}, latenciesMs: [] };
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) notes.tasks.push([startTime, duration]);
  }).observe({ entryTypes: ["longtask"] });
  for (const channel of channels) {
    const numbers: number[] = (notes.heard[channel] = []);
    window.Echo.channel(channel).listen(".load.event", (data) => {
      const { n, sentAt } = data as LoadEvent;
      numbers.push(n);
      notes.latenciesMs.push(Date.now() - sentAt);
    });
  }
  (window as unknown as WithNotes).loadNotes = notes;
}

/** A page that notes no long task may be fast, or the observer blind: it has to see one that we make. */
async function proveThatLongTasksShow(page: Page): Promise<void> {
  await page.evaluate(() => {
    setTimeout(() => {
      const until = performance.now() + 100;
      while (performance.now() < until);
    });
  });
  const longest = (): Promise<number> =>
    page.evaluate(() => Math.max(0, ...(window as unknown as WithNotes).loadNotes.tasks.map(([, durationMs]) => durationMs)));
  await expect.poll(longest).toBeGreaterThanOrEqual(100);
}

/** In the page. */
function countHeard(): number {
  return (window as unknown as WithNotes).loadNotes.latenciesMs.length;
}

/** At a steady rate, one request after the other so that each channel has one right order; milliseconds it took. */
async function publishAll(gateway: string, total: number): Promise<number> {
  const startedAt = performance.now();
  for (let sent = 0; sent < total; sent += BATCH) {
    const waitMs = startedAt + (sent / EVENTS_PER_SECOND) * 1_000 - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const batch = Array.from({ length: BATCH }, (_, n) => ({
      name: "load.event",
      channel: CHANNELS[(sent + n) % CHANNELS.length],
      data: JSON.stringify({ n: sent + n, sentAt: Date.now(), text: TEXT } satisfies LoadEvent & { text: string }),
    }));
    await publishBatch(gateway, batch);
  }
  return performance.now() - startedAt;
}

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

function faults(heard: Notes["heard"], total: number): Pick<LoadResult, "lost" | "repeated" | "out_of_order"> {
  const all = Object.values(heard).flat();
  const distinct = new Set(all).size;
  const out_of_order = Object.values(heard)
    .map((numbers) => numbers.filter((n, index) => n < (numbers[index - 1] ?? -1)).length)
    .reduce((sum, count) => sum + count, 0);
  return { lost: total - distinct, repeated: all.length - distinct, out_of_order };
}

/** Nearest rank. */
function percentile(values: readonly number[], share: number): number {
  const ordered = values.toSorted((a, b) => a - b);
  return ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)] ?? 0;
}
