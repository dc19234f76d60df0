/**
 * Everything that reaches a subscriber goes through one queue, so that order holds whatever delays it.
 *
 * Three reasons to wait: somebody holds the queue (page not ready, hidden, disconnected); deliveries come faster than
 * one per frame of the screen and are taken together; a batch has used up its time and the page must breathe.
 */

/** One delivery; `key` names what has to be fetched again when the delivery had to be dropped. */
export interface Delivery {
  readonly key: string;
  run(): void;
}

export interface QueueOptions {
  /** Deliveries kept while held. Beyond it the queue is emptied and `overflowed` is told, once. */
  readonly limit: number;
  /** Two batches are at least this far apart; the first delivery after a pause is immediate. */
  readonly intervalMs: number;
  /** A batch stops after this time and goes on in the next turn of the event loop. */
  readonly budgetMs: number;
}

export const DEFAULT_QUEUE: QueueOptions = { limit: 1_000, intervalMs: 16, budgetMs: 8 };

export class DeliveryQueue {
  readonly #options: QueueOptions;
  readonly #overflowed: (keys: ReadonlySet<string>) => void;
  #waiting: Delivery[] = [];
  #holds = 0;
  #isPlanned = false;
  #flushedAt = -Infinity;

  constructor(options: QueueOptions, overflowed: (keys: ReadonlySet<string>) => void) {
    this.#options = options;
    this.#overflowed = overflowed;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Deliver nothing until the returned function is called. Holds add up; releasing twice does no harm. */
  hold(): () => void {
    let isHeld = true;
    this.#holds += 1;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holds -= 1;
      this.#plan();
    };
  }

  push(delivery: Delivery): void {
    this.#waiting.push(delivery);
    if (this.#waiting.length > this.#options.limit) {
      const keys = new Set(this.#waiting.map((waiting) => waiting.key));
      this.#waiting = [];
      this.#overflowed(keys);
    }
    this.#plan();
  }

  clear(): void {
    this.#waiting = [];
  }

  #plan(): void {
    if (this.#holds > 0 || this.#isPlanned || this.#waiting.length === 0) return;
    this.#isPlanned = true;
    const waitMs = this.#flushedAt + this.#options.intervalMs - performance.now();
    // Never inside `push`: a subscriber must not be called before its own `subscribe` has returned.
    if (waitMs <= 0) queueMicrotask(this.#flush);
    else setTimeout(this.#flush, waitMs);
  }

  readonly #flush = (): void => {
    const startedAt = performance.now();
    while (this.#holds === 0 && performance.now() - startedAt <= this.#options.budgetMs) {
      const delivery = this.#waiting.shift();
      if (!delivery) break;
      try {
        delivery.run();
      } catch (error) {
        reportLater(error);
      }
    }
    this.#flushedAt = performance.now();
    this.#isPlanned = false;
    this.#plan();
  };
}

/** One subscriber's fault must not keep the others waiting, nor go unseen: it becomes an uncaught error of the page. */
function reportLater(error: unknown): void {
  setTimeout(() => {
    throw error;
  });
}
