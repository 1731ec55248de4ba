"""Continue a picture into a hole with patches of itself, so that texture and edges go on.

After Wexler, Shechtman, Irani: Space-Time Completion of Video, TPAMI 2007 (alternate: find for every patch that
touches the hole its nearest neighbour among the known patches; let all patches vote for the pixels), with the
randomised search of Barnes et al.: PatchMatch, SIGGRAPH 2009, from coarse to fine. Random numbers come from a
generator with a fixed seed, so the same picture is always filled alike.

Shape suffixes: H x W pixels, N places (y, x) of patches that touch the hole.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.render.images import fill

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
B = NDArray[np.bool_]

RADIUS: Final = 3
"""Patches are 7 x 7 px at every level."""
COARSEST: Final = 48
"""The coarsest level is the last that is at least this wide, px."""
ROUNDS: Final = (10, 5, 2, 1)
"""Searches and votes at the coarsest level, the next, the next, and all finer ones."""
SEAM: Final = (8.0, 18.0)
"""Levels by which a patch differs from the best one known: up to here it fits, from here on it is a seam."""
SEAM_BLUR: Final = 0.014
"""Frame sides."""
MIN_SOURCES: Final = 40
"""Whole known patches a level needs to be of use."""


def continue_texture(values_HW3: F32, known_HW: B, reach: int, start_HW3: F32 | None = None) -> F32:
    """The picture with its unknown pixels filled; float32 [H, W, 3], known pixels untouched.

    reach: px from what is known up to which the fill is sharp; farther in it is that of a coarser level.
    start_HW3: a first guess for the unknown; by default smooth interpolation. Without enough known patches that
    guess is the answer.
    """
    values = np.asarray(values_HW3, np.float32)
    guess = fill(values, known_HW.astype(np.float32)) if start_HW3 is None else np.asarray(start_HW3, np.float32)
    guess = np.where(known_HW[..., None], values, guess).astype(np.float32)
    pyramid: list[tuple[F32, B, F32]] = [(values, known_HW, guess)]
    while min(pyramid[-1][1].shape) // 2 >= COARSEST:
        pyramid.append(_halved(*pyramid[-1]))
    picture = pyramid[-1][2]
    match: I32 | None = None
    for step, (values, known, start) in enumerate(reversed(pyramid)):
        level = len(pyramid) - 1 - step
        if step:
            up = cv2.resize(picture, known.shape[::-1], interpolation=cv2.INTER_LINEAR)
            picture = np.where(known[..., None], values, up).astype(np.float32)
        away = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
        near = away <= max(reach / 2**level, 4.0) if level < 2 else np.ones_like(known)
        hole = ~known & near
        rounds = ROUNDS[min(step, len(ROUNDS) - 1)]
        picture, match, misfit = _fill_level(picture, known, hole, away.astype(np.float32), match, rounds)
        if match is None:
            picture = start.copy()
    return np.where(known_HW[..., None], values_HW3, _without_seams(picture, misfit)).astype(np.float32)


def _without_seams(picture_HW3: F32, misfit_HW: F32) -> F32:
    """The picture softened where it is like no patch of what is known: two copies meet there in an edge."""
    sure, never = SEAM
    wide = cv2.GaussianBlur(cv2.dilate(misfit_HW, np.ones((2 * RADIUS + 1,) * 2, np.uint8)), (0, 0), RADIUS)
    share = np.clip((wide - sure) / (never - sure), 0, 1)[..., None]
    soft = cv2.GaussianBlur(picture_HW3, (0, 0), SEAM_BLUR * len(picture_HW3))
    return np.asarray(picture_HW3 + share * (soft - picture_HW3), np.float32)


def _halved(values: F32, known: B, guess: F32) -> tuple[F32, B, F32]:
    size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    weight = known.astype(np.float32)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
    small = small / np.maximum(share, 1e-6)[..., None]
    small_known = share > 0.99
    small_guess = cv2.resize(guess, size, interpolation=cv2.INTER_AREA)
    small_guess = np.where(small_known[..., None], small, small_guess)
    return small.astype(np.float32), small_known, small_guess.astype(np.float32)


def _fill_level(
    picture: F32, known: B, hole: B, away: F32, coarse: I32 | None, rounds: int
) -> tuple[F32, I32 | None, F32]:
    """One level; also the matches [H, W, 2] (y, x) for the next finer one, None when there are too few sources, and
    how unlike its match the patch at each pixel is (root mean square, levels), [H, W]."""
    height, width = known.shape
    square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    usable = cv2.erode(known.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    usable[:RADIUS] = usable[-RADIUS:] = False
    usable[:, :RADIUS] = usable[:, -RADIUS:] = False
    sources = np.argwhere(usable).astype(np.int32)
    if len(sources) < MIN_SOURCES:
        return picture, None, np.zeros((height, width), np.float32)
    touched = cv2.dilate(hole.astype(np.uint8), square) > 0
    touched[:RADIUS] = touched[-RADIUS:] = False
    touched[:, :RADIUS] = touched[:, -RADIUS:] = False
    places = np.argwhere(touched).astype(np.int32)
    if not len(places):
        return picture, np.zeros((height, width, 2), np.int32), np.zeros((height, width), np.float32)
    match = np.zeros((height, width, 2), np.int32)
    random = np.random.default_rng(7)
    match[places[:, 0], places[:, 1]] = sources[random.integers(0, len(sources), len(places))]
    if coarse is not None:
        rows, columns = places[:, 0], places[:, 1]
        half_y = np.minimum(rows // 2, coarse.shape[0] - 1)
        half_x = np.minimum(columns // 2, coarse.shape[1] - 1)
        found = coarse[half_y, half_x] * 2 + np.stack([rows % 2, columns % 2], -1)
        inside = (found < [height, width]).all(1) & (coarse[half_y, half_x] > 0).any(1)
        found = np.where(inside[:, None], found, 0)
        good = inside & usable[found[:, 0], found[:, 1]]
        match[rows[good], columns[good]] = found[good]
    # what lies near the known is more certain, and draws the rest along
    trust = np.where(known, 1.0, 1.25 ** -np.minimum(away, 40.0)).astype(np.float32)
    widest = max(height, width) if coarse is None else 6
    for turn in range(rounds):
        distance = _search(picture, places, touched, usable, match, widest, np.uint64(turn + 1))
        picture = _vote(picture, places, match, distance, hole, trust)
    misfit = np.zeros((height, width), np.float32)
    misfit[places[:, 0], places[:, 1]] = np.sqrt(distance / (3 * (2 * RADIUS + 1) ** 2))
    return picture, match, misfit


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _patch_distance(picture: Any, ay: int, ax: int, by: int, bx: int, limit: Any) -> Any:
    """Sum of squared differences of two patches; stops above `limit`."""
    total = np.float32(0.0)
    for j in range(-RADIUS, RADIUS + 1):
        row = np.float32(0.0)
        for i in range(-RADIUS, RADIUS + 1):
            for c in range(3):
                d = picture[ay + j, ax + i, c] - picture[by + j, bx + i, c]
                row += d * d
        total += row
        if total >= limit:
            return total
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _search(picture: F32, places: I32, touched: B, usable: B, match: I32, widest: int, seed: np.uint64) -> F32:
    """Better matches for all places, in place: twice over them, each time neighbours' matches and random ones nearby.

    Returns the distance of each match [N].
    """
    height, width = usable.shape
    count = places.shape[0]
    distance = np.zeros((height, width), np.float32)
    for n in range(count):
        y, x = places[n, 0], places[n, 1]
        distance[y, x] = _patch_distance(picture, y, x, match[y, x, 0], match[y, x, 1], np.float32(1e30))
    state = np.uint64(seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1))
    for sweep in range(2):
        step = 1 if sweep == 0 else -1
        for k in range(count):
            n = k if sweep == 0 else count - 1 - k
            y, x = places[n, 0], places[n, 1]
            best = distance[y, x]
            for side in range(2):
                ny, nx = (y - step, x) if side == 0 else (y, x - step)
                if not touched[ny, nx]:
                    continue
                sy, sx = match[ny, nx, 0] + y - ny, match[ny, nx, 1] + x - nx
                if sy < 0 or sx < 0 or sy >= height or sx >= width or not usable[sy, sx]:
                    continue
                d = _patch_distance(picture, y, x, sy, sx, best)
                if d < best:
                    best = d
                    match[y, x, 0], match[y, x, 1] = sy, sx
            reach = widest
            while reach >= 1:
                # xorshift (Marsaglia 2003)
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                spread = np.uint64(2 * reach + 1)
                sy = match[y, x, 0] + np.int64((state >> np.uint64(11)) % spread) - reach
                sx = match[y, x, 1] + np.int64((state >> np.uint64(37)) % spread) - reach
                if 0 <= sy < height and 0 <= sx < width and usable[sy, sx]:
                    d = _patch_distance(picture, y, x, sy, sx, best)
                    if d < best:
                        best = d
                        match[y, x, 0], match[y, x, 1] = sy, sx
                reach //= 2
            distance[y, x] = best
    out = np.empty(count, np.float32)
    for n in range(count):
        out[n] = distance[places[n, 0], places[n, 1]]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _vote(picture: F32, places: I32, match: I32, distance: F32, hole: B, trust: F32) -> F32:
    """Each pixel of the hole becomes the mean of what the patches over it say, the good ones louder."""
    height, width = hole.shape
    total = np.zeros((height, width, 4), np.float32)
    area = np.float32(3 * (2 * RADIUS + 1) ** 2)
    spread = np.float32(max(np.median(distance), area * 1.0) * 1.0)
    for n in range(places.shape[0]):
        y, x = places[n, 0], places[n, 1]
        sy, sx = match[y, x, 0], match[y, x, 1]
        weight = np.exp(-distance[n] / spread) * trust[y, x] + np.float32(1e-12)
        for j in range(-RADIUS, RADIUS + 1):
            for i in range(-RADIUS, RADIUS + 1):
                if hole[y + j, x + i]:
                    w = weight
                    for c in range(3):
                        total[y + j, x + i, c] += w * picture[sy + j, sx + i, c]
                    total[y + j, x + i, 3] += w
    out = picture.copy()
    for y in range(height):
        for x in range(width):
            if hole[y, x] and total[y, x, 3] > 0:
                for c in range(3):
                    out[y, x, c] = total[y, x, c] / total[y, x, 3]
    return out
