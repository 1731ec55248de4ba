/**
 * Video frames waiting for their sound. Bounded; the oldest frame is dropped first. Frames wait as
 * JPEG and are decoded shortly before they are due, so that memory stays small.
 */
import { FRAME_SAMPLES, STREAM_RATE } from "../clock";

const DECODE_AHEAD = 6 * FRAME_SAMPLES;

export interface Picture {
  close(): void;
}

interface Waiting<P extends Picture> {
  readonly sample: number;
  readonly epoch: number;
  readonly jpeg: Uint8Array<ArrayBuffer>;
  picture: P | null;
  decoding: boolean;
}

export interface DueFrame<P extends Picture> {
  readonly sample: number;
  readonly picture: P;
}

export class FrameQueue<P extends Picture> {
  #waiting: Waiting<P>[] = [];
  #epoch = 0;
  #late = 0;
  #overflowed = 0;

  constructor(
    private readonly decode: (jpeg: Uint8Array<ArrayBuffer>) => Promise<P>,
    private readonly capacity = 128,
  ) {}

  get length(): number {
    return this.#waiting.length;
  }

  /** Frames whose turn passed before they could be shown. */
  get late(): number {
    return this.#late;
  }

  /** Frames dropped because too many waited. */
  get overflowed(): number {
    return this.#overflowed;
  }

  push(sample: number, epoch: number, jpeg: Uint8Array<ArrayBuffer>): void {
    if (epoch < this.#epoch) {
      return;
    }
    if (epoch > this.#epoch) {
      this.clear(epoch);
    }
    const last = this.#waiting.at(-1);
    if (last && sample <= last.sample) {
      // The stream started again, or sent a frame twice: what waits belongs to the past.
      this.#discard(this.#waiting.length);
    }
    this.#waiting.push({ sample, epoch, jpeg, picture: null, decoding: false });
    if (this.#waiting.length > this.capacity) {
      this.#overflowed++;
      this.#discard(1);
    }
  }

  /** Forgets frames of epochs before `epoch`. */
  clear(epoch: number): void {
    if (epoch > this.#epoch) {
      this.#epoch = epoch;
      this.#discard(this.#waiting.length);
    }
  }

  reset(): void {
    this.#epoch = 0;
    this.#discard(this.#waiting.length);
  }

  /** Starts decoding what will be due soon; what is overtaken already is dropped undecoded. */
  prepare(heardSample: number): void {
    const due = this.#waiting.findLastIndex((frame) => frame.sample <= heardSample);
    this.#waiting = this.#waiting.filter((frame, index) => {
      const overtaken = index < due && !frame.decoding;
      this.#late += overtaken ? 1 : 0;
      return !overtaken;
    });
    for (const frame of this.#waiting) {
      if (frame.sample > heardSample + DECODE_AHEAD) {
        break;
      }
      if (!frame.decoding) {
        frame.decoding = true;
        this.#decode(frame);
      }
    }
  }

  /**
   * The newest decoded frame whose sample has been reached, with everything before it dropped; null when
   * the shown frame is still the right one. The caller closes the picture.
   */
  take(heardSample: number): DueFrame<P> | null {
    let due = -1;
    for (const [index, frame] of this.#waiting.entries()) {
      if (frame.sample > heardSample) {
        break;
      }
      if (frame.picture !== null) {
        due = index;
      }
    }
    const frame = this.#waiting[due];
    if (!frame?.picture) {
      return null;
    }
    const { sample, picture } = frame;
    frame.picture = null;
    this.#late += due;
    this.#discard(due + 1);
    return { sample, picture };
  }

  /** The newest sample waiting, for showing frames without sound. */
  get newest(): number | null {
    return this.#waiting.at(-1)?.sample ?? null;
  }

  #discard(count: number): void {
    for (const frame of this.#waiting.splice(0, count)) {
      frame.picture?.close();
    }
  }

  #decode(frame: Waiting<P>): void {
    this.decode(frame.jpeg).then(
      (picture) => {
        if (this.#waiting.includes(frame)) {
          frame.picture = picture;
        } else {
          picture.close();
        }
      },
      () => {
        // A broken picture is one lost frame, nothing more.
        this.#waiting = this.#waiting.filter((other) => other !== frame);
        this.#late++;
      },
    );
  }
}

/** Picture against sound in ms: positive when the picture is early, within 20 when it is right. */
export function offsetMs(shownSample: number, heardSample: number): number {
  return ((shownSample + FRAME_SAMPLES / 2 - heardSample) * 1000) / STREAM_RATE;
}
