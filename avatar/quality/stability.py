"""Checks over several frames: a still background, no flicker, no pops, no swimming texture, no tears."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.quality.film import Film, grown
from avatar.quality.measures import luma
from avatar.quality.shots import OPEN, POSES, sweep_frames

_STILL: Final = 4
"""Levels that a pixel of the background may change by before it counts as moving."""
_TRACKING: Final[dict[str, Any]] = {"winSize": (13, 13), "maxLevel": 1}
_RETURN: Final = 0.3
"""px within which a tracked point must come back to count."""
_HEADROOM: Final = 1.6
"""How much farther than the face's rim anything of the person may move (the crown turns about the neck)."""


def check_background(film: Film) -> dict[str, float]:
    """background: largest change, in levels, of pixels that no pose reaches, over all poses; background_moved: share
    of them that changed; background_seen: their share of the frame."""
    rim = film.ring("oval", "neutral")
    reach = max(float(np.linalg.norm(film.ring("oval", frame) - rim, axis=1).max()) for frame in POSES)
    person = grown(film.matte_HW > 0.02, max(1, round(_HEADROOM * reach + 0.02 * film.size)))
    far = ~person
    if not far.any():
        return {"background": 0.0, "background_moved": 0.0, "background_seen": 0.0}
    still = film.pictures["neutral"][far].astype(np.int16)
    change = np.max([np.abs(film.pictures[frame][far] - still).max(-1) for frame in POSES], axis=0)
    return {
        "background": float(change.max()),
        "background_moved": float((change > _STILL).mean()),
        "background_seen": float(far.mean()),
    }


def check_flicker(film: Film) -> dict[str, float]:
    """flicker: second difference in time (levels, root mean square) of the skin during a slow turn, carried back to the
    portrait, so that motion itself does not count; pop_jaw, pop_lids: largest change between two frames of a slow
    opening / the usual one, at the mouth and the eyes: a stage that switches on shows as a pop."""
    frames = sweep_frames("head")
    carried = [film.to_portrait(frame) for frame in frames]
    seen = np.logical_and.reduce([there for _, there in carried])
    stack = np.stack([cv2.GaussianBlur(luma(picture), (0, 0), 1.0) for picture, _ in carried])
    second = stack[:-2] - 2 * stack[1:-1] + stack[2:]
    return {
        "flicker": float(np.sqrt(np.square(second[:, seen]).mean())) if seen.any() else float("nan"),
        "pop_jaw": pop(film, sweep_frames("jaw"), ("lips",)),
        "pop_lids": pop(film, sweep_frames("lids"), ("eye0", "eye1")),
    }


def pop(film: Film, frames: list[str], rings: tuple[str, ...]) -> float:
    """Largest second difference in time / the usual size of the first, over the boxes around `rings`."""
    worst = 0.0
    for ring in rings:
        rows, columns = film.box(ring, [frames[0], frames[-1]], 0.03)
        stack = np.stack([luma(film.pictures[frame][rows, columns]) for frame in frames])
        stack = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in stack])
        first = np.abs(np.diff(stack, axis=0)).mean((1, 2))
        second = np.abs(np.diff(stack, 2, axis=0)).mean((1, 2))
        worst = max(worst, float(second.max() / max(np.median(first), 1e-3)))
    return worst


def check_swimming(film: Film) -> dict[str, float]:
    """swim: how far (px, 95 % of the tracked points) skin texture lies from where the rig carries it, over poses and
    open mouths, against the neutral frame. Tracking: Lucas-Kanade with pyramids, as in OpenCV, on pictures of which
    light is taken out; a point counts when tracking back finds it again."""
    neutral, at_rest = film.to_portrait("neutral")
    first = even_light(neutral)
    corners = cv2.goodFeaturesToTrack(first, 200, 0.01, 5, mask=(film.plain_skin & at_rest).astype(np.uint8))
    if corners is None or len(corners) < 12:
        return {"swim": float("nan")}
    found: list[float] = []
    for frame in (*POSES, *(f"{name} +0" for name in OPEN)):
        back, there = film.to_portrait(frame)
        second = even_light(back)
        moved, status, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, corners.copy(), **_TRACKING)
        again, status_back, _ = cv2.calcOpticalFlowPyrLK(second, first, moved, moved.copy(), **_TRACKING)
        at = np.rint(corners[:, 0]).astype(int)
        returned = np.linalg.norm(again - corners, axis=-1)[:, 0] < _RETURN
        good = (status[:, 0] > 0) & (status_back[:, 0] > 0) & there[at[:, 1], at[:, 0]] & returned
        found += np.linalg.norm(moved - corners, axis=-1)[good, 0].tolist()
    return {"swim": float(np.quantile(found, 0.95)) if len(found) > 20 else float("nan")}


def even_light(picture_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness with slow changes taken out and local contrast made equal, uint8 [H, W]."""
    bright = luma(picture_HW3)
    fine = bright - cv2.GaussianBlur(bright, (0, 0), 4.0)
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 8.0)) + 1.0
    return np.asarray(np.clip(128 + 40 * fine / contrast, 0, 255), np.uint8)


def check_tears(film: Film) -> dict[str, float]:
    """torn, smeared: pixels of the person per thousand at which the decoder's map steps over more than four portrait
    pixels, or less than a fifth, worst pose; NaN for a decoder that shows no map. hair_edges: see `new_edges`."""
    rows = np.array([film.tears[frame] for frame in POSES if frame in film.tears]) * 1000
    torn, smeared = rows.max(0) if len(rows) else (float("nan"), float("nan"))
    return {"torn": float(torn), "smeared": float(smeared), "hair_edges": new_edges(film)}


def new_edges(film: Film) -> float:
    """Strong edges around the face (hair, neck) in poses / in the neutral frame: above 1, edges were invented."""
    around = film.matte_HW > 0.5
    ratios = []
    strong = None
    for frame in ("neutral", *POSES):
        zone = around & ~grown(film.inside("oval", frame), 3)
        bright = luma(film.pictures[frame])
        slope = np.hypot(cv2.Sobel(bright, cv2.CV_32F, 1, 0), cv2.Sobel(bright, cv2.CV_32F, 0, 1))[zone]
        if not len(slope):
            return float("nan")
        if strong is None:
            strong = float(np.quantile(slope, 0.97)) + 1.0
            base = float(np.mean(slope > strong)) + 1e-4
        else:
            ratios.append(float(np.mean(slope > strong)) / base)
    return float(np.max(ratios))
