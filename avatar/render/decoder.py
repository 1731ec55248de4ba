"""From one motion vector to one picture: the direct warp of the portrait (decoder v1).

Stages, each a pure function of the identity and the motion: deform the rig -> place the mesh -> rasterise where each
pixel comes from -> warp the person over the still background -> smooth edges -> eyes -> mouth. docs/decoder.md tells
the story.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.render import raster
from avatar.render.eyes import draw_eyes
from avatar.render.layers import PREFIX, Layers, prepare_layers
from avatar.render.mouth import build_mouth_paint, draw_contact, draw_mouth
from avatar.render.underlay import flatten_sides
from avatar.render.warp_mesh import build_warp_mesh, to_frame
from avatar.rig.types import FittedRig

if TYPE_CHECKING:
    from avatar.portrait.store import Identity

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

SIZES: Final = (128, 1024)
"""Smallest and largest side of a frame."""
EDGE_REACH: Final = 0.15
"""How far around lips and lids edges are smoothed / width of the ring."""
FOLD_REACH: Final = 0.04
"""Face widths around the face in which folds are looked for."""


class Decoder:
    """Draws one identity's frames. One per session: identities are shared and only read, buffers are the decoder's own,
    so two threads must not use one decoder at once."""

    def __init__(self, identity: Identity, *, size: int = 512) -> None:
        """size: side of the frames, px. ValueError for an identity that lacks its parts, or a size out of range."""
        if not SIZES[0] <= size <= SIZES[1]:
            raise ValueError(f"The frame size must be between {SIZES[0]} and {SIZES[1]} px, not {size}.")
        arrays = identity.arrays
        rig = FittedRig.unpack(arrays)
        if any(name.startswith(PREFIX) for name in arrays):
            layers = Layers.unpack(arrays)
        else:
            layers = prepare_layers(arrays["rgb_HW3"], arrays["matte_HW"], rig)
        self.size: Final = size
        self.rig: Final = flatten_sides(rig)
        self.timings: dict[str, float] = {}
        """ms per stage of the last frame."""
        self.clamped = 0
        """Motion numbers out of range so far, over all frames."""
        self._layers = layers
        self._scale = size / rig.size
        self._person_HW4 = _resized(layers.person_HW4, size)
        self._plate_HW3 = _resized(layers.plate_HW3, size)
        self._mesh = build_warp_mesh(self.rig, layers, self._scale)
        self._paint = build_mouth_paint(self.rig, layers)
        self._depth_HW = np.empty((size, size), np.float32)
        self._map_2HW = np.zeros((2, size, size), np.float32)
        self._warped_HW4 = np.zeros((size, size, 4), np.uint8)

    def warm_up(self) -> None:
        """Compile or load every kernel (seconds the first time after installing, then milliseconds)."""
        motion = space.neutral()
        for opening in (0.4, 0.0):
            motion[space.INDEX["jawOpen"]] = opening
            self.render(motion)

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
        motion, changed = space.clamp(np.asarray(motion_D, np.float32))
        self.clamped += changed

        laps = _Laps()
        face = self.rig.deform(motion)
        laps.end("deform")
        skin = to_frame(face.skin_V3, self._scale)
        points, source = self._mesh.place(face, skin)
        laps.end("mesh")
        raster.clear(self._depth_HW)
        raster.raster_map(points, source, self._mesh.triangles_T3, self._depth_HW, self._map_2HW)
        laps.end("raster")
        self._warp(skin, points, out)
        laps.end("warp")
        self._smooth_edges(skin, points, source, out)
        laps.end("edges")
        draw_eyes(self._layers, self.rig, face, skin, self._scale, out)
        laps.end("eyes")
        ring = skin[self.rig.mouth_ring_M]
        draw_mouth(self._paint, self.rig, face, ring, self._scale, out)
        if self._mesh.lips_apart:
            draw_contact(self.rig, face, ring, self._scale, out)
        laps.end("mouth")
        self.timings = laps.done()
        return out

    def _warp(self, skin_V3: F32, points_N3: F32, out_HW3: U8) -> None:
        """The person from the map, over the plate; folds of the face softened."""
        np.copyto(out_HW3, self._plate_HW3)
        x0, y0, x1, y1 = box = raster.pixel_box(points_N3[self._mesh.drawn_rows, :2], 1.0, self.size)
        if x1 > x0 and y1 > y0:
            cv2.remap(
                self._person_HW4,
                self._map_2HW[0, y0:y1, x0:x1],
                self._map_2HW[1, y0:y1, x0:x1],
                cv2.INTER_LINEAR,
                dst=self._warped_HW4[y0:y1, x0:x1],
                borderMode=cv2.BORDER_REPLICATE,
            )
            raster.over(self._warped_HW4, self._depth_HW, np.array(box, np.int32), out_HW3)
        reach = FOLD_REACH * self.rig.face_width * self._scale
        face_box = np.array(raster.pixel_box(skin_V3[:, :2], reach, self.size), np.int32)
        raster.soften_folds(self._map_2HW, self._depth_HW, self._warped_HW4, face_box, out_HW3)

    def _smooth_edges(self, skin_V3: F32, points_N3: F32, source_N2: F32, out_HW3: U8) -> None:
        """Anti-alias around lips and lids (raster.smooth_edges) from a map of twice the resolution."""
        for ring in (self.rig.lip_outer_M, *self.rig.eye_ring_2E):
            reach = float(np.ptp(skin_V3[ring, 0])) * EDGE_REACH
            left, top, right, bottom = raster.pixel_box(skin_V3[ring, :2], reach, self.size)
            if right <= left or bottom <= top:
                continue
            fine = points_N3.copy()
            fine[:, 0] = (fine[:, 0] - left + 0.5) * 2 - 0.5
            fine[:, 1] = (fine[:, 1] - top + 0.5) * 2 - 0.5
            depth = np.empty((2 * (bottom - top), 2 * (right - left)), np.float32)
            fine_map = np.empty((2, *depth.shape), np.float32)
            raster.clear(depth)
            raster.raster_map(fine, source_N2, self._mesh.face_triangles_T3, depth, fine_map)
            raster.smooth_edges(fine_map, depth, self._person_HW4, left, top, out_HW3)


class _Laps:
    """Wall time of one stage after the other, ms."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._ms: dict[str, float] = {}

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self._ms[stage] = (now - self._last) * 1e3
        self._last = now

    def done(self) -> dict[str, float]:
        return {**self._ms, "total": (time.perf_counter() - self._started) * 1e3}


def _resized(picture: U8, size: int) -> U8:
    if picture.shape[0] == size:
        return np.ascontiguousarray(picture)
    method = cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, (size, size), interpolation=method), np.uint8)
