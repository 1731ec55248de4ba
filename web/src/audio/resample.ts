/**
 * Streaming band-limited resampler: a Kaiser-windowed sinc, tabulated at 256 phases with linear
 * interpolation between them (J. O. Smith, "Digital Audio Resampling"). Mono float samples in, mono
 * float samples out; the ratio may be any positive number.
 */
const PHASES = 256;
const ZERO_CROSSINGS = 12;
const KAISER_BETA = 8;

export class StreamingResampler {
  readonly #inputRate: number;
  readonly #outputRate: number;
  readonly #halfWidth: number;
  readonly #kernel: Float32Array;
  #history: Float32Array;
  /** Number of the history's first sample; sample 0 is the first one pushed. */
  #historyStart: number;
  /** Outputs given so far: output k lies at k * inputRate / outputRate, with no error adding up. */
  #given = 0;

  constructor(inputRate: number, outputRate: number) {
    if (!(inputRate > 0 && outputRate > 0)) {
      throw new RangeError(`sample rates must be positive: ${inputRate}, ${outputRate}`);
    }
    this.#inputRate = inputRate;
    this.#outputRate = outputRate;
    // Cut at the lower of the two Nyquist rates; when going down the kernel widens with the step.
    const cutoff = Math.min(1, outputRate / inputRate) * 0.95;
    this.#halfWidth = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.#kernel = kaiserSinc(this.#halfWidth, cutoff);
    // Silence before the first sample: output sample 0 lies exactly on input sample 0.
    this.#history = new Float32Array(this.#halfWidth);
    this.#historyStart = -this.#halfWidth;
  }

  /** Input samples that must follow a position before it can be computed. */
  get lookahead(): number {
    return this.#halfWidth;
  }

  /** Takes any number of input samples, gives every output sample that they complete. */
  process(input: Float32Array): Float32Array<ArrayBuffer> {
    const buffer = new Float32Array(this.#history.length + input.length);
    buffer.set(this.#history);
    buffer.set(input, this.#history.length);

    const half = this.#halfWidth;
    const end = this.#historyStart + buffer.length - half;
    const count = Math.max(0, Math.ceil((end * this.#outputRate) / this.#inputRate) - this.#given);
    const output = new Float32Array(count);
    for (let k = 0; k < count; k++) {
      output[k] = this.#at(buffer, this.#position(this.#given + k));
    }
    this.#given += count;

    const next = Math.floor(this.#position(this.#given)) - half;
    const drop = Math.min(buffer.length, Math.max(0, next - this.#historyStart));
    this.#history = buffer.slice(drop);
    this.#historyStart += drop;
    return output;
  }

  /** Where output `k` lies, in input samples. */
  #position(k: number): number {
    return (k * this.#inputRate) / this.#outputRate;
  }

  #at(buffer: Float32Array, position: number): number {
    const fraction = position - Math.floor(position);
    const centre = Math.floor(position) - this.#historyStart;
    const half = this.#halfWidth;
    let sum = 0;
    for (let tap = 1 - half; tap <= half; tap++) {
      const distance = Math.abs(tap - fraction) * PHASES;
      const index = Math.floor(distance);
      const low = this.#kernel[index] ?? 0;
      const high = this.#kernel[index + 1] ?? 0;
      sum += (buffer[centre + tap] ?? 0) * (low + (high - low) * (distance - index));
    }
    return sum;
  }
}

/** One half of the symmetric kernel, `PHASES` points per input sample. */
function kaiserSinc(halfWidth: number, cutoff: number): Float32Array {
  const kernel = new Float32Array(halfWidth * PHASES + 2);
  const norm = besselI0(KAISER_BETA);
  for (let i = 0; i <= halfWidth * PHASES; i++) {
    const x = i / PHASES;
    const sinc = x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x);
    const edge = x / halfWidth;
    kernel[i] = (sinc * besselI0(KAISER_BETA * Math.sqrt(Math.max(0, 1 - edge * edge)))) / norm;
  }
  return kernel;
}

/** Modified Bessel function of the first kind, order zero, by its power series. */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
