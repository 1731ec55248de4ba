import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CaptionStore, type CaptionUpdate } from "../src/ui/captions";

const line = (update: Partial<CaptionUpdate>): CaptionUpdate => ({
  speaker: "avatar",
  segment: "1",
  text: "Hello",
  final: false,
  startSample: null,
  ...update,
});

describe("CaptionStore", () => {
  it("replaces a segment's text and keeps its place", () => {
    const store = new CaptionStore();
    store.update(line({ text: "Hel" }));
    store.update(line({ speaker: "visitor", text: "Hi" }));
    store.update(line({ text: "Hello there", final: true }));
    store.update(line({ text: "Hello there." }));
    expect(store.visible(null).map(({ text, final }) => [text, final])).toEqual([
      ["Hello there.", true],
      ["Hi", false],
    ]);
  });

  it("holds a caption back until its sound begins", () => {
    const store = new CaptionStore();
    store.update(line({ startSample: 48000 }));
    expect(store.visible(47999)).toEqual([]);
    expect(store.visible(48000)).toHaveLength(1);
    expect(store.visible(null)).toHaveLength(1);
  });

  it("on interruption marks what was being said and forgets what was not begun", () => {
    const store = new CaptionStore();
    store.update(line({ segment: "1", startSample: 0, final: true }));
    store.update(line({ segment: "2", startSample: 1000 }));
    store.update(line({ segment: "3", startSample: 90000 }));
    store.update(line({ speaker: "visitor", segment: "v" }));
    store.interrupt(2000);
    expect(store.visible(null).map(({ segment, interrupted }) => [segment, interrupted])).toEqual([
      ["1", false],
      ["2", true],
      ["v", false],
    ]);
    store.update(line({ segment: "2", text: "Hello, I was", final: true }));
    expect(store.visible(null)[1]).toMatchObject({ text: "Hello, I was", interrupted: true });
  });

  it("shows nothing for empty texts, also for those that became empty", () => {
    const store = new CaptionStore();
    store.update(line({ text: " " }));
    store.update(line({ segment: "2" }));
    store.update(line({ segment: "2", text: "" }));
    expect(store.visible(null)).toEqual([]);
  });

  it("stays bounded with keys of its own, whatever comes", () => {
    const updates = fc.array(
      fc.record({
        speaker: fc.constantFrom("visitor" as const, "avatar" as const),
        segment: fc.string({ maxLength: 2 }),
        text: fc.string(),
        final: fc.boolean(),
        startSample: fc.option(fc.nat(100_000)),
      }),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(updates, fc.nat(100_000), (all, heard) => {
        const store = new CaptionStore(10);
        for (const update of all) {
          store.update(update);
        }
        const visible = store.visible(heard);
        expect(visible.length).toBeLessThanOrEqual(10);
        expect(new Set(visible.map(({ key }) => key)).size).toBe(visible.length);
        store.interrupt(heard);
        expect(store.visible(heard).every(({ speaker, final }) => speaker === "visitor" || final)).toBe(true);
      }),
    );
  });
});
