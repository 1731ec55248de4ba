/**
 * The jitter buffer: stream samples in as they arrive, an unbroken output block at a time out.
 *
 * Samples are kept by their number on the stream clock, so that `position` always says which one is
 * played next and the picture can follow it. The buffer keeps a safety margin of `targetMs` by playing
 * *quiet* stretches a little slower or faster; speech is never stretched, and never skipped. An
 * underrun raises the target, calm lets it sink again.
 */
import { STREAM_RATE } from "../clock";

export interface PlayoutOptions {
  /** The margin that is kept: least audio waiting when the next packet arrives. */
  readonly targetMs?: number;
  readonly minTargetMs?: number;
  readonly maxTargetMs?: number;
  /** Longest audio that may wait; past this the oldest is dropped. */
  readonly capacityMs?: number;
}

export interface PlayoutStats {
  readonly levelMs: number;
  readonly marginMs: number;
  readonly targetMs: number;
  readonly underruns: number;
  readonly droppedMs: number;
  readonly stretchedMs: number;
}

const MS = STREAM_RATE / 1000;
/** One packet of the server: a fill of target + packet starts playing with the target as margin. */
const PACKET = 40 * MS;
const FADE_OUT = 8 * MS;
const FADE_IN = 4 * MS;
/** Below -60 dB full scale a stretch may be lengthened or shortened unheard. */
const QUIET = 1e-3;
const HYSTERESIS = 15 * MS;
const BEHIND = 150 * MS;
const FAR_BEHIND = 500 * MS;
/** Gaps in the numbering up to this are filled with silence, larger ones are a new start. */
const LARGEST_GAP = STREAM_RATE;
const UNDERRUN_STEP = 40 * MS;
const GRACE = STREAM_RATE;
const CALM_SECONDS = 10;
const CALM_STEP = 10 * MS;
const WINDOW_SLOTS = 8;
const SLOT_SAMPLES = STREAM_RATE / 8;

export class PlayoutBuffer {
  readonly #ring: Float32Array;
  readonly #mask: number;
  readonly #capacity: number;
  readonly #minTarget: number;
  readonly #maxTarget: number;
  readonly #margin = new WindowedMinimum();
  #target: number;
  #read = 0;
  #end = 0;
  #epoch = 0;
  #started = false;
  #playing = false;
  /** After a clear the next quiet audio plays at once; its margin is rebuilt while it is quiet. */
  #eager = false;
  /** Samples for which no underrun counts, because the margin is still being rebuilt. */
  #grace = 0;
  #tail: Float32Array = new Float32Array(0);
  #fadeIn = 0;
  #last = 0;
  #calm = 0;
  #underruns = 0;
  #dropped = 0;
  #stretched = 0;

  constructor(options: PlayoutOptions = {}) {
    const { targetMs = 60, minTargetMs = 40, maxTargetMs = 280, capacityMs = 20_000 } = options;
    this.#target = targetMs * MS;
    this.#minTarget = minTargetMs * MS;
    this.#maxTarget = maxTargetMs * MS;
    this.#capacity = capacityMs * MS;
    const size = 2 ** Math.ceil(Math.log2(this.#capacity + STREAM_RATE));
    this.#ring = new Float32Array(size);
    this.#mask = size - 1;
  }

  /** Number of the stream sample that the next pull plays first. */
  get position(): number {
    return this.#read;
  }

  /** True once the first packet of the stream has come. */
  get started(): boolean {
    return this.#started;
  }

  /** False while the buffer fills: the position stands still and silence is played. */
  get playing(): boolean {
    return this.#playing;
  }

  get stats(): PlayoutStats {
    return {
      levelMs: (this.#end - this.#read) / MS,
      marginMs: this.#margin.value / MS,
      targetMs: this.#target / MS,
      underruns: this.#underruns,
      droppedMs: this.#dropped / MS,
      stretchedMs: this.#stretched / MS,
    };
  }

  /** Takes a packet whose first sample has the number `sample`. Older epochs are ignored. */
  push(sample: number, epoch: number, pcm: Int16Array): void {
    if (epoch < this.#epoch) {
      return;
    }
    if (epoch > this.#epoch) {
      this.clear(epoch);
    }
    if (!this.#started || sample > this.#end + LARGEST_GAP || sample + pcm.length < this.#end - LARGEST_GAP) {
      this.#restart(sample);
    }
    for (; this.#end < sample; this.#end++) {
      this.#ring[this.#end & this.#mask] = 0;
    }
    // Samples already there (a packet sent twice) keep their first value.
    for (let i = this.#end - sample; i < pcm.length; i++) {
      this.#ring[this.#end & this.#mask] = (pcm[i] ?? 0) / 32768;
      this.#end++;
    }
    this.#margin.include(this.#end - this.#read);
    if (this.#end - this.#read > this.#capacity) {
      const read = this.#end - this.#target - PACKET;
      this.#dropped += read - this.#read;
      this.#read = read;
      this.#fadeIn = FADE_IN;
    }
  }

  /** Forgets all waiting audio of epochs before `epoch`; what sounds now fades within 8 ms. */
  clear(epoch: number): void {
    if (epoch <= this.#epoch) {
      return;
    }
    this.#epoch = epoch;
    if (!this.#started) {
      return;
    }
    const length = this.#playing ? Math.min(FADE_OUT, this.#end - this.#read) : 0;
    const tail = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      tail[i] = (this.#ring[(this.#read + i) & this.#mask] ?? 0) * (1 - (i + 1) / length);
    }
    this.#tail = tail;
    this.#read = this.#end;
    this.#last = 0;
    this.#playing = false;
    this.#eager = true;
  }

  /** A new stream begins: the next packet sets the position. */
  reset(): void {
    this.#started = false;
    this.#playing = false;
    this.#eager = false;
    this.#epoch = 0;
    this.#tail = new Float32Array(0);
    this.#last = 0;
    this.#read = 0;
    this.#end = 0;
  }

  /** Fills `out` with the next samples at 24 kHz. */
  pull(out: Float32Array): void {
    if (this.#tail.length > 0) {
      const length = Math.min(out.length, this.#tail.length);
      out.fill(0);
      out.set(this.#tail.subarray(0, length));
      this.#tail = this.#tail.slice(length);
      return;
    }
    if (!this.#playing && !this.#mayStart()) {
      this.#decay(out);
      return;
    }
    this.#playing = true;
    const consumed = this.#pace(out.length);
    if (this.#end - this.#read < consumed) {
      this.#runDry(out);
      return;
    }
    for (let i = 0; i < out.length; i++) {
      // A quiet block of another length is read through or held at its end: nobody hears which.
      out[i] = this.#ring[(this.#read + Math.min(i, consumed - 1)) & this.#mask] ?? 0;
    }
    for (let i = 0; i < out.length && this.#fadeIn > 0; i++, this.#fadeIn--) {
      out[i] = (out[i] ?? 0) * (1 - this.#fadeIn / FADE_IN);
    }
    this.#last = out[out.length - 1] ?? 0;
    this.#read += consumed;
    this.#stretched += Math.abs(out.length - consumed);
    this.#settle(out.length, consumed);
  }

  #restart(sample: number): void {
    this.#started = true;
    this.#playing = false;
    this.#read = sample;
    this.#end = sample;
    this.#margin.reset();
  }

  #mayStart(): boolean {
    const level = this.#end - this.#read;
    if (!this.#started || level <= 0) {
      return false;
    }
    if (level < this.#target + PACKET) {
      if (!this.#eager || !this.#isQuiet(level)) {
        return false;
      }
      this.#grace = GRACE;
    }
    this.#eager = false;
    this.#fadeIn = FADE_IN;
    this.#margin.reset();
    return true;
  }

  /** How many stream samples the next `length` output samples use up. */
  #pace(length: number): number {
    const margin = this.#margin.value;
    if (margin < this.#target - HYSTERESIS && this.#isQuiet(length)) {
      return length - (length >> 2);
    }
    const surplus = margin - this.#target;
    if (surplus > HYSTERESIS && this.#margin.full) {
      const consumed = surplus > FAR_BEHIND ? length * 4 : surplus > BEHIND ? length * 2 : length + (length >> 2);
      return this.#isQuiet(consumed) ? consumed : length;
    }
    return length;
  }

  #isQuiet(length: number): boolean {
    if (this.#end - this.#read < length) {
      return false;
    }
    for (let i = 0; i < length; i++) {
      if (Math.abs(this.#ring[(this.#read + i) & this.#mask] ?? 0) > QUIET) {
        return false;
      }
    }
    return true;
  }

  #settle(played: number, consumed: number): void {
    this.#margin.shift(played - consumed);
    this.#margin.include(this.#end - this.#read);
    this.#margin.advance(played);
    this.#grace = Math.max(0, this.#grace - played);
    this.#calm += played;
    if (this.#calm >= CALM_SECONDS * STREAM_RATE) {
      this.#calm = 0;
      this.#target = Math.max(this.#minTarget, this.#target - CALM_STEP);
    }
  }

  #runDry(out: Float32Array): void {
    const left = Math.min(out.length, this.#end - this.#read);
    for (let i = 0; i < left; i++) {
      out[i] = this.#ring[(this.#read + i) & this.#mask] ?? 0;
    }
    this.#last = left > 0 ? (out[left - 1] ?? 0) : this.#last;
    this.#read += left;
    this.#decay(out.subarray(left));
    this.#playing = false;
    this.#calm = 0;
    if (this.#grace === 0) {
      this.#underruns++;
      this.#target = Math.min(this.#maxTarget, this.#target + UNDERRUN_STEP);
    }
  }

  /** Lets the last value sink to zero in a few milliseconds instead of clicking. */
  #decay(out: Float32Array): void {
    for (let i = 0; i < out.length; i++) {
      this.#last *= 0.96;
      out[i] = this.#last;
    }
    if (Math.abs(this.#last) < 1e-5) {
      this.#last = 0;
    }
  }
}

/** Least value of the last second, in eight slots. */
class WindowedMinimum {
  readonly #slots = new Float64Array(WINDOW_SLOTS).fill(Number.POSITIVE_INFINITY);
  #slot = 0;
  #elapsed = 0;
  #filled = 0;

  get value(): number {
    return Math.min(...this.#slots);
  }

  /** A whole window has passed since the reset. */
  get full(): boolean {
    return this.#filled >= WINDOW_SLOTS;
  }

  reset(): void {
    this.#slots.fill(Number.POSITIVE_INFINITY);
    this.#elapsed = 0;
    this.#filled = 0;
  }

  include(value: number): void {
    this.#slots[this.#slot] = Math.min(this.#slots[this.#slot] ?? value, value);
  }

  /** What was stretched or skipped changes every level yet to come: count it into the past as well. */
  shift(amount: number): void {
    if (amount !== 0) {
      for (let i = 0; i < WINDOW_SLOTS; i++) {
        this.#slots[i] = (this.#slots[i] ?? 0) + amount;
      }
    }
  }

  advance(samples: number): void {
    this.#elapsed += samples;
    if (this.#elapsed >= SLOT_SAMPLES) {
      this.#elapsed -= SLOT_SAMPLES;
      this.#slot = (this.#slot + 1) % WINDOW_SLOTS;
      this.#slots[this.#slot] = Number.POSITIVE_INFINITY;
      this.#filled++;
    }
  }
}
