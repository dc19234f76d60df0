/** Who is logged in. Kept in local storage, so that it outlives a reload and is the same in all tabs. */

import { create } from "zustand";
import { persist } from "zustand/middleware";

import { ApiError, isPassing, readJson } from "@/system/problems";
import { randomKey } from "@/system/random";
import type { Role, Session, User } from "@/system/types";

const STORAGE_KEY = "sharedjox.session";

export interface Registration {
  readonly name: string;
  readonly email: string;
  readonly password: string;
  readonly role: Exclude<Role, "operator">;
  readonly skills?: readonly string[];
}

interface AuthState {
  readonly user: User | null;
  readonly accessToken: string | null;
  readonly refreshToken: string | null;
  /**
   * Idempotency key of the next refresh, the same for all tabs and attempts: a refresh token works once, and when the
   * network takes away the answer to a refresh, the second attempt must get that answer and not end the session.
   */
  readonly refreshKey: string;
  readonly logIn: (email: string, password: string) => Promise<void>;
  readonly register: (registration: Registration) => Promise<void>;
  readonly logOut: () => Promise<void>;
  /** A new access token, or null (and logged out) when the session is over. Rejects when the server is away. */
  readonly refresh: () => Promise<string | null>;
}

const LOGGED_OUT = { user: null, accessToken: null, refreshToken: null, refreshKey: "" } as const;

function loggedIn({ user, accessToken, refreshToken }: Session): Partial<AuthState> {
  return { user, accessToken, refreshToken, refreshKey: randomKey() };
}

export const useAuthStore = create<AuthState>()(
  persist(
    (set, get) => ({
      ...LOGGED_OUT,
      logIn: async (email, password) => {
        set(loggedIn(await post("/api/auth/login", { email, password })));
      },
      register: async (registration) => {
        set(loggedIn(await post("/api/auth/register", registration)));
      },
      logOut: async () => {
        const { accessToken } = get();
        try {
          // The session ends at the server, too, even when the access token has just run out.
          const answer = await revoke(accessToken);
          if (answer.status === 401) await revoke(await get().refresh());
        } catch {
          // Offline: the server forgets the session when its refresh token runs out.
        }
        set(LOGGED_OUT);
      },
      refresh: () => inTurn(async () => refreshNow(get().accessToken, set, get)),
    }),
    {
      name: STORAGE_KEY,
      partialize: ({ user, accessToken, refreshToken, refreshKey }) => ({ user, accessToken, refreshToken, refreshKey }),
    },
  ),
);

async function refreshNow(
  used: string | null,
  set: (state: Partial<AuthState>) => void,
  get: () => AuthState,
): Promise<string | null> {
  // Refresh tokens work once. Another tab may have used ours while we waited for our turn: then its result is ours.
  await useAuthStore.persist.rehydrate();
  const { accessToken, refreshToken, refreshKey } = get();
  if (accessToken !== null && accessToken !== used) return accessToken;
  if (refreshToken === null) return null;
  try {
    const session = await post("/api/auth/refresh", { refreshToken }, refreshKey);
    set(loggedIn(session));
    return session.accessToken;
  } catch (error) {
    // Only a clear refusal ends the session; a server that is away does not.
    if (!(error instanceof ApiError) || isPassing(error)) throw error;
    set(LOGGED_OUT);
    return null;
  }
}

/** One tab at a time. */
function inTurn<T>(run: () => Promise<T>): Promise<T> {
  // Absent on pages without TLS that are not on localhost.
  const { locks } = navigator as { readonly locks?: LockManager | null };
  return locks ? locks.request("sharedjox.refresh", run) : run();
}

function revoke(accessToken: string | null): Promise<Response> {
  return fetch("/api/auth/logout", { method: "POST", headers: { Authorization: `Bearer ${accessToken ?? ""}` } });
}

async function post(path: string, body: unknown, idempotencyKey = ""): Promise<Session> {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(idempotencyKey && { "Idempotency-Key": idempotencyKey }) },
    body: JSON.stringify(body),
  });
  return readJson<Session>(answer);
}

/** Follow log-ins and log-outs of other tabs. */
export function followOtherTabs(): void {
  window.addEventListener("storage", ({ key }) => {
    if (key === STORAGE_KEY || key === null) void useAuthStore.persist.rehydrate();
  });
}
