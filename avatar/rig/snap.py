"""What the portrait shows at each landmark, and moving the mesh exactly there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.rig import lids, mesh
from avatar.rig.contact import meet
from avatar.rig.spread import displace

F64 = NDArray[np.float64]

_LID_ROWS: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
    226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
)  # fmt: skip
"""Landmarks of the person's right eye in the order of the first 48 points of MediaPipe's iris model."""
OPEN_FROM: Final = 0.03
"""Lips count as closed when their landmarks are nearer than this share of the mouth's width."""
OPEN_SURELY: Final = 0.09
"""And as open from here on; between, the picture decides (`_parted`)."""
BLINK_BELOW: Final = 0.17
"""Lid opening / eye width under which an eye counts as partly closed."""
LOWER_LID_OUT: Final = 0.02
"""The lower lid's line moves out by this share of the eye's width: white left on the skin would show in a blink."""
MAX_BLINK: Final = 0.7


@dataclass(frozen=True)
class Observed:
    """A portrait's landmarks, cleaned: lids from the eye model, closed lips on their dark line."""

    landmarks_N3: F64
    """px [468, 3]; z towards the viewer, a rough hint."""
    weight_N: F64
    """Trust in each landmark for the model fit."""
    lips_open: bool
    blink_2: F64
    """0..MAX_BLINK, how far each eye is closed in the portrait (person's right eye first)."""
    down_2: NDArray[np.float32]
    """Unit vector from the brow to the chin in the image."""


def observe(rgb_HW3: NDArray[np.uint8], landmarks_N3: F64, eye_contour_2K3: F64) -> Observed:
    """Clean the detector's landmarks [468, 3] with the eye model's contours [2, 71, 3] and the picture itself."""
    points = landmarks_N3.copy()
    down = points[152, :2] - points[10, :2]
    down /= np.linalg.norm(down)
    for eye in range(2):
        _use_eye_model(points, eye_contour_2K3[eye], eye, down)
    upper, lower = list(mesh.LIP_UPPER), list(mesh.LIP_LOWER)
    width = float(np.linalg.norm(points[291, :2] - points[61, :2]))
    gaps = (points[lower, :2] - points[upper, :2]) @ down
    share = float(gaps[2:-2].mean()) / max(width, 1e-6)
    lips_open = share > OPEN_SURELY or (share > OPEN_FROM and _parted(rgb_HW3, points, down, width))
    if not lips_open:
        line = _dark_line(rgb_HW3, (points[upper, :2] + points[lower, :2]) / 2, down, _room(points, down))
        points[upper, :2] = points[lower, :2] = line
    blink = np.array([_blink(points, eye, down) for eye in range(2)])
    return Observed(points, _weights(), lips_open, blink, down.astype(np.float32))


def snap(topology: mesh.Topology, model_V3: F64, observed: Observed) -> F64:
    """Move the model onto the landmarks (xy; depth stays the model's), the vertices between them smoothly along."""
    handles: list[NDArray[Any]] = [np.arange(468)]
    wanted: list[F64] = [observed.landmarks_N3[:, :2] - model_V3[:468, :2]]
    for line in _lines(topology):  # split vertices of lips and lids lie on a curve through the landmarks
        target = observed.landmarks_N3[line[::2], :2]
        handles.append(line[1::2])
        wanted.append(_between(target) - model_V3[line[1::2], :2])
    handle, first = np.unique(np.concatenate(handles), return_index=True)
    move = np.concatenate(wanted)[first]
    everywhere = np.ones(len(model_V3), bool)
    out = model_V3.copy()
    out[:, :2] += displace(model_V3, topology.triangles_T3, handle, move, everywhere)
    out = unfold(topology, model_V3, out)
    upper, lower = topology.lip_upper_L, topology.lip_lower_L
    out[upper], out[lower] = meet(out[upper], out[lower], observed.down_2, np.zeros(len(upper), np.float32))
    for top, bottom in zip(topology.lid_upper_2L, topology.lid_lower_2L, strict=True):
        out[top], out[bottom] = meet(out[top], out[bottom], observed.down_2, np.zeros(len(top), np.float32))
    return out


def unfold(topology: mesh.Topology, model_V3: F64, snapped_V3: F64, rounds: int = 12) -> F64:
    """Relax the snap where it turned a visible triangle over: there the landmarks contradict each other."""
    triangles = topology.triangles_T3
    facing = signed_area(model_V3, triangles)
    move = snapped_V3 - model_V3
    keep = np.unique(np.concatenate(_lines(topology)))
    smooth = mesh.adjacency(triangles, len(model_V3))
    degree = np.asarray(smooth.sum(1)).ravel()
    for _ in range(rounds):
        area = signed_area(model_V3 + move, triangles)
        bad = np.unique(triangles[(np.sign(area) != np.sign(facing)) & (facing > 0)])
        bad = np.setdiff1d(bad, keep)
        if not len(bad):
            break
        move[bad] = 0.5 * move[bad] + 0.5 * (smooth[bad] @ move) / degree[bad, None]
    return model_V3 + move


def signed_area(vertices_V3: NDArray[Any], triangles_T3: NDArray[np.integer[Any]]) -> F64:
    """Twice the area of each triangle on the screen; positive when it faces the viewer (y down)."""
    a, b, c = (vertices_V3[triangles_T3[:, i], :2] for i in range(3))
    return np.asarray(-((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]), np.float64)


def close_lips(topology: mesh.Topology, vertices_V3: F64, down_2: NDArray[np.float32]) -> F64:
    """Bring the lips together (each goes half the way), spread over the lips."""
    upper, lower = topology.lip_upper_L, topology.lip_lower_L
    ring = topology.mouth_ring_M
    move = np.zeros_like(vertices_V3)
    new_upper, new_lower = meet(vertices_V3[upper], vertices_V3[lower], down_2, np.ones(len(upper), np.float32))
    move[upper], move[lower] = new_upper - vertices_V3[upper], new_lower - vertices_V3[lower]
    near = mesh.rings_from(topology.triangles_T3, len(vertices_V3), ring) <= 10
    return vertices_V3 + displace(vertices_V3, topology.triangles_T3, ring, move[ring], near)


def open_lids(topology: mesh.Topology, vertices_V3: F64, blink_2: F64) -> F64:
    """Undo a partial blink of the portrait: lids go away from their closing line by 1 / (1 - blink)."""
    out = vertices_V3.copy()
    for eye in range(2):
        if blink_2[eye] <= 0.0:
            continue
        upper, lower = topology.lid_upper_2L[eye], topology.lid_lower_2L[eye]
        closing = lids.closing_line(vertices_V3[upper], vertices_V3[lower])
        ring = topology.eye_ring_2E[eye]
        move = np.zeros_like(out)
        for line in (upper, lower):
            move[line] = (vertices_V3[line] - closing) * (blink_2[eye] / (1.0 - blink_2[eye]))
        near = mesh.rings_from(topology.triangles_T3, len(out), ring) <= lids.REACH
        out += displace(vertices_V3, topology.triangles_T3, ring, move[ring], near)
    return out


def _use_eye_model(points: F64, contour_K3: F64, eye: int, down: F64) -> None:
    """Take lids and their folds from the eye model, unless it disagrees wildly (covered or tiny eye)."""
    rows = np.array(_LID_ROWS) if eye == 0 else mesh_mirror()[list(_LID_ROWS)]
    corners = points[[mesh.LID_UPPER[eye][0], mesh.LID_UPPER[eye][-1]], :2]
    width = float(np.linalg.norm(corners[1] - corners[0]))
    shift = contour_K3[: len(rows), :2] - points[rows, :2]
    if not np.isfinite(shift).all() or np.linalg.norm(shift, axis=1).mean() > 0.2 * width:
        return
    share = np.where(np.arange(len(rows)) < 32, 1.0, 0.5)  # fade into the face model's own rows
    points[rows, :2] += share[:, None] * shift
    arch = np.sin(np.linspace(0.0, np.pi, len(mesh.LID_LOWER[eye])))[:, None]
    points[list(mesh.LID_LOWER[eye]), :2] += LOWER_LID_OUT * width * arch * down


def mesh_mirror() -> NDArray[np.int32]:
    """Mirror partner of each landmark."""
    from avatar.rig.basis import load

    return load().topology.mirror_V[:468]


def _blink(points: F64, eye: int, down: F64) -> float:
    upper, lower = list(mesh.LID_UPPER[eye]), list(mesh.LID_LOWER[eye])
    width = float(np.linalg.norm(points[upper[-1], :2] - points[upper[0], :2]))
    opening = float(((points[lower, :2] - points[upper, :2]) @ down)[2:-2].mean()) / max(width, 1e-6)
    return float(np.clip(1.0 - opening / BLINK_BELOW, 0.0, MAX_BLINK))


def _parted(rgb_HW3: NDArray[np.uint8], points: F64, down: F64, width: float) -> bool:
    """Whether something other than lip lies between nearly closed lips: teeth (pale) or a dark gap, not just a line."""
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb_HW3, (0, 0), 0.6), cv2.COLOR_RGB2LAB).astype(np.float32)

    def look(at: F64) -> NDArray[np.float32]:
        x, y = (np.ascontiguousarray(at[..., axis], np.float32) for axis in (0, 1))
        return np.asarray(cv2.remap(lab, x, y, cv2.INTER_LINEAR).reshape(*at.shape[:-1], 3), np.float32)

    inner = points[[mesh.LIP_UPPER, mesh.LIP_LOWER], :2]
    outer = points[[mesh.LIP_OUTER_UPPER, mesh.LIP_OUTER_LOWER], :2]
    lip = np.median(look((inner + outer)[:, 3:-3] / 2).reshape(-1, 3), 0)
    upper, lower = inner[0, 2:-2], inner[1, 2:-2]
    seen = look(upper + np.linspace(-0.25, 1.25, 61)[:, None, None] * (lower - upper))
    step = ((lower - upper) @ down) * 1.5 / 61 / width  # of the mouth's width
    pale = (seen[..., 1] < lip[1] - 7) & (seen[..., 0] > 0.8 * lip[0])
    dark = seen[..., 0] < 0.6 * lip[0]
    teeth, other = (float((mask.sum(0) * step).mean()) for mask in (pale, pale | dark))
    return teeth > 0.01 or other > 0.05


def _room(points: F64, down: F64) -> float:
    """How far (px) the line between closed lips may lie from the landmarks: a share of the thinner lip."""
    upper = float((points[13, :2] - points[0, :2]) @ down)
    lower = float((points[17, :2] - points[14, :2]) @ down)
    return float(np.clip(0.45 * min(upper, lower), 1.0, 6.0))


def _dark_line(rgb_HW3: NDArray[np.uint8], line_L2: F64, down: F64, room: float) -> F64:
    """Follow the darkest path near a line between closed lips (dynamic programming over half-pixel steps)."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb_HW3, cv2.COLOR_RGB2GRAY), (0, 0), 0.8).astype(np.float32)
    fine = _curve(line_L2, 4)
    steps = np.arange(-round(2 * room), round(2 * room) + 1) / 2.0
    sample = fine[:, None] + steps[None, :, None] * down
    value = cv2.remap(
        grey, sample[..., 0].astype(np.float32), sample[..., 1].astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    contrast = (value - value.mean(1, keepdims=True)) / (value.std() + 2.0)
    end = np.minimum(np.arange(len(fine)), np.arange(len(fine))[::-1]) / (len(fine) / 8)
    cost = contrast * np.clip(end, 0.0, 1.0)[:, None] + 0.25 * (steps / room) ** 2
    cost += 4.0 * np.clip(1.0 - end, 0.0, 1.0)[:, None] * (steps / room) ** 2  # corners stay with the landmarks
    jump = 0.8 * (steps[:, None] - steps[None, :]) ** 2
    total, back = cost[0], []
    for row in cost[1:]:
        through = total[None, :] + jump
        back.append(through.argmin(1))
        total = through.min(1) + row
    path = [int(total.argmin())]
    for pointer in reversed(back):
        path.append(int(pointer[path[-1]]))
    offset = steps[path[::-1]]
    offset = np.convolve(np.pad(offset, 4, mode="edge"), np.ones(9) / 9, mode="valid")
    return np.asarray((fine + offset[:, None] * down)[::4])


def _curve(points_N2: F64, parts: int) -> F64:
    """Catmull-Rom curve through points, `parts` pieces between neighbours."""
    padded = np.concatenate([2 * points_N2[:1] - points_N2[1:2], points_N2, 2 * points_N2[-1:] - points_N2[-2:-1]])
    out = []
    for i in range(len(points_N2) - 1):
        p0, p1, p2, p3 = padded[i : i + 4]
        t = np.arange(parts)[:, None] / parts
        out.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.concatenate([*out, points_N2[-1:]])


def _between(points_N2: F64) -> F64:
    """Points of the curve halfway between neighbours."""
    return _curve(points_N2, 2)[1::2]


def _lines(topology: mesh.Topology) -> list[NDArray[np.int32]]:
    return [topology.lip_upper_L, topology.lip_lower_L, *topology.lid_upper_2L, *topology.lid_lower_2L]


def _weights() -> F64:
    from avatar.rig.basis import load

    topology = load().topology
    weight = np.ones(468)
    weight[topology.oval_ring[topology.oval_ring < 468]] = 0.35
    front = load().neutral_V3[:468]
    weight[front[:, 1] < -6.5] *= 0.5  # forehead: hair
    for line in _lines(topology):
        weight[line[line < 468]] = 1.5
    return weight
