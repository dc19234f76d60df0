// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";

import { useAuthStore } from "@/system/stores/useAuthStore";

const KEY = "sharedjox.session";
const user = { id: 2, name: "Clara", email: "client@sharedjox.test", role: "client" as const };

let asked: string[];
let keysSent: (string | null)[];
let answer: () => Response;

beforeEach(() => {
  asked = [];
  keysSent = [];
  answer = () => Response.json({ user, accessToken: "new", refreshToken: "r2" });
  vi.stubGlobal("fetch", async (path: string, init?: RequestInit) => {
    asked.push(path);
    keysSent.push(new Headers(init?.headers).get("Idempotency-Key"));
    return answer();
  });
  localStorage.clear();
  useAuthStore.setState({ user, accessToken: "old", refreshToken: "r1", refreshKey: "k1" });
});

describe("refresh", () => {
  it("stores the new pair of tokens", async () => {
    expect(await useAuthStore.getState().refresh()).toBe("new");
    expect(useAuthStore.getState()).toMatchObject({ accessToken: "new", refreshToken: "r2" });
  });

  it("takes over what another tab got meanwhile: a refresh token works once", async () => {
    const other = { state: { user, accessToken: "theirs", refreshToken: "r9", refreshKey: "k9" }, version: 0 };
    localStorage.setItem(KEY, JSON.stringify(other));
    expect(await useAuthStore.getState().refresh()).toBe("theirs");
    expect(asked).toEqual([]);
  });

  it("ends the session when the server refuses it", async () => {
    answer = () => Response.json({ code: "invalid-token", detail: "over" }, { status: 401 });
    expect(await useAuthStore.getState().refresh()).toBeNull();
    expect(useAuthStore.getState().user).toBeNull();
  });

  it.each([429, 500, 503])("keeps the session when the server answers %i, and says that it failed", async (status) => {
    answer = () => new Response("", { status });
    await expect(useAuthStore.getState().refresh()).rejects.toMatchObject({ status });
    expect(useAuthStore.getState().user).toEqual(user);
  });

  it("asks with the same key until it has an answer, and with another one for the next token", async () => {
    const answers: (() => Response)[] = [
      () => { throw new TypeError("the network took the answer away"); },
      () => Response.json({ user, accessToken: "new", refreshToken: "r2" }),
      () => Response.json({ user, accessToken: "newer", refreshToken: "r3" }),
    ];
    answer = () => answers.shift()?.() ?? new Response("", { status: 500 });
    await expect(useAuthStore.getState().refresh()).rejects.toThrow("network");
    expect(await useAuthStore.getState().refresh()).toBe("new");
    expect(await useAuthStore.getState().refresh()).toBe("newer");
    expect(keysSent.slice(0, 2)).toEqual(["k1", "k1"]);
    expect(keysSent[2]).toMatch(/^\w+(-\w+){3}$/);
  });
});

describe("log-out", () => {
  it("ends the session at the server even when the access token has run out", async () => {
    const answers = [
      new Response("", { status: 401 }),
      Response.json({ user, accessToken: "new", refreshToken: "r2" }),
      new Response(null, { status: 204 }),
    ];
    answer = () => answers.shift() ?? new Response("", { status: 500 });
    await useAuthStore.getState().logOut();
    expect(asked).toEqual(["/api/auth/logout", "/api/auth/refresh", "/api/auth/logout"]);
    expect(useAuthStore.getState()).toMatchObject({ user: null, accessToken: null, refreshToken: null });
  });

  it("works offline", async () => {
    vi.stubGlobal("fetch", async () => Promise.reject(new TypeError("offline")));
    await useAuthStore.getState().logOut();
    expect(useAuthStore.getState().user).toBeNull();
  });
});
