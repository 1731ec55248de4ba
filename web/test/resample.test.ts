import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Packetiser } from "../src/audio/packets";
import { StreamingResampler } from "../src/audio/resample";

function sine(hz: number, rate: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rate));
}

function join(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
}

const RATES: [number, number][] = [
  [48000, 16000],
  [44100, 16000],
  [24000, 16000],
  [24000, 48000],
  [24000, 44100],
  [16000, 16000],
];

describe("StreamingResampler", () => {
  it.each(RATES)("keeps a tone from %i to %i Hz, in place and in size", (from, to) => {
    const resampler = new StreamingResampler(from, to);
    const output = resampler.process(sine(1000, from, from / 5));
    const expected = sine(1000, to, output.length);
    const error = output.slice(200).map((x, i) => x - (expected[i + 200] ?? 0));
    expect(rms(error)).toBeLessThan(2e-3);
    expect(Math.abs(output.length - to / 5)).toBeLessThan(40);
  });

  it.each([
    [48000, 16000, 11000],
    [44100, 16000, 9500],
    [24000, 16000, 9000],
  ])("keeps out what would alias, from %i to %i Hz at %i Hz", (from, to, hz) => {
    const output = new StreamingResampler(from, to).process(sine(hz, from, from / 5));
    expect(20 * Math.log10(rms(output.slice(200)))).toBeLessThan(-50);
  });

  it("gives the same samples however the input is cut", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...RATES),
        fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 12 }),
        ([from, to], cuts) => {
          const input = sine(
            440,
            from,
            cuts.reduce((a, b) => a + b, 0),
          );
          const whole = new StreamingResampler(from, to).process(input);
          const streaming = new StreamingResampler(from, to);
          let at = 0;
          const parts = cuts.map((length) => {
            at += length;
            return streaming.process(input.subarray(at - length, at));
          });
          const joined = join(parts);
          expect(joined.length).toBe(whole.length);
          expect(Math.max(0, ...joined.map((x, i) => Math.abs(x - (whole[i] ?? Number.NaN))))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("refuses rates that are no rates", () => {
    expect(() => new StreamingResampler(0, 16000)).toThrow(RangeError);
  });
});

describe("Packetiser", () => {
  it("loses and doubles nothing, and clips instead of wrapping", () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.float({ min: -2, max: 2, noNaN: true })), { maxLength: 20 }), (blocks) => {
        const packetiser = new Packetiser(7);
        const packets = blocks.flatMap((block) => packetiser.push(Float32Array.from(block)));
        const all = blocks.flat();
        expect(packets.length).toBe(Math.floor(all.length / 7));
        packets
          .flatMap((packet) => [...packet])
          .forEach((value, i) => {
            const exact = Math.min(1, Math.max(-1, all[i] ?? 0)) * 32767;
            expect(Math.abs(value - exact)).toBeLessThanOrEqual(0.51);
          });
      }),
    );
  });
});
