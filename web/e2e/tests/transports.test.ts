/** Where WebSocket does not get through, the page works over HTTP. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { disconnected, goTo, launch, live, type PersonOptions } from "../support/browser.js";
import { hearThroughEcho, onDiscovery, postMany, titles } from "../support/discovery.js";
import { RestClient } from "../support/rest.js";

let browser: Browser;
let client: RestClient;
let freelancer: RestClient;

beforeAll(async () => {
  browser = await launch();
  client = await RestClient.logIn("client");
  freelancer = await RestClient.logIn("freelancer");
});

afterAll(async () => {
  await browser.close();
});

const WAYS: readonly (readonly [string, PersonOptions, string])[] = [
  ["told to use xhr_streaming", { transports: "xhr_streaming" }, "xhr_streaming"],
  ["told to use xhr_polling", { transports: "xhr_polling" }, "xhr_polling"],
  ["by itself when every WebSocket fails", { isWebSocketBlocked: true }, "xhr_streaming"],
  ["by itself when answers that stream are swallowed, too", { isWebSocketBlocked: true, isStreamingBlocked: true }, "xhr_polling"],
];

describe("without WebSocket", () => {
  it.each(WAYS)("the page works, %s", async (_, options, transport) => {
    const { page, errors } = await onDiscovery(browser, options);
    const mark = `${transport} ${Date.now()}`;
    const heard = await hearThroughEcho(page, mark);
    const before = await postMany(client, mark, 1, 3);
    await expect.poll(() => titles(page, mark)).toEqual(before);

    await page.context().setOffline(true);
    await disconnected(page);
    const during = await postMany(client, mark, 4, 5);
    await page.context().setOffline(false);
    await live(page);
    await expect.poll(() => titles(page, mark)).toEqual([...during, ...before]);
    await expect.poll(heard).toEqual([...during, ...before].toReversed());

    const id = await client.postJob(`private ${mark}`);
    await freelancer.call(`/api/jobs/${id}/claim`);
    await goTo(page, `/jobs/${id}`);
    await page.getByTestId("viewers").filter({ hasText: "1 viewing" }).waitFor();
    await freelancer.call(`/api/jobs/${id}/status`, { status: "in_progress" });
    await page.locator("[data-testid=job-status][data-status=in_progress]").waitFor();

    await goTo(page, "/monitor");
    await page.getByTestId("transport").filter({ hasText: transport }).waitFor();
    expect(errors).toEqual([]);
    await page.context().close();
  });
});
