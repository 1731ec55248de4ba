import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlayoutBuffer } from "../src/audio/playout";

const PACKET = 960;
const BLOCK = 128;
const LOUD = 8000;
const FADE_IN = 96;

/** Speech whose every sample says its own number: the low 14 bits, well above the quiet threshold. */
function numbered(sample: number, length = PACKET): Int16Array {
  return Int16Array.from({ length }, (_, i) => LOUD + ((sample + i) % 16384));
}

function numberOf(value: number): number {
  return Math.round(value * 32768) - LOUD;
}

interface Played {
  readonly at: number;
  readonly block: Float32Array;
}

/**
 * Runs the buffer against arrival times in ms (packet k arrives at arrivals[k]) on the output's clock, one
 * block of 128 samples at a time.
 */
function play(
  buffer: PlayoutBuffer,
  arrivals: readonly number[],
  durationMs: number,
  packet: (sample: number) => Int16Array = numbered,
): Played[] {
  const played: Played[] = [];
  let next = 0;
  for (let frame = 0; frame < durationMs * 24; frame += BLOCK) {
    for (; next < arrivals.length && (arrivals[next] ?? 0) <= frame / 24; next++) {
      buffer.push(next * PACKET, 0, packet(next * PACKET));
    }
    const block = new Float32Array(BLOCK);
    const at = buffer.position;
    buffer.pull(block);
    played.push({ at, block });
  }
  return played;
}

const steady = (count: number) => Array.from({ length: count }, (_, k) => k * 40);

describe("PlayoutBuffer", () => {
  it("waits for its margin, then plays every sample once and in order", () => {
    const buffer = new PlayoutBuffer();
    const played = play(buffer, steady(50), 2000);
    const first = played.findIndex(({ block }) => block.some((x) => x > 0.2));
    expect((first * BLOCK) / 24).toBeGreaterThanOrEqual(80);
    expect((first * BLOCK) / 24).toBeLessThanOrEqual(125);
    const heard = played.slice(first).flatMap(({ block }) => [...block]);
    // After the fade in, sample n of the stream is the n-th one heard.
    const wrong = heard.slice(0, 40_000).filter((x, i) => i >= FADE_IN && numberOf(x) !== i % 16384);
    expect(wrong).toEqual([]);
    expect(buffer.stats.underruns).toBe(0);
  });

  it("never skips, repeats or stretches speech, whatever the jitter", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 150 }), { minLength: 60, maxLength: 60 }), (jitter) => {
        const arrivals = steady(60).map((time, k) => time + (jitter[k] ?? 0));
        // A websocket keeps the order: a late packet holds up those behind it.
        for (let k = 1; k < arrivals.length; k++) {
          arrivals[k] = Math.max(arrivals[k] ?? 0, arrivals[k - 1] ?? 0);
        }
        const buffer = new PlayoutBuffer();
        const played = play(buffer, arrivals, 3500);
        let fading = FADE_IN;
        let wrong = 0;
        for (const [index, { at, block }] of played.entries()) {
          const advanced = (played[index + 1]?.at ?? buffer.position) - at;
          wrong += advanced >= 0 && advanced <= BLOCK ? 0 : 1;
          for (let i = 0; i < advanced; i++) {
            if (fading > 0) {
              fading--;
            } else {
              wrong += numberOf(block[i] ?? 0) === (at + i) % 16384 ? 0 : 1;
            }
          }
          fading = advanced < BLOCK ? FADE_IN : fading;
        }
        expect(wrong).toBe(0);
        expect(buffer.position).toBeGreaterThan(60 * PACKET - 0.33 * 24000);
      }),
      { numRuns: 40 },
    );
  });

  it("raises its margin after an underrun, and lets it sink when all is calm", () => {
    const late = steady(400).map((time, k) => (k === 25 ? time + 200 : time));
    late.forEach((time, k) => {
      late[k] = Math.max(time, late[k - 1] ?? 0);
    });
    const buffer = new PlayoutBuffer();
    play(buffer, late.slice(0, 40), 1400);
    expect(buffer.stats.underruns).toBe(1);
    expect(buffer.stats.targetMs).toBe(100);
    const calm = new PlayoutBuffer();
    play(calm, late, 15_900);
    expect(calm.stats.targetMs).toBe(90);
  });

  it("does not click when it runs dry: the step stays below a quarter of the signal", () => {
    const buffer = new PlayoutBuffer();
    const flat = () => new Int16Array(PACKET).fill(16000);
    const heard = play(buffer, steady(4), 400, flat).flatMap(({ block }) => [...block]);
    const steps = heard.map((x, i) => Math.abs(x - (heard[i - 1] ?? 0)));
    expect(Math.max(...steps)).toBeLessThan(0.03);
    expect(heard.at(-1)).toBeCloseTo(0, 4);
  });

  it("wins back a backlog in quiet, never in speech", () => {
    // A network that stood still for 800 ms, then delivers all at once.
    const stalled = steady(150).map((time, k) => (k >= 25 && k < 45 ? 1800 : time));
    const talking = new PlayoutBuffer();
    play(talking, stalled, 5900);
    expect(talking.stats.stretchedMs).toBe(0);
    expect(talking.stats.marginMs).toBeGreaterThan(600);

    const silent = new PlayoutBuffer();
    play(silent, stalled, 5900, () => new Int16Array(PACKET));
    expect(silent.stats.droppedMs).toBe(0);
    expect(silent.stats.marginMs).toBeLessThan(silent.stats.targetMs + 20);
  });

  it("is silent within 8 ms of a clear and goes on with the new epoch only", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 60 }), (packets) => {
        const buffer = new PlayoutBuffer();
        play(buffer, steady(packets), packets * 40 + 2);
        const wasPlaying = buffer.playing;
        buffer.clear(1);
        const end = packets * PACKET;
        expect(buffer.position).toBe(end);
        const block = new Float32Array(BLOCK);
        const heard: number[] = [];
        for (let i = 0; i < 8; i++) {
          buffer.push(end, 0, numbered(end));
          buffer.pull(block);
          heard.push(...block);
        }
        expect(heard.slice(192).every((x) => x === 0)).toBe(true);
        if (wasPlaying) {
          expect(heard[0]).toBeGreaterThan(0.1);
        }
        expect(buffer.position).toBe(end);
        // Quiet plays at once; what then is spoken is whole.
        buffer.push(end, 1, new Int16Array(PACKET));
        buffer.pull(block);
        expect(buffer.playing).toBe(true);
        expect(buffer.position).toBeGreaterThan(end);
      }),
      { numRuns: 30 },
    );
  });

  it("rebuilds its margin in the quiet after a clear without counting underruns", () => {
    const buffer = new PlayoutBuffer();
    play(buffer, steady(20), 800);
    buffer.clear(1);
    let next = 20;
    for (let frame = 0; frame < 24_000; frame += BLOCK) {
      if (frame >= (next - 20) * PACKET) {
        buffer.push(next * PACKET, 1, new Int16Array(PACKET));
        next++;
      }
      buffer.pull(new Float32Array(BLOCK));
    }
    expect(buffer.stats.underruns).toBe(0);
    expect(buffer.stats.marginMs).toBeGreaterThan(40);
  });

  it("fills gaps with silence, ignores repeats, and starts over far away", () => {
    const buffer = new PlayoutBuffer();
    buffer.push(0, 0, numbered(0, 4800));
    buffer.push(0, 0, numbered(7, 4800));
    expect(buffer.stats.levelMs).toBe(200);
    buffer.push(4800 + 240, 0, numbered(5040));
    expect(buffer.stats.levelMs).toBe(250);
    buffer.push(10_000_000, 0, numbered(0));
    expect(buffer.position).toBe(10_000_000);
    expect(buffer.stats.levelMs).toBe(40);
    buffer.push(0, 0, numbered(0));
    expect(buffer.position).toBe(0);
  });

  it("is bounded: past its capacity the oldest is dropped", () => {
    const buffer = new PlayoutBuffer({ capacityMs: 1000 });
    for (let k = 0; k < 100; k++) {
      buffer.push(k * PACKET, 0, numbered(k * PACKET));
    }
    expect(buffer.stats.levelMs).toBeLessThanOrEqual(1000);
    expect(buffer.stats.droppedMs + buffer.stats.levelMs).toBe(4000);
  });

  it("begins anew after a reset", () => {
    const buffer = new PlayoutBuffer();
    play(buffer, steady(20), 800);
    buffer.clear(5);
    buffer.reset();
    expect(buffer.started).toBe(false);
    buffer.push(0, 0, numbered(0));
    expect(buffer.position).toBe(0);
    expect(buffer.stats.levelMs).toBe(40);
  });
});
