/** Audio thread: plays the jitter buffer and says which stream sample each context frame carries. */
import { STREAM_RATE } from "../clock";
import { type FromPlayer, PLAYER_NAME, type ToPlayer } from "./messages";
import { PlayoutBuffer } from "./playout";
import { StreamingResampler } from "./resample";

const REPORT_EVERY_FRAMES = 1024;
/** A jump of the position by more than this is told at once. */
const JUMP_SAMPLES = 48;

class Player extends AudioWorkletProcessor {
  readonly #buffer = new PlayoutBuffer();
  readonly #resampler = sampleRate === STREAM_RATE ? null : new StreamingResampler(STREAM_RATE, sampleRate);
  #pending = new Float32Array(0);
  #reportedFrame = Number.NEGATIVE_INFINITY;
  #reportedSample = 0;
  #reportedRate = 0;
  #generation = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToPlayer>) => {
      if (data.type === "audio") {
        this.#buffer.push(data.sample, data.epoch, data.pcm);
      } else if (data.type === "clear") {
        this.#buffer.clear(data.epoch);
        this.#pending = new Float32Array(0);
      } else {
        this.#buffer.reset();
        this.#generation = data.generation;
        this.#reportedFrame = Number.NEGATIVE_INFINITY;
      }
    };
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0]?.[0];
    if (!out) {
      return true;
    }
    const sample = this.#buffer.position - this.#behind();
    if (this.#resampler === null) {
      this.#buffer.pull(out);
    } else {
      this.#pullResampled(out, this.#resampler);
    }
    this.#report(sample, out.length);
    for (const channel of outputs[0]?.slice(1) ?? []) {
      channel.set(out);
    }
    return true;
  }

  #pullResampled(out: Float32Array, resampler: StreamingResampler): void {
    const block = new Float32Array(64);
    while (this.#pending.length < out.length) {
      this.#buffer.pull(block);
      const more = resampler.process(block);
      const joined = new Float32Array(this.#pending.length + more.length);
      joined.set(this.#pending);
      joined.set(more, this.#pending.length);
      this.#pending = joined;
    }
    out.set(this.#pending.subarray(0, out.length));
    this.#pending = this.#pending.slice(out.length);
  }

  /** Stream samples that have left the buffer but have not been given to the output. */
  #behind(): number {
    if (this.#resampler === null) {
      return 0;
    }
    return this.#resampler.lookahead + (this.#pending.length * STREAM_RATE) / sampleRate;
  }

  #report(sample: number, length: number): void {
    const advanced = this.#buffer.position - this.#behind() - sample;
    const rate = (advanced * sampleRate) / length;
    const expected = this.#reportedSample + ((currentFrame - this.#reportedFrame) * this.#reportedRate) / sampleRate;
    const due = currentFrame - this.#reportedFrame >= REPORT_EVERY_FRAMES;
    if (!due && Math.abs(sample - expected) < JUMP_SAMPLES) {
      return;
    }
    this.#reportedFrame = currentFrame;
    this.#reportedSample = sample;
    this.#reportedRate = rate;
    const message: FromPlayer = {
      generation: this.#generation,
      anchor: this.#buffer.started ? { frame: currentFrame, sample, rate } : null,
      stats: this.#buffer.stats,
    };
    this.port.postMessage(message);
  }
}

registerProcessor(PLAYER_NAME, Player);
