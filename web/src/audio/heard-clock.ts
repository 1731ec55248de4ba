/**
 * Which stream sample is being heard: anchors from the player (context time -> sample) meet the time
 * that the loudspeaker has reached.
 */
import type { Anchor } from "./messages";

const KEPT_ANCHORS = 128;

export class HeardClock {
  #anchors: Anchor[] = [];

  constructor(private readonly contextRate: number) {}

  add(anchor: Anchor): void {
    const last = this.#anchors.at(-1);
    if (last && anchor.frame < last.frame) {
      this.#anchors = [];
    }
    this.#anchors.push(anchor);
    if (this.#anchors.length > KEPT_ANCHORS) {
      this.#anchors.shift();
    }
  }

  reset(): void {
    this.#anchors = [];
  }

  /** The sample that sounds at `contextTime` seconds; null before the first anchor. */
  sampleAt(contextTime: number): number | null {
    const frame = contextTime * this.contextRate;
    for (let i = this.#anchors.length - 1; i >= 0; i--) {
      const anchor = this.#anchors[i];
      if (anchor && anchor.frame <= frame) {
        const sample = anchor.sample + ((frame - anchor.frame) * anchor.rate) / this.contextRate;
        const next = this.#anchors[i + 1];
        // Never run past the next anchor's sample, unless it jumps back.
        return next && next.sample >= anchor.sample ? Math.min(sample, next.sample) : sample;
      }
    }
    return null;
  }
}

/** The part of AudioContext that tells time. */
export interface OutputClock {
  readonly currentTime: number;
  readonly outputLatency?: number;
  readonly baseLatency?: number;
  getOutputTimestamp?(): AudioTimestamp;
}

/** Longest believable time between rendering a sample and hearing it (slow Bluetooth). */
const LONGEST_LATENCY_S = 1;

/**
 * Context time of what the loudspeaker plays now. getOutputTimestamp is precise where it works; some
 * browsers return zeros or stale values, then the reported latency has to do.
 */
export function heardContextTime(context: OutputClock, nowMs: number): number {
  const stamp = context.getOutputTimestamp?.();
  if (stamp?.contextTime && stamp.performanceTime) {
    const time = stamp.contextTime + (nowMs - stamp.performanceTime) / 1000;
    if (time <= context.currentTime + 0.02 && time >= context.currentTime - LONGEST_LATENCY_S) {
      return time;
    }
  }
  return context.currentTime - (context.outputLatency || context.baseLatency || 0);
}
