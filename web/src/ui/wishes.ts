/** What may be asked of the avatar's face and head, and how it is written. docs/motion/controls.md has the meaning. */

export interface Wish {
  /** neutral, warm, warm:0.6, or a mixture such as happy:0.5+surprised:0.3 */
  readonly emotion: string;
  /** 0 (composed) .. 1 (animated) */
  readonly liveliness: number;
  /** Degrees towards the picture's right, and up; [0, 0] is the visitor. */
  readonly gaze: readonly [number, number];
  /** A multiple of the portrait's own distance; below 1 is nearer. */
  readonly distance: number;
}

/** The controls that a server lets the page move. */
export interface Offer {
  readonly emotions: readonly string[];
  readonly now: Wish;
  readonly configured: Wish;
}

export const NEUTRAL = "neutral";
export const RANGES = { azimuth: 20, elevation: 12, nearest: 0.78, farthest: 1.28 } as const;

/** One emotion and its strength 0..1; null for a mixture, which has no single strength. */
export function splitEmotion(emotion: string): { name: string; strength: number } | null {
  const [name = "", strength = "1", ...more] = emotion.split(":");
  if (emotion.includes("+") || more.length > 0 || emotion.includes("=")) {
    return null;
  }
  return { name, strength: name === NEUTRAL ? 1 : Number(strength) };
}

/** The text of one emotion; none at all is neutral. */
export function joinEmotion(name: string, strength: number): string {
  return name === NEUTRAL || strength <= 0 ? NEUTRAL : `${name}:${Math.round(strength * 100) / 100}`;
}

/** Calls at most once in `everyMs`, with the newest value; the last one always arrives. */
export class Throttle<T> {
  #waiting: { value: T } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly everyMs: number,
    private readonly call: (value: T) => void,
  ) {}

  push(value: T): void {
    this.#waiting = { value };
    if (this.#timer === undefined) {
      this.#send();
    }
  }

  /** Forget what waits. */
  cancel(): void {
    this.#waiting = null;
  }

  #send(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#timer = undefined;
    if (waiting !== null) {
      this.call(waiting.value);
      this.#timer = setTimeout(() => this.#send(), this.everyMs);
    }
  }
}
