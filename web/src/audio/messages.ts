/** What the page and its two audio worklets say to each other. */
import type { PlayoutStats } from "./playout";

export const PLAYER_NAME = "visavis-player";
export const CAPTURE_NAME = "visavis-capture";

export type ToPlayer =
  | { type: "audio"; sample: number; epoch: number; pcm: Int16Array<ArrayBuffer> }
  | { type: "clear"; epoch: number }
  | { type: "reset"; generation: number };

/** From context frame `frame` on, stream sample `sample` plays and moves `rate` stream samples a second. */
export interface Anchor {
  readonly frame: number;
  readonly sample: number;
  readonly rate: number;
}

export interface FromPlayer {
  /** That of the last reset which the player had seen: older reports tell of an older stream. */
  readonly generation: number;
  /** Null until the stream has begun. */
  readonly anchor: Anchor | null;
  readonly stats: PlayoutStats;
}
