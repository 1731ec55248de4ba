/** Pictures with opacity travel as one JPEG: the picture, and below it its opacity in grey. */

/** `rgba`: both halves, row by row. Gives the upper half with the lower half's brightness as its opacity. */
export function withOpacity(rgba: Uint8ClampedArray): Uint8ClampedArray<ArrayBuffer> {
  const half = rgba.length / 2;
  const picture = new Uint8ClampedArray(half);
  picture.set(rgba.subarray(0, half));
  for (let at = 0; at < half; at += 4) {
    // JPEG's rings around a sharp edge must not veil what is meant to be clear, nor pierce what is solid
    const grey = rgba[half + at + 1] ?? 0;
    picture[at + 3] = (grey - 6) * (255 / 243);
  }
  return picture;
}
