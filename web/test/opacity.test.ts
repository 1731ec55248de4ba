import { describe, expect, it } from "vitest";

import { withOpacity } from "../src/video/opacity";

const pixel = (red: number, green: number, blue: number) => [red, green, blue, 255];
const grey = (value: number) => pixel(value, value, value);

describe("withOpacity", () => {
  it("takes the colour from the upper half and the opacity from the lower", () => {
    const both = Uint8ClampedArray.from([...pixel(10, 20, 30), ...pixel(40, 50, 60), ...grey(255), ...grey(0)]);
    expect([...withOpacity(both)]).toEqual([10, 20, 30, 255, 40, 50, 60, 0]);
  });

  it("does not let a JPEG's ringing veil what is clear, or pierce what is solid", () => {
    const both = Uint8ClampedArray.from([...pixel(1, 2, 3), ...pixel(4, 5, 6), ...grey(5), ...grey(250)]);
    expect([...withOpacity(both)].filter((_, index) => index % 4 === 3)).toEqual([0, 255]);
  });

  it("keeps half opacity", () => {
    const [, , , opacity = 0] = withOpacity(Uint8ClampedArray.from([...pixel(9, 9, 9), ...grey(128)]));
    expect(Math.abs(opacity - 128)).toBeLessThan(3);
  });
});
