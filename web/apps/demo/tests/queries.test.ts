import { describe, expect, it } from "vitest";

import { flatten, prepend, replace, without, type Pages } from "@/system/queries";

interface Item {
  readonly id: number;
  readonly text: string;
}

const item = (id: number, text = "old"): Item => ({ id, text });

function pagesOf(...pages: (readonly Item[])[]): Pages<Item> {
  return { pages: pages.map((items) => ({ items, nextCursor: null })), pageParams: pages.map(() => null) };
}

describe("prepend", () => {
  it("puts a new item at the head of the first page only", () => {
    expect(flatten(prepend(pagesOf([item(2)], [item(1)]), item(3)))).toEqual([item(3), item(2), item(1)]);
  });

  it("does not add what any page has already: an event may race the fetch", () => {
    const pages = pagesOf([item(2)], [item(1)]);
    expect(prepend(pages, item(1, "new"))).toBe(pages);
  });

  it("leaves a list alone that was never fetched", () => {
    expect(prepend(undefined, item(1))).toBeUndefined();
  });
});

describe("replace and without", () => {
  it("change one item on whatever page", () => {
    const pages = pagesOf([item(2)], [item(1)]);
    expect(flatten(replace(pages, 1, (old) => ({ ...old, text: "new" })))).toEqual([item(2), item(1, "new")]);
    expect(flatten(without(pages, 2))).toEqual([item(1)]);
  });
});
