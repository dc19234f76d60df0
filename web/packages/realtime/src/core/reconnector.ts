/**
 * When to connect again: exponential growth with jitter, instead of pusher-js's fixed second without any.
 *
 * A node that drops ten thousand sockets would otherwise get ten thousand handshakes in the same instant.
 */

export interface BackoffOptions {
  /** First delay in milliseconds, before jitter. */
  readonly baseMs: number;
  /** Upper bound of the delay in milliseconds. */
  readonly capMs: number;
  /** A connection that lived this long counts as good: the next failure starts from `baseMs` again. */
  readonly stableMs: number;
  /** How long one attempt may take. Longer when HTTP transports are allowed, which pusher-js only tries after seconds. */
  readonly attemptMs: number;
}

export const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 500, capMs: 30_000, stableMs: 5_000, attemptMs: 6_000 };

/** Delay before attempt number `attempt` (0 is the first): between half and all of base · 2ⁿ, at most the cap. */
export function backoffDelay(attempt: number, options: BackoffOptions, random: () => number): number {
  const ceiling = Math.min(options.capMs, options.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling * (0.5 + random() / 2));
}

export interface ReconnectorHost {
  /** Start one attempt. */
  connect(): void;
  /** End the attempt or connection in hand. */
  abandon(): void;
  /** A wait began; `atMs` is the time (of `Date.now`) of the next attempt. */
  waiting(attempt: number, atMs: number): void;
}

export class Reconnector {
  readonly #host: ReconnectorHost;
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #openedAt = 0;

  constructor(host: ReconnectorHost, options: BackoffOptions, random: () => number) {
    this.#host = host;
    this.#options = options;
    this.#random = random;
  }

  /** An attempt begins: give it a limited time. */
  attempting(): void {
    this.#schedule(this.#options.attemptMs, () => {
      this.failed();
    });
  }

  opened(): void {
    this.cancel();
    this.#openedAt = Date.now();
  }

  /** A connection or an attempt is over; connect again after a delay. */
  failed(): void {
    if (this.#openedAt > 0 && Date.now() - this.#openedAt >= this.#options.stableMs) this.#attempt = 0;
    this.#openedAt = 0;
    const delayMs = backoffDelay(this.#attempt, this.#options, this.#random);
    this.#attempt += 1;
    this.#host.abandon();
    this.#schedule(delayMs, () => {
      this.#host.connect();
    });
    this.#host.waiting(this.#attempt, Date.now() + delayMs);
  }

  /** The network or the page is back: do not wait any longer, for an attempt of before neither. */
  hurry(): void {
    this.#attempt = 0;
    this.cancel();
    this.#host.abandon();
    this.#host.connect();
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delayMs: number, run: () => void): void {
    this.cancel();
    this.#timer = setTimeout(run, delayMs);
  }
}
