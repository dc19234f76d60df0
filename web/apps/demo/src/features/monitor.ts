/** What the Monitor page keeps of the frames that pass: the newest fifty, and counts of all. */

import type { RealtimeClient, TappedFrame } from "@sharedjox/realtime";

export interface MonitoredFrame extends TappedFrame {
  readonly key: number;
}

export interface MonitorSnapshot {
  readonly frames: readonly MonitoredFrame[];
  readonly total: number;
  readonly perSecond: number;
}

const KEPT = 50;
const SCREENFUL = 12;
const FLOOD_PER_SECOND = 100;
/** However fast frames come, the page is drawn this often. */
const DRAW_EVERY_MS = 500;

export class FrameMonitor {
  #frames: MonitoredFrame[] = [];
  #total = 0;
  #arrivals: number[] = [];
  #snapshot: MonitorSnapshot = { frames: [], total: 0, perSecond: 0 };
  #isPaused = false;
  readonly #client: RealtimeClient;

  constructor(client: RealtimeClient) {
    this.#client = client;
  }

  readonly get = (): MonitorSnapshot => this.#snapshot;

  readonly subscribe = (changed: () => void): (() => void) => {
    const untap = this.#client.tap(this.#take);
    const timer = setInterval(() => {
      if (this.#draw()) changed();
    }, DRAW_EVERY_MS);
    return () => {
      untap();
      clearInterval(timer);
    };
  };

  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
  }

  clear(): void {
    this.#frames = [];
    this.#total = 0;
  }

  readonly #take = (tapped: TappedFrame): void => {
    this.#total += 1;
    this.#arrivals.push(tapped.at);
    if (this.#isPaused) return;
    this.#frames.push({ ...tapped, key: this.#total });
    if (this.#frames.length > 2 * KEPT) this.#frames = this.#frames.slice(-KEPT);
  };

  #draw(): boolean {
    const since = Date.now() - 1_000;
    this.#arrivals = this.#arrivals.filter((at) => at > since);
    const next = { total: this.#total, perSecond: this.#arrivals.length };
    const { total, perSecond } = this.#snapshot;
    if (next.total === total && next.perSecond === perSecond) return false;
    // In a flood every row is new at every draw, and nobody can read them: a screenful will do.
    const shown = next.perSecond > FLOOD_PER_SECOND ? SCREENFUL : KEPT;
    this.#snapshot = { ...next, frames: this.#frames.slice(-shown).reverse() };
    return true;
  }
}
