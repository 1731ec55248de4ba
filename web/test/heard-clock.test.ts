import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeardClock, heardContextTime, type OutputClock } from "../src/audio/heard-clock";

describe("HeardClock", () => {
  it("knows nothing before the first anchor, and nothing of the time before it", () => {
    const clock = new HeardClock(24000);
    expect(clock.sampleAt(1)).toBeNull();
    clock.add({ frame: 24000, sample: 0, rate: 24000 });
    expect(clock.sampleAt(0.99)).toBeNull();
    expect(clock.sampleAt(1.5)).toBeCloseTo(12000);
  });

  it("stands still in an underrun and follows a jump only when it is heard", () => {
    const clock = new HeardClock(48000);
    clock.add({ frame: 0, sample: 1000, rate: 24000 });
    clock.add({ frame: 48000, sample: 25000, rate: 0 });
    clock.add({ frame: 96000, sample: 60000, rate: 24000 });
    expect(clock.sampleAt(0.5)).toBeCloseTo(13000);
    expect(clock.sampleAt(1.5)).toBeCloseTo(25000);
    expect(clock.sampleAt(2)).toBeCloseTo(60000);
    expect(clock.sampleAt(2.25)).toBeCloseTo(66000);
  });

  it("never runs back while the player runs forward", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 128, max: 1024 }), fc.constantFrom(0, 18000, 24000, 30000)), {
          minLength: 2,
          maxLength: 50,
        }),
        (steps) => {
          const clock = new HeardClock(24000);
          let frame = 0;
          let sample = 0;
          for (const [frames, rate] of steps) {
            clock.add({ frame, sample: Math.round(sample), rate });
            frame += frames;
            sample += (frames * rate) / 24000;
          }
          let last = 0;
          for (let at = 0; at < frame; at += 60) {
            const heard = clock.sampleAt(at / 24000) ?? 0;
            expect(heard).toBeGreaterThanOrEqual(last - 1e-6);
            last = heard;
          }
        },
      ),
    );
  });

  it("forgets an older context's anchors when frames start over", () => {
    const clock = new HeardClock(24000);
    clock.add({ frame: 90000, sample: 5, rate: 24000 });
    clock.add({ frame: 0, sample: 100, rate: 24000 });
    expect(clock.sampleAt(1)).toBeCloseTo(24100);
  });
});

describe("heardContextTime", () => {
  const context = (stamp: AudioTimestamp | null, currentTime: number, outputLatency?: number): OutputClock => ({
    currentTime,
    ...(outputLatency === undefined ? {} : { outputLatency }),
    baseLatency: 0.01,
    ...(stamp ? { getOutputTimestamp: () => stamp } : {}),
  });

  it("uses the output's own timestamp, carried to now", () => {
    expect(heardContextTime(context({ contextTime: 2, performanceTime: 5000 }, 2.08), 5020)).toBeCloseTo(2.02);
  });

  it("falls back on the latency where the timestamp is absent, zero or stale", () => {
    expect(heardContextTime(context(null, 3, 0.05), 0)).toBeCloseTo(2.95);
    expect(heardContextTime(context(null, 3), 0)).toBeCloseTo(2.99);
    expect(heardContextTime(context({ contextTime: 0, performanceTime: 0 }, 3, 0.05), 9)).toBeCloseTo(2.95);
    expect(heardContextTime(context({ contextTime: 1, performanceTime: 100 }, 3, 0.05), 110)).toBeCloseTo(2.95);
    expect(heardContextTime(context({ contextTime: 2.9, performanceTime: 100 }, 3, 0.05), 900)).toBeCloseTo(2.95);
  });
});
