/** When to try again after the connection is lost: doubling delays with jitter, and an end. */
export interface ReconnectOptions {
  readonly firstDelayMs?: number;
  readonly longestDelayMs?: number;
  readonly attempts?: number;
  readonly random?: () => number;
}

export class ReconnectPolicy {
  #attempt = 0;
  readonly #firstDelayMs: number;
  readonly #longestDelayMs: number;
  readonly #attempts: number;
  readonly #random: () => number;

  constructor(options: ReconnectOptions = {}) {
    this.#firstDelayMs = options.firstDelayMs ?? 500;
    this.#longestDelayMs = options.longestDelayMs ?? 10_000;
    this.#attempts = options.attempts ?? 10;
    this.#random = options.random ?? Math.random;
  }

  get attempt(): number {
    return this.#attempt;
  }

  /** Delay before the next attempt in ms, within 75-100 % of its step; null when it is time to give up. */
  nextDelayMs(): number | null {
    if (this.#attempt >= this.#attempts) {
      return null;
    }
    const step = Math.min(this.#longestDelayMs, this.#firstDelayMs * 2 ** this.#attempt);
    this.#attempt++;
    return step * (0.75 + 0.25 * this.#random());
  }

  succeeded(): void {
    this.#attempt = 0;
  }
}
