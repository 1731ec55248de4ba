import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FRAME_SAMPLES } from "../src/clock";
import { FrameQueue, offsetMs, type Picture } from "../src/video/frame-queue";

class TestPicture implements Picture {
  static open = 0;

  constructor(readonly number: number) {
    TestPicture.open++;
  }

  close(): void {
    TestPicture.open--;
  }
}

/** Decodes at once; the JPEG's first byte is the frame's number, 255 cannot be decoded. */
const decode = async ([number = 0]: Uint8Array) => {
  if (number === 255) {
    throw new Error("broken picture");
  }
  return new TestPicture(number);
};
const settle = () => new Promise((done) => setTimeout(done));
const jpeg = (number: number) => new Uint8Array([number % 256]);

async function filled(count: number, capacity?: number): Promise<FrameQueue<TestPicture>> {
  TestPicture.open = 0;
  const queue = new FrameQueue(decode, capacity);
  for (let k = 0; k < count; k++) {
    queue.push(k * FRAME_SAMPLES, 0, jpeg(k));
  }
  queue.prepare(0);
  await settle();
  return queue;
}

describe("FrameQueue", () => {
  it("shows the newest frame that has been reached, each once", async () => {
    const queue = await filled(5);
    expect(queue.take(-1)).toBeNull();
    expect(queue.take(0)?.picture.number).toBe(0);
    expect(queue.take(FRAME_SAMPLES - 1)).toBeNull();
    expect(queue.take(FRAME_SAMPLES)?.sample).toBe(FRAME_SAMPLES);
    expect(queue.take(4 * FRAME_SAMPLES)?.picture.number).toBe(4);
    expect(queue.late).toBe(2);
    expect(queue.length).toBe(0);
  });

  it("is never early and never more than a frame late, at any speed of the screen", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 100, max: 2400 }), { minLength: 5, maxLength: 60 }),
        async (refreshes) => {
          TestPicture.open = 0;
          const queue = new FrameQueue(decode);
          let heard = 0;
          let arrived = 0;
          let shown = Number.NEGATIVE_INFINITY;
          for (const step of refreshes) {
            heard += step;
            for (; arrived * FRAME_SAMPLES <= heard + 2 * FRAME_SAMPLES; arrived++) {
              queue.push(arrived * FRAME_SAMPLES, 0, jpeg(arrived % 250));
            }
            queue.prepare(heard);
            await settle();
            const frame = queue.take(heard);
            if (frame) {
              frame.picture.close();
              shown = frame.sample;
            }
            expect(shown).toBeLessThanOrEqual(heard);
            expect(shown).toBeGreaterThan(heard - FRAME_SAMPLES);
          }
          queue.reset();
          expect(TestPicture.open).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("decodes only what is due soon", async () => {
    await filled(100);
    expect(TestPicture.open).toBe(7);
  });

  it("drops the oldest when too many wait", async () => {
    const queue = await filled(50, 20);
    expect(queue.length).toBe(20);
    expect(queue.overflowed).toBe(30);
  });

  it("forgets older epochs at once and closes their pictures", async () => {
    const queue = await filled(5);
    queue.clear(1);
    queue.push(5 * FRAME_SAMPLES, 0, jpeg(5));
    expect(queue.length).toBe(0);
    expect(TestPicture.open).toBe(0);
    queue.push(5 * FRAME_SAMPLES, 1, jpeg(5));
    queue.prepare(5 * FRAME_SAMPLES);
    await settle();
    expect(queue.take(5 * FRAME_SAMPLES)?.picture.number).toBe(5);
  });

  it("loses a broken picture and nothing else", async () => {
    TestPicture.open = 0;
    const queue = new FrameQueue(decode);
    queue.push(0, 0, jpeg(255));
    queue.push(FRAME_SAMPLES, 0, jpeg(1));
    queue.prepare(0);
    await settle();
    expect(queue.late).toBe(1);
    expect(queue.take(FRAME_SAMPLES)?.picture.number).toBe(1);
  });

  it("starts over when the numbers do", async () => {
    const queue = await filled(5);
    queue.push(0, 0, jpeg(9));
    queue.prepare(0);
    await settle();
    expect(queue.take(0)?.picture.number).toBe(9);
    expect(queue.length).toBe(0);
  });
});

describe("offsetMs", () => {
  it("is zero in the middle of the frame being heard and positive when the picture is early", () => {
    expect(offsetMs(9600, 9600 + FRAME_SAMPLES / 2)).toBe(0);
    expect(offsetMs(9600, 9600)).toBe(20);
    expect(offsetMs(9600, 9600 + 2 * FRAME_SAMPLES)).toBe(-60);
  });
});
