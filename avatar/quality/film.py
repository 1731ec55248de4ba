"""Rendered frames of one portrait, with where the rig says that everything is: what the checks look at.

`scripts/record_frames.py` makes it, with this or an older checkout's decoder. All geometry is in frame px (x right, y
down, centres on integers). Shape suffixes: V skin vertices, T triangles, N points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Film:
    """Frames by name, and geometry."""

    pictures: dict[str, U8]
    """uint8 [H, W, 3] RGB."""
    skins: dict[str, F32]
    """px [V, 3], the skin of each frame."""
    portrait_HW3: U8
    """The framed portrait in the frames' size."""
    matte_HW: F32
    """0..1, the person in the portrait."""
    rest_V3: F32
    """px, the skin on the portrait."""
    triangles_T3: I32
    rings: dict[str, I32]
    """Vertex loops: `mouth`, `lips` (outer edge), `eye0`, `eye1`, `oval`; lines `upper`, `lower` (the inner lips, image
    left to right)."""
    landmarks_468: I32
    face_width: float
    """px."""
    repainted: dict[str, U8] = field(default_factory=dict)
    """Some frames again, with the mouth's inside painted green: whatever differs shows the inside."""
    tears: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Per frame, of the decoder's own map where it has one: share of the person's pixels that are (torn, smeared)."""

    @classmethod
    def load(cls, path: Path) -> Film:
        """What scripts/record_frames.py wrote."""
        with np.load(path) as file:
            names = [str(name) for name in file["names"]]
            return cls(
                pictures=dict(zip(names, file["pictures"], strict=True)),
                skins=dict(zip(names, file["skins"], strict=True)),
                portrait_HW3=file["portrait"],
                matte_HW=file["matte"],
                rest_V3=file["rest"],
                triangles_T3=file["triangles"],
                rings={name.removeprefix("ring_"): file[name] for name in file.files if name.startswith("ring_")},
                landmarks_468=file["landmarks"],
                face_width=float(file["face_width"]),
                repainted=dict(zip([str(n) for n in file["repaint"]], file["repainted"], strict=True)),
                tears=dict(zip(names, file["tears"], strict=True)),
            )

    @property
    def size(self) -> int:
        return int(self.portrait_HW3.shape[0])

    def ring(self, name: str, frame: str | None = None) -> F32:
        """px [N, 2] of a vertex loop in a frame, or in the portrait."""
        points = self.rest_V3 if frame is None else self.skins[frame]
        return np.ascontiguousarray(points[self.rings[name], :2])

    def inside(self, name: str, frame: str | None = None) -> Mask:
        """Pixels inside a vertex loop."""
        return polygon(self.ring(name, frame), self.size)

    def to_portrait(self, frame: str) -> tuple[U8, Mask]:
        """The frame carried back onto the portrait by the rig alone, and where that is possible (skin turned to the
        viewer; without eyes, mouth and their edges)."""
        skin = self.skins[frame]
        turned = _area(skin[:, :2], self.triangles_T3) * _area(self.rest_V3[:, :2], self.triangles_T3) < 0
        facing = self.triangles_T3[~turned]
        map_HW2, there = carry(self.rest_V3, skin[:, :2], facing, self.size)
        back = cv2.remap(
            self.pictures[frame], map_HW2[..., 0], map_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(back, np.uint8), there & self.plain_skin

    def from_portrait(self, frame: str) -> tuple[U8, Mask]:
        """The portrait carried into the frame by the rig alone, and where there is skin."""
        map_HW2, there = carry(self.skins[frame], self.rest_V3[:, :2], self.triangles_T3, self.size)
        out = cv2.remap(
            self.portrait_HW3, map_HW2[..., 0], map_HW2[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(out, np.uint8), there

    @cached_property
    def plain_skin(self) -> Mask:
        """Portrait px of the face away from eyes, lips and the face's rim, where a frame must show the portrait."""
        out = self.inside("oval")
        reach = max(1, round(0.03 * self.face_width))
        out = _shrunk(out, 2 * reach)
        for name in ("eye0", "eye1", "lips"):
            out &= ~_grown(self.inside(name), 2 * reach if name == "lips" else 3 * reach)
        return np.asarray(out)

    def eye_nose(self) -> Mask:
        """Portrait px of brows, eyes' surroundings and nose: what says who it is and does not speak."""
        points = np.concatenate([self.ring("eye0"), self.ring("eye1")])
        left, top = points.min(0) - [0.08 * self.face_width, 0.14 * self.face_width]
        right = points[:, 0].max() + 0.08 * self.face_width
        bottom = self.ring("lips")[:, 1].min() - 0.04 * self.face_width
        out = np.zeros((self.size, self.size), bool)
        out[max(0, int(top)) : int(bottom), max(0, int(left)) : int(right)] = True
        return out & self.plain_skin

    def box(self, name: str, frames: list[str], reach: float) -> tuple[slice, slice]:
        """Rows and columns around a vertex loop over all these frames; reach in face widths."""
        points = np.concatenate([self.ring(name, frame) for frame in frames])
        low = np.floor(points.min(0) - reach * self.face_width).astype(int)
        high = np.ceil(points.max(0) + reach * self.face_width).astype(int)
        (x0, y0), (x1, y1) = np.clip(low, 0, self.size), np.clip(high, 0, self.size)
        return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def polygon(points_N2: NDArray[Any], size: int) -> Mask:
    """Pixels whose centre lies inside a closed polygon (to 1/16 px)."""
    out = np.zeros((size, size), np.uint8)
    cv2.fillPoly(out, [np.rint(points_N2 * 16).astype(np.int32)], 1, shift=4)
    return out > 0


def grown(mask_HW: Mask, px: int) -> Mask:
    """A mask and what lies within `px` of it."""
    return _grown(mask_HW, px)


def shrunk(mask_HW: Mask, px: int) -> Mask:
    """What of a mask lies deeper than `px` inside."""
    return _shrunk(mask_HW, px)


def carry(points_N3: F32, values_N2: F32, triangles_T3: I32, size: int) -> tuple[F32, Mask]:
    """Interpolate values over a mesh, nearest (largest z) first: float32 [size, size, 2], and where there is mesh."""
    out = np.zeros((size, size, 2), np.float32)
    depth = np.full((size, size), -np.inf, np.float32)
    _scan(
        np.ascontiguousarray(points_N3, np.float32),
        np.ascontiguousarray(values_N2, np.float32),
        np.ascontiguousarray(triangles_T3, np.int32),
        depth,
        out,
    )
    return out, np.isfinite(depth)


def _grown(mask_HW: Mask, px: int) -> Mask:
    return np.asarray(cv2.dilate(mask_HW.astype(np.uint8), _disc(px)) > 0)


def _shrunk(mask_HW: Mask, px: int) -> Mask:
    return np.asarray(cv2.erode(mask_HW.astype(np.uint8), _disc(px)) > 0)


def _disc(px: int) -> U8:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1)), np.uint8)


def _area(points_V2: F32, triangles_T3: I32) -> F32:
    """Twice the signed area of each triangle, px^2."""
    a, b, c = (points_V2[triangles_T3[:, i]] for i in range(3))
    return np.asarray((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))


@njit(cache=True, nogil=True)
def _scan(points_N3: F32, values_N2: F32, triangles_T3: I32, depth_HW: F32, out_HW2: F32) -> None:
    """Scan conversion by barycentric coordinates; both windings, largest z wins."""
    height, width = depth_HW.shape
    for t in range(triangles_T3.shape[0]):
        i, j, k = triangles_T3[t]
        ax, ay, az = points_N3[i]
        bx, by, bz = points_N3[j]
        cx, cy, cz = points_N3[k]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(width - 1, int(np.floor(max(ax, bx, cx))))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(height - 1, int(np.floor(max(ay, by, cy))))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                u = 1.0 - v - w
                if u < -1e-4 or v < -1e-4 or w < -1e-4:
                    continue
                z = u * az + v * bz + w * cz
                if z > depth_HW[y, x]:
                    depth_HW[y, x] = z
                    out_HW2[y, x, 0] = u * values_N2[i, 0] + v * values_N2[j, 0] + w * values_N2[k, 0]
                    out_HW2[y, x, 1] = u * values_N2[i, 1] + v * values_N2[j, 1] + w * values_N2[k, 1]
