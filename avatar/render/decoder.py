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
from avatar.motion.limits import limit_head
from avatar.render import raster
from avatar.render.creases_pack import Creases, prepare_creases
from avatar.render.eyes import draw_eyes
from avatar.render.layers import PREFIX, Layers, prepare_layers
from avatar.render.layers_check import check_layers, check_range
from avatar.render.mouth import build_mouth_paint, draw_contact, draw_mouth
from avatar.render.output import FrameFormat
from avatar.render.shading import build_shading
from avatar.render.underlay import flatten_sides
from avatar.render.warp_mesh import build_warp_mesh, to_frame
from avatar.rig.types import FittedRig

if TYPE_CHECKING:
    from avatar.portrait.store import Identity

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

EDGE_REACH: Final = 0.15
"""How far around lips and lids edges are smoothed / width of the ring."""
FOLD_REACH: Final = 0.04
"""Face widths around the face in which folds are looked for."""


class Decoder:
    """Draws one identity's frames. One per session: identities are shared and only read, buffers are the decoder's own,
    so two threads must not use one decoder at once."""

    def __init__(self, identity: Identity, *, size: int = 512, format: FrameFormat | None = None) -> None:
        """size: side of square frames over the portrait's own background, px; `format` says it all instead.

        ValueError for an identity that lacks parts or whose parts are damaged, or a size out of range.
        """
        self.format: Final = format or FrameFormat(size)
        size = self.format.size
        arrays = identity.arrays
        rig = FittedRig.unpack(arrays)
        if any(name.startswith(PREFIX) for name in arrays):
            layers = check_layers(Layers.unpack(arrays), rig)
        else:
            layers = prepare_layers(arrays["rgb_HW3"], arrays["matte_HW"], rig)
        self.size: Final = size
        self.rig: Final = flatten_sides(rig)
        if "safe_range_23" not in arrays:
            raise ValueError("This identity has no 'safe_range_23': prepare the portrait again.")
        self.safe_range_23: Final = check_range(arrays["safe_range_23"])
        """Lowest and highest yaw, pitch, roll that this portrait can show, radians; the head stays inside, softly."""
        self.timings: dict[str, float] = {}
        """ms per stage of the last frame."""
        self.clamped = 0
        """Motion numbers out of range so far, over all frames."""
        self._layers = layers
        self._scale = size / rig.size
        person = _resized(layers.person_HW4, size)
        creases = Creases.unpack(arrays) if "creases.tint_3" in arrays else prepare_creases(layers, rig)
        self._shading = build_shading(self.rig, layers.light_4, creases, person)
        self._person_HW4 = person.copy()  # the face's part is shaded anew for each frame
        middle = self.rig.rest_V3[self.rig.oval_ring, 0]
        self._left = self.format.left(float(middle.min() + middle.max()) / 2 * self._scale)
        plate = self.format.plate(_resized(layers.plate_HW3, size), self._left)
        self._plate_HW3 = np.ascontiguousarray(plate)
        self._mesh = build_warp_mesh(self.rig, layers, self._scale)
        self._paint = build_mouth_paint(self.rig, layers)
        self._depth_HW = np.empty((size, size), np.float32)
        self._map_2HW = np.zeros((2, size, size), np.float32)
        self._frame_HW4 = np.zeros((size, size, 4), np.uint8)
        self._folds_N5 = np.empty((raster.MOST_FOLDS, 5), np.int32)

    def warm_up(self) -> None:
        """Compile or load every kernel (seconds the first time after installing, then milliseconds)."""
        motion = space.neutral()
        for opening in (0.4, 0.0):
            motion[space.INDEX["jawOpen"]] = opening
            self.render(motion)

    def render(self, motion_D: F32, out: U8 | None = None) -> U8:
        """Draw one frame, uint8 `format.shape` (RGB, or RGB and straight opacity), into `out` when given.

        motion_D: float32 [52] (motion/space.py); numbers out of range are clamped and counted in `clamped`.
        The same identity and motion always give the same picture. ValueError for a wrong shape.
        """
        if np.shape(motion_D) != (space.DIM,):
            raise ValueError(f"A motion vector has {space.DIM} numbers; this one has shape {np.shape(motion_D)}.")
        out = self.format.buffer(out)
        frame = self._frame_HW4
        motion, changed = space.clamp(motion_D)
        self.clamped += changed
        motion = limit_head(motion, self.safe_range_23)

        laps = _Laps()
        face = self.rig.deform(motion)
        laps.end("deform")
        self._shading.apply(face, motion, self._person_HW4)
        laps.end("shade")
        skin = to_frame(face.skin_V3, self._scale)
        points, source = self._mesh.place(face, skin)
        laps.end("mesh")
        raster.clear(self._depth_HW)
        raster.raster_map(points, source, self._mesh.triangles_T3, self._depth_HW, self._map_2HW)
        laps.end("raster")
        self._warp(skin, points)
        laps.end("warp")
        self._smooth_edges(skin, points, source, frame)
        laps.end("edges")
        draw_eyes(self._layers, self.rig, face, skin, self._scale, frame)
        laps.end("eyes")
        ring = skin[self.rig.mouth_ring_M]
        draw_mouth(self._paint, self.rig, face, ring, self._scale, frame)
        if self._mesh.lips_apart:
            draw_contact(self.rig, face, ring, self._scale, frame)
        laps.end("mouth")
        shown = frame[:, self._left : self._left + self.format.width]
        if self.format.transparent:
            np.copyto(out, shown)
        else:
            cv2.cvtColor(shown, cv2.COLOR_RGBA2RGB, dst=out)
        self.timings = laps.done()
        return out

    def _warp(self, skin_V3: F32, points_N3: F32) -> None:
        """The person from the map, folds of the face softened, and what stands behind."""
        x0, y0, x1, y1 = raster.pixel_box(points_N3[self._mesh.drawn_rows, :2], 1.0, self.size)
        x0, x1 = max(x0, self._left), min(x1, self._left + self.format.width)
        if x1 > x0 and y1 > y0:
            cv2.remap(
                self._person_HW4,
                self._map_2HW[0, y0:y1, x0:x1],
                self._map_2HW[1, y0:y1, x0:x1],
                cv2.INTER_LINEAR,
                dst=self._frame_HW4[y0:y1, x0:x1],
                borderMode=cv2.BORDER_REPLICATE,
            )
        reach = FOLD_REACH * self.rig.face_width * self._scale
        face_box = np.array(raster.pixel_box(skin_V3[:, :2], reach, self.size), np.int32)
        raster.soften_folds(self._map_2HW, self._depth_HW, self._frame_HW4, face_box, self._folds_N5)
        box = np.array([x0, y0, x1, y1], np.int32)
        if self.format.transparent:
            raster.cut_out(self._frame_HW4, self._depth_HW, box)
        else:
            raster.under(self._frame_HW4, self._depth_HW, box, self._plate_HW3)

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
