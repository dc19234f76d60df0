/** What `make bench-browser` runs: writes the figures to LOAD_RESULT and judges none of them. */

import { writeFileSync } from "node:fs";

import { expect, it } from "vitest";

import { launch, logIn } from "../support/browser.js";
import { measureLoad } from "../support/load.js";
import { within } from "../support/time.js";

const { LOAD_SECONDS = "30", LOAD_RESULT = "" } = process.env;
const SECONDS = Number(LOAD_SECONDS);

it(`${SECONDS} seconds of load on a page`, { timeout: within(60) + 2_000 * SECONDS }, async () => {
  const browser = await launch();
  try {
    const { page, errors } = await logIn(browser, "client");
    const result = await measureLoad(page, SECONDS);
    expect(errors).toEqual([]);
    writeFileSync(LOAD_RESULT, JSON.stringify({ ...result, browser: browser.version() }));
  } finally {
    await browser.close();
  }
});
