"""From one motion vector to one picture: the direct warp of the portrait (decoder v1).

Stages, each a pure function of the identity and the motion: deform the rig -> rasterise where each pixel comes from
(underlay and skin as one welded mesh) -> warp the person over the still background -> eyes -> mouth.
docs/decoder.md tells the story.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.render import raster
from avatar.render.eyes import draw_eyes, eye_frames
from avatar.render.layers import APART, Layers, prepare_layers
from avatar.render.mouth import build_mouth_paint, draw_mouth, to_frame
from avatar.render.underlay import build_underlay, deform_underlay, flatten_sides
from avatar.rig import mesh
from avatar.rig.types import FittedRig

if TYPE_CHECKING:
    from avatar.portrait.store import Identity

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
T = TypeVar("T")

SIZES: Final = (128, 1024)
"""Smallest and largest side of a frame."""
CAP_BEHIND: Final = 0.05
"""Face widths: the lids' and lips' stand-in texture lies this far behind them."""

EDGE_REACH: Final = 0.15
"""How far around lips and lids edges are smoothed / width of the ring."""


class Decoder:
    """One per session; identities are shared and never written to. Not for use by two threads at once."""

    def __init__(self, identity: Identity, *, size: int = 512) -> None:
        """`size`: side of the frames in px. ValueError for an identity that lacks its parts, or an odd size."""
        if not SIZES[0] <= size <= SIZES[1]:
            raise ValueError(f"The frame size must be between {SIZES[0]} and {SIZES[1]} px, not {size}.")
        arrays = identity.arrays
        self.rig: Final = flatten_sides(FittedRig.unpack(arrays))
        has_layers = any(name.startswith("render.") for name in arrays)
        layers = (
            Layers.unpack(arrays) if has_layers else prepare_layers(arrays["rgb_HW3"], arrays["matte_HW"], self.rig)
        )
        self.size: Final = size
        self.timings: dict[str, float] = {}
        """ms per stage of the last frame."""
        self.clamped = 0
        """Motion numbers out of range so far, over all frames."""
        self._layers = layers
        self._scale = size / self.rig.size
        self._person = _resized(layers.person_HW4, size)
        self._plate = _resized(layers.plate_HW3, size)
        self._underlay = build_underlay(self.rig)
        self._paint = build_mouth_paint(self.rig, layers)
        self._build_mesh()
        self._depth = np.empty((size, size), np.float32)
        self._map = np.zeros((2, size, size), np.float32)

    def warm_up(self) -> None:
        """Compile or load every kernel (seconds the first time after installing, then milliseconds)."""
        motion = space.neutral()
        motion[space.INDEX["jawOpen"]] = 0.4
        self.render(motion)
        self.clamped = 0

    def render(self, motion_D: F32, out: U8 | None = None) -> U8:
        """Draw one frame, uint8 [size, size, 3] RGB, into `out` when given.

        motion_D: float32 [52] (motion/space.py); numbers out of range are clamped and counted in `clamped`.
        The same identity and motion always give the same picture. ValueError for a wrong shape.
        """
        if np.shape(motion_D) != (space.DIM,):
            raise ValueError(f"A motion vector has {space.DIM} numbers; this one has shape {np.shape(motion_D)}.")
        if out is None:
            out = np.empty((self.size, self.size, 3), np.uint8)
        elif out.shape != (self.size, self.size, 3) or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"`out` must be contiguous uint8 [{self.size}, {self.size}, 3].")
        timer = _Timer()
        motion, changed = space.clamp(np.asarray(motion_D, np.float32))
        self.clamped += changed
        face = timer("deform", lambda: self.rig.deform(motion))
        scale = self._scale
        skin = to_frame(face.skin_V3, scale)
        points, source = timer("mesh", lambda: self._mesh(face, skin))
        timer("raster", lambda: self._rasterise(points, source))
        timer("warp", lambda: self._warp(out))
        timer("edges", lambda: self._smooth_edges(skin, points, source, out))
        timer("eyes", lambda: self._draw_eyes(face, skin, out))
        ring = skin[self.rig.mouth_ring_M]
        timer("mouth", lambda: draw_mouth(self._paint, self.rig, face, ring, scale, out))
        self.timings = timer.done()
        return out

    def _build_mesh(self) -> None:
        """One mesh of underlay, skin and caps; texture coordinates in frame px."""
        rig, underlay = self.rig, self._underlay
        n_under = len(underlay.rest_U3)
        skin_start = n_under
        cap_start = n_under + len(rig.rest_V3)
        rings = [rig.mouth_ring_M, *rig.eye_ring_2E]
        lines = [(rig.lip_upper_L, rig.lip_lower_L), *zip(rig.lid_upper_2L, rig.lid_lower_2L, strict=True)]
        caps = []
        self._cap_V = np.concatenate(rings)
        place = {}
        for ring, start in zip(rings, np.cumsum([0, *(len(r) for r in rings[:-1])]), strict=True):
            place.update({int(v): cap_start + int(start) + i for i, v in enumerate(ring)})
        for upper, lower in lines:
            u, l = (np.array([place[int(v)] for v in line]) for line in (upper, lower))
            caps += [np.stack([u[:-1], u[1:], l[1:]], -1), np.stack([u[:-1], l[1:], l[:-1]], -1)]
        triangles = [underlay.triangles_T3, rig.triangles_T3 + skin_start, *caps]
        self._triangles = np.concatenate(triangles).astype(np.int32)
        self._face_triangles = self._triangles[len(underlay.triangles_T3) :]
        rest = np.concatenate([underlay.rest_U3[:, :2], rig.rest_V3[:, :2], rig.rest_V3[self._cap_V, :2]])
        self._source = to_frame(np.c_[rest, np.zeros(len(rest))].astype(np.float32), self._scale)[:, :2].copy()
        rest_gap = rig.rest_V3[rig.lip_lower_L, :2] - rig.rest_V3[rig.lip_upper_L, :2]
        self._lips_apart = float(np.linalg.norm(rest_gap, axis=1).max()) > APART * rig.face_width
        rows, steps = lip_slide(rig, self._layers.lip_step_M)
        n_mouth = len(rig.mouth_ring_M)
        self._lip_rows = np.concatenate([skin_start + rows, cap_start + np.arange(n_mouth)])
        down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
        steps = np.concatenate([steps, self._layers.lip_step_M]) * self._scale
        self._lip_step = (steps[:, None] * down).astype(np.float32)

    def _mesh(self, face, skin: F32) -> tuple[F32, F32]:  # type: ignore[no-untyped-def]
        rig = self.rig
        under = to_frame(deform_underlay(self._underlay, rig, face), self._scale)
        caps = skin[self._cap_V].copy()
        caps[:, 2] -= CAP_BEHIND * rig.face_width * self._scale
        points = np.concatenate([under, skin, caps])
        # a portrait with open lips has teeth up to where the clean lip begins, whatever the lips do now
        opened = 1.0 if self._lips_apart else min(face.mouth_gap / (0.03 * rig.face_width), 1.0)
        source = self._source
        if opened > 0.0:
            source = source.copy()
            source[self._lip_rows] += self._lip_step * np.float32(opened * opened * (3 - 2 * opened))
        return points, source

    def _rasterise(self, points: F32, source: F32) -> None:
        raster.clear(self._depth)
        raster.raster_map(points, source, self._triangles, self._depth, self._map)

    def _warp(self, out: U8) -> None:
        warped = cv2.remap(self._person, self._map[0], self._map[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        raster.over(warped, self._plate, out)

    def _smooth_edges(self, skin: F32, points: F32, source: F32, out: U8) -> None:
        """Anti-alias lips and lids (see raster.smooth_edges)."""
        rig = self.rig
        for ring in (rig.lip_outer_M, *rig.eye_ring_2E):
            reach = np.ptp(skin[ring, 0]) * EDGE_REACH
            low, high = skin[ring, :2].min(0) - reach, skin[ring, :2].max(0) + reach
            left, top = np.clip(np.floor(low).astype(int), 0, self.size)
            right, bottom = np.clip(np.ceil(high).astype(int) + 1, 0, self.size)
            if right <= left or bottom <= top:
                continue
            fine = points.copy()
            fine[:, 0] = (fine[:, 0] - left + 0.5) * 2 - 0.5
            fine[:, 1] = (fine[:, 1] - top + 0.5) * 2 - 0.5
            depth = np.empty((2 * (bottom - top), 2 * (right - left)), np.float32)
            fine_map = np.empty((2, *depth.shape), np.float32)
            raster.clear(depth)
            raster.raster_map(fine, source, self._face_triangles, depth, fine_map)
            raster.smooth_edges(fine_map, depth, self._person, int(left), int(top), out)

    def _draw_eyes(self, face, skin: F32, out: U8) -> None:  # type: ignore[no-untyped-def]
        rig = self.rig
        patches = []
        for ring in rig.eye_ring_2E:
            polygon = np.ascontiguousarray(skin[ring, :2])
            left, top = np.maximum(np.floor(polygon.min(0)).astype(int), 0)
            right, bottom = np.minimum(np.ceil(polygon.max(0)).astype(int) + 1, self.size)
            cover = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.float32)
            if cover.size:
                raster.coverage(polygon, int(left), int(top), cover)
            patches.append((int(left), int(top), cover))
        lids = np.ascontiguousarray(skin[rig.lid_upper_2L, :2])
        draw_eyes(self._layers, eye_frames(rig, face, self._scale), lids, patches, out)


def lip_slide(rig: FittedRig, step_M: F32) -> tuple[I32, F32]:
    """Skin vertices of the lips and how far (px, down) their texture slides when the mouth opens.

    At the inner edge by `step_M`, at the outer edge not at all, evenly between, so that texture never folds.
    """
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    across = np.array([down[1], -down[0]])
    outline = np.ascontiguousarray(rig.rest_V3[rig.lip_outer_M, :2])
    rest = rig.rest_V3[:, :2]
    half = len(rig.mouth_ring_M) // 2
    lips = (np.arange(half + 1), np.r_[np.arange(half, 2 * half), 0][::-1])  # upper, lower; image left to right
    # lips touch, so position does not tell whose a vertex is: the mesh does
    steps_to = [mesh.rings_from(rig.triangles_T3, len(rest), rig.mouth_ring_M[lip[1:-1]]) for lip in lips]
    rows = np.array(
        [v for v in range(len(rest)) if cv2.pointPolygonTest(outline, _point(rest[v]), True) > -1.0], np.int32
    )
    steps = np.empty(len(rows), np.float32)
    for i, v in enumerate(rows):
        lip = lips[0] if steps_to[0][v] < steps_to[1][v] else lips[1]
        inner, outer = rest[rig.mouth_ring_M[lip]], rest[rig.lip_outer_M[lip]]
        at, y = float(rest[v] @ across), float(rest[v] @ down)
        y_in = float(np.interp(at, inner @ across, inner @ down))
        y_out = float(np.interp(at, outer @ across, outer @ down))
        share = (y_out - y) / (y_out - y_in) if abs(y_out - y_in) > 1e-3 else 0.0
        steps[i] = np.clip(share, 0, 1) * np.interp(at, inner @ across, step_M[lip])
    place = {int(v): i for i, v in enumerate(rows)}
    for m, v in enumerate(rig.mouth_ring_M):
        if int(v) in place:
            steps[place[int(v)]] = float(step_M[m])
    return rows, steps


def _point(xy_2: F32) -> tuple[float, float]:
    return float(xy_2[0]), float(xy_2[1])


class _Timer:
    """Wall time of each stage."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._ms: dict[str, float] = {}

    def __call__(self, name: str, stage: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = stage()
        self._ms[name] = (time.perf_counter() - start) * 1e3
        return result

    def done(self) -> dict[str, float]:
        self._ms["total"] = (time.perf_counter() - self._started) * 1e3
        return self._ms


def _resized(picture: U8, size: int) -> U8:
    if picture.shape[0] == size:
        return np.ascontiguousarray(picture)
    method = cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, (size, size), interpolation=method))
