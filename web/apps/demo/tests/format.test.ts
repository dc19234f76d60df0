import { describe, expect, it } from "vitest";

import { formatAgo, formatChange, formatDuration, matchScore } from "@/system/format";

describe("matchScore", () => {
  it.each([
    [[], ["react", "typescript"], 50],
    [["react"], ["react", "typescript"], 75],
    [["React", "typescript"], ["react", "typescript"], 100],
    [["react"], ["react", "vue", "svelte"], 67],
    [["react"], [], 100],
  ])("of %j for %j is %i, as the API counts", (own, required, score) => {
    expect(matchScore(own, required)).toBe(score);
  });
});

describe("formatAgo", () => {
  const now = Date.parse("2026-02-21T12:00:00Z");

  it.each([
    ["2026-02-21T11:59:30Z", "just now"],
    ["2026-02-21T12:00:05Z", "just now"],
    ["2026-02-21T11:58:00Z", /2 min/],
    ["2026-02-21T09:00:00Z", /3 h/],
    ["2026-02-19T11:00:00Z", /2 days/],
  ])("%s is %s", (iso, text) => {
    expect(formatAgo(iso, now)).toMatch(text);
  });
});

describe("formatDuration", () => {
  it.each([
    [0, "0 min"],
    [45, "45 min"],
    [120, "2 h"],
    [135, "2 h 15 min"],
  ])("%i minutes are %s", (minutes, text) => {
    expect(formatDuration(minutes)).toBe(text);
  });
});

describe("formatChange", () => {
  it.each([
    [45, /^\+45.00$/],
    [-45.5, /^−45.50$/],
  ])("of %f has a sign", (amount, text) => {
    expect(formatChange(amount)).toMatch(text);
  });
});
