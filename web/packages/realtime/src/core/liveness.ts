/**
 * Is an open connection still one? Asked when the browser gives a reason to doubt it.
 *
 * A network that goes away takes no socket along: a page would call itself connected until the next activity check,
 * half a minute later. pusher-js asks once when the browser says that it is offline, and browsers say so before they
 * stop traffic: the answer to that one question still comes, and then nothing is asked for as long. So here one answer
 * is enough only when the browser is online; offline the question is asked again every second.
 */

/** How long an answer may take while the browser says that there is no network. */
export const OFFLINE_ANSWER_MS = 2_000;
/** After an answer that came all the same, until the next question. */
export const OFFLINE_PAUSE_MS = 1_000;

export interface LivenessHost {
  /** Ask the server for a sign of life. */
  ask(): void;
  /** No answer came in time: the connection is gone. */
  lost(): void;
  isOnline(): boolean;
}

export class Liveness {
  readonly #host: LivenessHost;
  readonly #answerMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAsked = false;

  /** `answerMs`: how long an answer may take while the browser is online. */
  constructor(host: LivenessHost, answerMs: number) {
    this.#host = host;
    this.#answerMs = answerMs;
  }

  /** There is a reason to doubt the connection: ask, and wait for anything at all. */
  doubt(): void {
    this.stop();
    this.#isAsked = true;
    const answerMs = this.#host.isOnline() ? this.#answerMs : Math.min(this.#answerMs, OFFLINE_ANSWER_MS);
    this.#timer = setTimeout(() => {
      this.stop();
      this.#host.lost();
    }, answerMs);
    this.#host.ask();
  }

  /** Something came from the server. */
  heard(): void {
    if (!this.#isAsked) return;
    this.stop();
    if (this.#host.isOnline()) return;
    this.#timer = setTimeout(() => {
      this.doubt();
    }, OFFLINE_PAUSE_MS);
  }

  /** The connection is over, or the doubt. */
  stop(): void {
    this.#isAsked = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
