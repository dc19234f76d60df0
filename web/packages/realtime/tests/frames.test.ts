import { describe, expect, it } from "vitest";

import { parseFrame, readPosition } from "../src/core/frames.js";

describe("parseFrame", () => {
  it.each([
    ["no JSON", "{"],
    ["no object", "1"],
    ["null", "null"],
    ["no event", '{"data":"x"}'],
    ["an event that is no string", '{"event":1}'],
    ["binary", new ArrayBuffer(2)],
  ])("gives nothing for %s", (_, text) => {
    expect(parseFrame(text)).toBeUndefined();
  });

  it("parses data that is JSON in a string and keeps text that is not", () => {
    expect(parseFrame('{"event":"a","data":"{\\"n\\":1}"}')?.data).toEqual({ n: 1 });
    expect(parseFrame('{"event":"a","data":"plain"}')?.data).toBe("plain");
    expect(parseFrame('{"event":"a","data":{"n":1}}')?.data).toEqual({ n: 1 });
  });

  it("reads what makes delivery checkable", () => {
    const frame = parseFrame('{"event":"a","data":"1","channel":"c","id":"e1","epoch":"x","offset":4,"user_id":"7"}');
    expect(frame).toEqual({ event: "a", data: 1, channel: "c", userId: "7", meta: { id: "e1", epoch: "x", offset: 4 } });
  });

  it.each(['"offset":"4"', '"offset":4.5', '"offset":null'])("has no position when %s", (member) => {
    expect(parseFrame(`{"event":"a","id":"e1","epoch":"x",${member}}`)?.meta).toBeUndefined();
  });
});

describe("readPosition", () => {
  it("refuses what is not a position", () => {
    expect(readPosition(undefined)).toBeUndefined();
    expect(readPosition({ epoch: 1, offset: 1 })).toBeUndefined();
  });

  it("keeps only epoch and offset", () => {
    expect(readPosition({ epoch: "x", offset: 0, more: 1 })).toEqual({ epoch: "x", offset: 0 });
  });
});
