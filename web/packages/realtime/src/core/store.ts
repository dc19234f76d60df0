/** The smallest observable value: what `useSyncExternalStore` asks for. */

export interface Readable<T> {
  /** The current value; the same object until it changes. */
  readonly get: () => T;
  readonly subscribe: (listener: () => void) => () => void;
}

export class Store<T> implements Readable<T> {
  readonly #listeners = new Set<() => void>();
  readonly #start: (() => () => void) | undefined;
  #stop: (() => void) | undefined;
  #value: T;

  /** `start` is called with the first listener, and what it returns after the last one has gone. */
  constructor(value: T, start?: () => () => void) {
    this.#value = value;
    this.#start = start;
  }

  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.#start?.();
    return () => {
      if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
    };
  };

  set(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}
