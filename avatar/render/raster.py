"""Scan conversion on one core: numba kernels that release the GIL.

All kernels take points whose pixel centres lie on integers (x right, y down). Triangles may wind either way; a shared
edge is computed from the same two end points in the same order on both sides, so meshes are watertight.

Shape suffixes: N points, T triangles, H x W pixels, C colour channels, B vertices of a polygon.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

FAR = np.float32(-1e30)
"""Depth of a pixel that nothing has been drawn on; z grows towards the viewer."""


def pixel_box(points_N2: F32, reach: float, size: int) -> tuple[int, int, int, int]:
    """left, top, right, bottom of all pixels that points and `reach` px around them touch, inside a square frame."""
    low, high = points_N2.min(0) - reach, points_N2.max(0) + reach
    left, top = (min(max(math.floor(v), 0), size) for v in low.tolist())
    right, bottom = (min(max(math.ceil(v) + 1, 0), size) for v in high.tolist())
    return left, top, right, bottom


@njit(cache=True, nogil=True, error_model="numpy")
def clear(depth_HW: F32) -> None:
    """Forget everything drawn."""
    depth_HW[:] = FAR


@njit(cache=True, nogil=True, error_model="numpy")
def raster(points_N3: F32, values_NC: F32, triangles_T3: I32, depth_HW: F32, out_CHW: F32) -> None:
    """Draw triangles with a depth test; `values_NC` are interpolated linearly into the C planes of `out_CHW`.

    points_N3: px, z towards the viewer. Only pixels nearer than `depth_HW` are written.
    """
    height, width = depth_HW.shape
    channels = out_CHW.shape[0]
    slope_x = np.empty(channels, np.float32)
    base = np.empty(channels, np.float32)
    for t in range(triangles_T3.shape[0]):
        i0, i1, i2 = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
        y0, y1, y2 = points_N3[i0, 1], points_N3[i1, 1], points_N3[i2, 1]
        # top, middle, bottom; ties in y by index, so that neighbours agree on each edge's direction
        if y1 < y0 or (y1 == y0 and i1 < i0):
            i0, i1, y0, y1 = i1, i0, y1, y0
        if y2 < y1 or (y2 == y1 and i2 < i1):
            i1, i2, y1, y2 = i2, i1, y2, y1
            if y1 < y0 or (y1 == y0 and i1 < i0):
                i0, i1, y0, y1 = i1, i0, y1, y0
        first, last = max(math.ceil(y0), 0), min(math.ceil(y2), height)
        if first >= last:
            continue
        x0, x1, x2 = points_N3[i0, 0], points_N3[i1, 0], points_N3[i2, 0]
        if max(x0, x1, x2) < 0 or min(x0, x1, x2) > width - 1:
            continue
        dx1, dy1, dx2, dy2 = x1 - x0, y1 - y0, x2 - x0, y2 - y0
        area = dx1 * dy2 - dx2 * dy1
        if area == 0.0:
            continue
        inverse = np.float32(1.0) / area
        z0 = points_N3[i0, 2]
        dz1, dz2 = points_N3[i1, 2] - z0, points_N3[i2, 2] - z0
        zx = (dz1 * dy2 - dz2 * dy1) * inverse
        zy = (dz2 * dx1 - dz1 * dx2) * inverse
        long_slope = dx2 / dy2
        for y in range(first, last):
            fy = np.float32(y)
            along = fy - y0
            xa = x0 + along * long_slope
            if fy < y1:
                xb = x0 + along * (dx1 / dy1)
            elif y2 > y1:
                xb = x1 + (fy - y1) * ((x2 - x1) / (y2 - y1))
            else:
                xb = x1
            if xa > xb:
                xa, xb = xb, xa
            start, stop = max(math.ceil(xa), 0), min(math.ceil(xb), width)
            if start >= stop:
                continue
            offset = np.float32(start) - x0
            z = z0 + zx * offset + zy * along
            for c in range(channels):
                v0 = values_NC[i0, c]
                dv1, dv2 = values_NC[i1, c] - v0, values_NC[i2, c] - v0
                slope_x[c] = (dv1 * dy2 - dv2 * dy1) * inverse
                base[c] = v0 + slope_x[c] * offset + (dv2 * dx1 - dv1 * dx2) * inverse * along
            for x in range(start, stop):
                step = np.float32(x - start)
                near = z + zx * step
                if near > depth_HW[y, x]:
                    depth_HW[y, x] = near
                    for c in range(channels):
                        out_CHW[c, y, x] = base[c] + slope_x[c] * step


@njit(cache=True, nogil=True, error_model="numpy")
def raster_map(points_N3: F32, source_N2: F32, triangles_T3: I32, depth_HW: F32, map_2HW: F32) -> None:
    """`raster` for the two planes of a warp map (the hot loop of the decoder, hence written out)."""
    height, width = depth_HW.shape
    for t in range(triangles_T3.shape[0]):
        i0, i1, i2 = triangles_T3[t, 0], triangles_T3[t, 1], triangles_T3[t, 2]
        y0, y1, y2 = points_N3[i0, 1], points_N3[i1, 1], points_N3[i2, 1]
        if y1 < y0 or (y1 == y0 and i1 < i0):
            i0, i1, y0, y1 = i1, i0, y1, y0
        if y2 < y1 or (y2 == y1 and i2 < i1):
            i1, i2, y1, y2 = i2, i1, y2, y1
            if y1 < y0 or (y1 == y0 and i1 < i0):
                i0, i1, y0, y1 = i1, i0, y1, y0
        first, last = max(math.ceil(y0), 0), min(math.ceil(y2), height)
        if first >= last:
            continue
        x0, x1, x2 = points_N3[i0, 0], points_N3[i1, 0], points_N3[i2, 0]
        if max(x0, x1, x2) < 0 or min(x0, x1, x2) > width - 1:
            continue
        dx1, dy1, dx2, dy2 = x1 - x0, y1 - y0, x2 - x0, y2 - y0
        area = dx1 * dy2 - dx2 * dy1
        if area == 0.0:
            continue
        inverse = np.float32(1.0) / area
        z0, u0, v0 = points_N3[i0, 2], source_N2[i0, 0], source_N2[i0, 1]
        dz1, dz2 = points_N3[i1, 2] - z0, points_N3[i2, 2] - z0
        du1, du2 = source_N2[i1, 0] - u0, source_N2[i2, 0] - u0
        dv1, dv2 = source_N2[i1, 1] - v0, source_N2[i2, 1] - v0
        zx, zy = (dz1 * dy2 - dz2 * dy1) * inverse, (dz2 * dx1 - dz1 * dx2) * inverse
        ux, uy = (du1 * dy2 - du2 * dy1) * inverse, (du2 * dx1 - du1 * dx2) * inverse
        vx, vy = (dv1 * dy2 - dv2 * dy1) * inverse, (dv2 * dx1 - dv1 * dx2) * inverse
        long_slope = dx2 / dy2
        upper_slope = dx1 / dy1 if dy1 > 0 else np.float32(0.0)
        lower_slope = (x2 - x1) / (y2 - y1) if y2 > y1 else np.float32(0.0)
        for y in range(first, last):
            fy = np.float32(y)
            along = fy - y0
            xa = x0 + along * long_slope
            xb = x0 + along * upper_slope if fy < y1 else x1 + (fy - y1) * lower_slope
            if xa > xb:
                xa, xb = xb, xa
            start, stop = max(math.ceil(xa), 0), min(math.ceil(xb), width)
            if start >= stop:
                continue
            offset = np.float32(start) - x0
            z = z0 + zx * offset + zy * along
            u = u0 + ux * offset + uy * along
            v = v0 + vx * offset + vy * along
            for x in range(start, stop):
                step = np.float32(x - start)
                near = z + zx * step
                if near > depth_HW[y, x]:
                    depth_HW[y, x] = near
                    map_2HW[0, y, x] = u + ux * step
                    map_2HW[1, y, x] = v + vx * step


@njit(cache=True, nogil=True, error_model="numpy")
def under(frame_HW4: U8, depth_HW: F32, box_4: I32, plate_HW3: U8) -> None:
    """Put a still picture behind an RGBA frame, which is then opaque everywhere.

    Only pixels inside the box x0, y0, x1, y1 on which something was drawn belong to the frame; the rest is replaced.
    """
    for y in range(frame_HW4.shape[0]):
        inside = box_4[1] <= y < box_4[3]
        for x in range(frame_HW4.shape[1]):
            alpha = np.int32(0)
            if inside and box_4[0] <= x < box_4[2] and depth_HW[y, x] != FAR:
                alpha = np.int32(frame_HW4[y, x, 3])
            if alpha == 255:
                continue
            if alpha == 0:
                frame_HW4[y, x, 0] = plate_HW3[y, x, 0]
                frame_HW4[y, x, 1] = plate_HW3[y, x, 1]
                frame_HW4[y, x, 2] = plate_HW3[y, x, 2]
            else:
                alpha += alpha >> 7
                for c in range(3):
                    below = np.int32(plate_HW3[y, x, c])
                    frame_HW4[y, x, c] = np.uint8(below + (((np.int32(frame_HW4[y, x, c]) - below) * alpha + 128) >> 8))
            frame_HW4[y, x, 3] = 255


@njit(cache=True, nogil=True, error_model="numpy")
def cut_out(frame_HW4: U8, depth_HW: F32, box_4: I32) -> None:
    """Clear what does not belong to an RGBA frame (see `under`), and the colour of what is wholly transparent."""
    for y in range(frame_HW4.shape[0]):
        inside = box_4[1] <= y < box_4[3]
        for x in range(frame_HW4.shape[1]):
            if inside and box_4[0] <= x < box_4[2] and depth_HW[y, x] != FAR and frame_HW4[y, x, 3] > 0:
                continue
            for c in range(4):
                frame_HW4[y, x, c] = 0


SUBLINES = 4
"""Lines per pixel row on which `coverage` measures exact spans."""


@njit(cache=True, nogil=True, error_model="numpy")
def coverage(polygon_B2: F32, left: int, top: int, cover_HW: F32) -> None:
    """Share of each pixel inside a closed polygon (even-odd), 0..1, into a patch whose first pixel is (left, top)."""
    cover_HW[:] = 0.0
    height, width = cover_HW.shape
    count = polygon_B2.shape[0]
    crossings = np.empty(count, np.float32)
    weight = np.float32(1.0 / SUBLINES)
    for line in range(height * SUBLINES):
        y = np.float32(top - 0.5 + (line + 0.5) / SUBLINES)
        row = line // SUBLINES
        found = 0
        for b in range(count):
            ax, ay = polygon_B2[b, 0], polygon_B2[b, 1]
            after = b + 1 if b + 1 < count else 0
            bx, by = polygon_B2[after, 0], polygon_B2[after, 1]
            if (ay <= y) != (by <= y):
                crossings[found] = ax + (y - ay) / (by - ay) * (bx - ax)
                found += 1
        for i in range(1, found):  # few crossings: insertion sort
            value = crossings[i]
            k = i - 1
            while k >= 0 and crossings[k] > value:
                crossings[k + 1] = crossings[k]
                k -= 1
            crossings[k + 1] = value
        for i in range(0, found - 1, 2):
            # span in patch pixels: pixel p covers [p, p + 1)
            a = max(crossings[i] - np.float32(left) + np.float32(0.5), np.float32(0.0))
            b_ = min(crossings[i + 1] - np.float32(left) + np.float32(0.5), np.float32(width))
            if b_ <= a:
                continue
            first, last = int(a), min(int(b_), width - 1)
            if first == last:
                cover_HW[row, first] += weight * (b_ - a)
            else:
                cover_HW[row, first] += weight * (first + 1 - a)
                for x in range(first + 1, last):
                    cover_HW[row, x] += weight
                cover_HW[row, last] += weight * (b_ - last)


FOLD_PX = 3.0
"""Source px between neighbouring frame pixels from which the surface counts as torn or folded there."""


MOST_FOLDS = 16_384
"""Pixels that `soften_folds` changes at most; there are a few hundred."""


@njit(cache=True, nogil=True, error_model="numpy")
def soften_folds(map_2HW: F32, depth_HW: F32, frame_HW4: U8, box_4: I32, found_N5: I32) -> None:
    """Blur the staircase where a nearer part of the face hides a farther one (cheek over hair, nose over cheek).

    frame_HW4: the warped person; box_4: x0, y0, x1, y1 to look at; found_N5: scratch, [MOST_FOLDS, 5]. Only pixels on
    both sides of a tear are changed, and only inside the person.
    """
    found = 0
    for y in range(max(box_4[1], 1), min(box_4[3], frame_HW4.shape[0] - 1)):
        for x in range(max(box_4[0], 1), min(box_4[2], frame_HW4.shape[1] - 1)):
            u, v = map_2HW[0, y, x], map_2HW[1, y, x]
            torn = (
                abs(map_2HW[0, y, x + 1] - u) > FOLD_PX
                or abs(u - map_2HW[0, y, x - 1]) > FOLD_PX
                or abs(map_2HW[1, y + 1, x] - v) > FOLD_PX
                or abs(v - map_2HW[1, y - 1, x]) > FOLD_PX
            )
            if not torn or frame_HW4[y, x, 3] < 255 or found == found_N5.shape[0] or not drawn_around(depth_HW, y, x):
                continue
            found_N5[found, 0], found_N5[found, 1] = y, x
            for c in range(3):
                centre = 4 * np.int32(frame_HW4[y, x, c])
                cross = (
                    np.int32(frame_HW4[y, x - 1, c])
                    + frame_HW4[y, x + 1, c]
                    + frame_HW4[y - 1, x, c]
                    + frame_HW4[y + 1, x, c]
                )
                corners = (
                    np.int32(frame_HW4[y - 1, x - 1, c])
                    + frame_HW4[y - 1, x + 1, c]
                    + frame_HW4[y + 1, x - 1, c]
                    + frame_HW4[y + 1, x + 1, c]
                )
                found_N5[found, 2 + c] = (centre + 2 * cross + corners + 8) >> 4
            found += 1
    for n in range(found):
        for c in range(3):
            frame_HW4[found_N5[n, 0], found_N5[n, 1], c] = np.uint8(found_N5[n, 2 + c])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def drawn_around(depth_HW: F32, y: int, x: int) -> bool:
    """Whether a pixel and its eight neighbours have all been drawn on."""
    for j in range(y - 1, y + 2):
        for i in range(x - 1, x + 2):
            if depth_HW[j, i] == FAR:
                return False
    return True


EDGE_PX = 1.3
"""Source px between the four samples of a frame pixel from which they count as different things."""


@njit(cache=True, nogil=True, error_model="numpy")
def smooth_edges(map_2HW: F32, depth_HW: F32, layer_HW4: U8, left: int, top: int, out_HW3: U8) -> None:
    """Anti-alias folds and contact lines inside a patch, from a map of twice the resolution.

    Where the four samples of a frame pixel come from places that lie apart (lid over eye, lip on lip), the pixel
    becomes their mean; all other pixels stay as they are. (left, top): the patch's first pixel in the frame.
    """
    for y in range(map_2HW.shape[1] // 2):
        for x in range(map_2HW.shape[2] // 2):
            low_u = low_v = np.float32(1e9)
            high_u = high_v = np.float32(-1e9)
            drawn = True
            for j in range(2):
                for i in range(2):
                    if depth_HW[2 * y + j, 2 * x + i] == FAR:
                        drawn = False
                    u, v = map_2HW[0, 2 * y + j, 2 * x + i], map_2HW[1, 2 * y + j, 2 * x + i]
                    low_u, high_u = min(low_u, u), max(high_u, u)
                    low_v, high_v = min(low_v, v), max(high_v, v)
            if not drawn or (high_u - low_u < EDGE_PX and high_v - low_v < EDGE_PX):
                continue
            for c in range(3):
                total = np.float32(0.0)
                for j in range(2):
                    for i in range(2):
                        total += bilinear(
                            layer_HW4, map_2HW[0, 2 * y + j, 2 * x + i], map_2HW[1, 2 * y + j, 2 * x + i], c
                        )
                out_HW3[top + y, left + x, c] = np.uint8(total * np.float32(0.25) + np.float32(0.5))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def bilinear(picture_HWC: NDArray[Any], u: float, v: float, c: int) -> float:
    """One channel of a picture between pixels; positions are held inside it."""
    height, width = picture_HWC.shape[0], picture_HWC.shape[1]
    u = min(max(u, 0.0), width - 1.001)
    v = min(max(v, 0.0), height - 1.001)
    x, y = int(u), int(v)
    fx, fy = u - x, v - y
    above = picture_HWC[y, x, c] + (np.float32(picture_HWC[y, x + 1, c]) - picture_HWC[y, x, c]) * fx
    below = picture_HWC[y + 1, x, c] + (np.float32(picture_HWC[y + 1, x + 1, c]) - picture_HWC[y + 1, x, c]) * fx
    mixed: float = above + (below - above) * fy
    return mixed
