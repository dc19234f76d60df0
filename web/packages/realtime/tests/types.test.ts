/** What the compiler must accept and refuse. `npm run types` decides; at run time only the names are checked. */

import { describe, expectTypeOf, it } from "vitest";

import type {
  EventHandlers,
  EventPayloads,
  JobClaimed,
  JobPosted,
  JobUpdated,
  Listener,
  NamedEvent,
  UserEvents,
  WalletUpdated,
} from "../src/index.js";
import type { WebSocketApi } from "../src/react/index.js";

describe("payload types", () => {
  it("follow the contracts", () => {
    expectTypeOf<EventPayloads["job.posted"]>().toEqualTypeOf<JobPosted>();
    expectTypeOf<JobPosted["job"]["requiredSkills"]>().toEqualTypeOf<readonly string[]>();
    expectTypeOf<WalletUpdated["newBalance"]>().toEqualTypeOf<number>();
    expectTypeOf<JobUpdated["status"]>().not.toEqualTypeOf<string>();
  });

  it("reach the callbacks of the hook", () => {
    type Discovery = Extract<Parameters<WebSocketApi["subscribeToDiscovery"]>[0], (...given: never[]) => unknown>;
    expectTypeOf<Parameters<Discovery>[0]>().toEqualTypeOf<JobPosted>();
    type Job = Extract<Parameters<WebSocketApi["subscribeToJob"]>[1], (...given: never[]) => unknown>;
    expectTypeOf<Parameters<Job>[0]>().toEqualTypeOf<JobClaimed | JobUpdated>();
    expectTypeOf<ReturnType<WebSocketApi["subscribeToUser"]>>().toEqualTypeOf<() => void>();
  });

  it("are narrowed by the event's name", () => {
    const narrow = (event: NamedEvent<"job.claimed" | "wallet.updated">): void => {
      if (event.name === "wallet.updated") expectTypeOf(event.data).toEqualTypeOf<WalletUpdated>();
      else expectTypeOf(event.data).toEqualTypeOf<JobClaimed>();
    };
    expectTypeOf(narrow).toBeFunction();
  });

  it("belong to each handler of the map form", () => {
    const handlers: EventHandlers<UserEvents> = {
      "wallet.updated": (data) => {
        expectTypeOf(data).toEqualTypeOf<WalletUpdated>();
      },
      resync: (reason) => {
        expectTypeOf(reason).toEqualTypeOf<"joined" | "unrecoverable" | "rejoined" | "gap" | "overflow">();
      },
    };
    expectTypeOf(handlers).toExtend<Listener<UserEvents>>();
    // @ts-expect-error -- an event of another channel
    const wrong: EventHandlers<UserEvents> = { "job.posted": () => undefined };
    expectTypeOf(wrong).toBeObject();
  });
});
