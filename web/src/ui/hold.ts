/**
 * One button that both toggles and works while held: a short press flips the mute for good, a long one
 * mutes only as long as it lasts.
 */
export class HoldToggle {
  #on = false;
  #pressedAt: number | null = null;
  #switchedByPress = false;

  constructor(
    private readonly onChange: (on: boolean) => void,
    private readonly holdMs = 400,
  ) {}

  get on(): boolean {
    return this.#on;
  }

  press(nowMs: number): void {
    if (this.#pressedAt !== null) {
      return;
    }
    this.#pressedAt = nowMs;
    this.#switchedByPress = !this.#on;
    if (!this.#on) {
      this.#set(true);
    }
  }

  release(nowMs: number): void {
    if (this.#pressedAt === null) {
      return;
    }
    const held = nowMs - this.#pressedAt >= this.holdMs;
    this.#pressedAt = null;
    // A press that found it on ends it; one that switched it on ends it only when held.
    if (!this.#switchedByPress || held) {
      this.#set(false);
    }
  }

  /** The press was taken away (pointer cancelled, window lost focus): keep what it did. */
  cancel(): void {
    this.#pressedAt = null;
  }

  set(on: boolean): void {
    this.cancel();
    this.#set(on);
  }

  #set(on: boolean): void {
    if (on !== this.#on) {
      this.#on = on;
      this.onChange(on);
    }
  }
}
