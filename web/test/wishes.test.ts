import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseServerMessage } from "../src/transport/protocol";
import { joinEmotion, splitEmotion, Throttle } from "../src/ui/wishes";

describe("an emotion's text", () => {
  it("is read back as it was written", () => {
    const names = fc.constantFrom("warm", "happy", "sad", "concerned", "surprised", "firm");
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 100 }), (name, percent) => {
        const strength = percent / 100;
        expect(splitEmotion(joinEmotion(name, strength))).toEqual({ name, strength });
      }),
    );
  });

  it("is neutral without strength", () => {
    expect(joinEmotion("warm", 0)).toBe("neutral");
    expect(joinEmotion("neutral", 1)).toBe("neutral");
    expect(splitEmotion("neutral")).toEqual({ name: "neutral", strength: 1 });
    expect(splitEmotion("warm")).toEqual({ name: "warm", strength: 1 });
  });

  it("has no single strength as a mixture", () => {
    expect(splitEmotion("happy:0.5+surprised:0.3")).toBeNull();
    expect(splitEmotion("valence=0.4,arousal=0.2")).toBeNull();
  });
});

describe("an offer of controls", () => {
  const wish = { emotion: "warm:0.4", liveliness: 0.5, gaze: [0, 0], distance: 1 };
  const hello = { type: "hello", session: "s" };

  it("comes with the hello, or not at all", () => {
    const controls = { version: 1, emotions: ["neutral", "warm"], now: wish, configured: wish };
    expect(parseServerMessage(JSON.stringify({ ...hello, controls }))).toMatchObject({ controls: { now: wish } });
    expect(parseServerMessage(JSON.stringify({ ...hello, controls: null }))).toMatchObject({ controls: null });
    expect(parseServerMessage(JSON.stringify(hello))).toMatchObject({ controls: null });
  });

  it("is refused when it is none", () => {
    const controls = { emotions: [], now: { ...wish, gaze: [0] }, configured: wish };
    expect(() => parseServerMessage(JSON.stringify({ ...hello, controls }))).toThrow("hello.controls");
  });
});

describe("a throttle", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("lets the first through at once, then one in a while, and always the last", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 250 }), { minLength: 1, maxLength: 40 }), (pauses) => {
        const sent: { at: number; value: number }[] = [];
        const throttle = new Throttle<number>(100, (value) => sent.push({ at: Date.now(), value }));
        pauses.forEach((pause, index) => {
          throttle.push(index);
          vi.advanceTimersByTime(pause);
        });
        vi.advanceTimersByTime(200);
        expect(sent[0]?.value).toBe(0);
        expect(sent.at(-1)?.value).toBe(pauses.length - 1);
        for (const [index, { at }] of sent.entries()) {
          expect(at - (sent[index - 1]?.at ?? at - 100)).toBeGreaterThanOrEqual(100);
        }
      }),
    );
  });

  it("forgets what waits when told to", () => {
    const call = vi.fn();
    const throttle = new Throttle<number>(100, call);
    throttle.push(1);
    throttle.push(2);
    throttle.cancel();
    vi.advanceTimersByTime(500);
    expect(call.mock.calls).toEqual([[1]]);
  });
});
