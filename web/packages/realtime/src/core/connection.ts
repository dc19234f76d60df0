/** What can be known of the connection from outside: its state, its members, its frames. */

import type { Frame } from "./frames.js";

/**
 * - `idle`: not asked to connect. - `connecting`: an attempt is under way. - `connected`.
 * - `waiting`: the next attempt is at `retryAt`.
 * - `offline`: the browser says that there is no network. Attempts go on: this very machine may be meant.
 * - `refused`: the server does not want this client (`code`); nothing happens until `connect()` is called.
 */
export type ConnectionState = "idle" | "connecting" | "connected" | "waiting" | "offline" | "refused";

export interface ConnectionStatus {
  readonly state: ConnectionState;
  readonly socketId?: string;
  readonly transport?: string;
  /** Attempts since the last good connection. */
  readonly attempt: number;
  /** `Date.now` time of the next attempt. */
  readonly retryAt?: number;
  /** Close code of the last connection. */
  readonly code?: number;
  readonly reason?: string;
}

export interface Member {
  readonly id: string;
  readonly info: unknown;
}

/** One frame on its way in or out, for consoles and tests. */
export interface TappedFrame {
  readonly direction: "in" | "out";
  readonly at: number;
  readonly frame: Frame;
}

export type Tap = (tapped: TappedFrame) => void;
