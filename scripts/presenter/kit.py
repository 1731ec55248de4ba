"""The presenter's head shape: ICT-FaceKit (MIT), a fixed mix of its modes, then sculpted by hand-set numbers.

Kit coordinates everywhere in these scripts: x to the person's left (image right), y up, z towards the viewer, in the
kit's own centimetres (its head is about a quarter larger than life). Arrays: V vertices, Q quads, T triangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The mix: moderate, so that it stays a likely human face, and ours alone; nobody was fitted or looked at.
IDENTITY = {0: 1.75, 1: 0.25, 2: -0.8, 4: 0.35, 5: 1.15, 6: 0.3, 9: 0.35}
EXPRESSION = {
    "mouthSmile": 0.34,
    "mouthDimple": 0.08,
    "cheekSquint": 0.15,
    "eyeBlink": 0.10,
    "eyeSquint": 0.10,
    "mouthShrugLower": 0.14,
}

SKIN_END = 14062  # face, head and neck, mouth socket, eye sockets
EYES = (21451, 24591)

LIP_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
LIP_INNER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
# outer corner to inner corner; [0] the person's right eye (image left)
LID_UPPER = [[33, 246, 161, 160, 159, 158, 157, 173, 133], [263, 466, 388, 387, 386, 385, 384, 398, 362]]
LID_LOWER = [[33, 7, 163, 144, 145, 153, 154, 155, 133], [263, 249, 390, 373, 374, 380, 381, 382, 362]]


@dataclass
class Head:
    """Sculpted head. `vertices_V3` cm; `faces` quads or triangles of the skin only; `marks_N3` the 468 landmarks."""

    vertices_V3: Floats
    faces: list[tuple[int, ...]]
    marks_N3: Floats
    eye_centre_23: Floats  # [0] the person's right eye
    eye_radius: float


def load_head(folder: Path) -> Head:
    """The presenter's head from a folder with ict_facekit.npz and mediapipe468_to_ict.npz."""
    kit = np.load(folder / "ict_facekit.npz")
    vertices = kit["neutral"].astype(np.float64)
    for mode, amount in IDENTITY.items():
        vertices += amount * kit["identity"][mode].astype(np.float64)
    names = [str(name) for name in kit["expression_names"]]
    for name, amount in EXPRESSION.items():
        for index in [i for i, known in enumerate(names) if known in (name, f"{name}_L", f"{name}_R")]:
            vertices += amount * kit["expression"][index].astype(np.float64)
    index = np.load(folder / "mediapipe468_to_ict.npz")["ict_vertex"].astype(np.int64)

    eyeball = vertices[EYES[0] : EYES[1]]
    centres = np.stack([fit_sphere(eyeball[eyeball[:, 0] * side > 0])[0] for side in (-1.0, 1.0)])
    vertices = sculpt(vertices, centres, vertices[index])
    eyeball = vertices[EYES[0] : EYES[1]]
    spheres = [fit_sphere(eyeball[eyeball[:, 0] * side > 0]) for side in (-1.0, 1.0)]

    triangles = kit["triangles"].astype(np.int64)
    skin = triangles[(triangles < SKIN_END).all(axis=1)]
    return Head(
        vertices_V3=vertices[:SKIN_END],
        faces=pair_quads(skin),
        marks_N3=vertices[index],
        eye_centre_23=np.stack([sphere[0] for sphere in spheres]),
        eye_radius=float(np.mean([sphere[1] for sphere in spheres])),
    )


def fit_sphere(points_P3: Floats) -> tuple[Floats, float]:
    """Least-squares sphere of the back of an eyeball (the cornea bulges and is left out). Returns centre, radius."""
    points = points_P3[points_P3[:, 2] < np.quantile(points_P3[:, 2], 0.6)]
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def pair_quads(triangles_T3: Ints) -> list[tuple[int, ...]]:
    """Undo the kit's triangulation: neighbours in the list that share an edge were one quad (smoother subdivision)."""
    faces: list[tuple[int, ...]] = []
    i = 0
    while i < len(triangles_T3):
        a = [int(v) for v in triangles_T3[i]]
        if i + 1 < len(triangles_T3):
            b = [int(v) for v in triangles_T3[i + 1]]
            extra = [v for v in b if v not in a]
            shared = [v for v in a if v in b]
            if len(shared) == 2 and len(extra) == 1:
                lone = a.index(next(v for v in a if v not in shared))
                faces.append((a[lone], a[(lone + 1) % 3], extra[0], a[(lone + 2) % 3]))
                i += 2
                continue
        faces.append((a[0], a[1], a[2]))
        i += 1
    return faces


def falloff(distance: Floats, inner: float, outer: float) -> Floats:
    """1 within `inner`, 0 beyond `outer`, smooth between."""
    t = np.clip((outer - distance) / (outer - inner), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def sculpt(vertices_V3: Floats, eyes_23: Floats, marks_N3: Floats) -> Floats:
    """A little stylisation: larger eyes, fuller lips, a finer nose and a softer jaw than the kit's mean."""
    v = vertices_V3.copy()
    for centre in eyes_23:
        offset = v - centre
        weight = falloff(np.hypot(offset[:, 0], offset[:, 1]), 2.0, 4.6) * falloff(-offset[:, 2], 2.5, 6.0)
        v += offset * (np.array([0.085, 0.09, 0.085]) * weight[:, None])
    for marks in ((161, 160), (388, 387)):  # the upper lid's outer half, lower: rounder eyes are not found exactly
        offset = v - marks_N3[list(marks)].mean(axis=0)
        v[:, 1] -= 0.20 * np.exp(-((offset[:, 0] / 0.95) ** 2) - (offset[:, 1] / 0.75) ** 2) * (offset[:, 2] > -2)
    mouth = (marks_N3[13] + marks_N3[14]) / 2
    offset = v - mouth
    weight = np.exp(-((offset[:, 0] / 2.6) ** 4) - (offset[:, 1] / 1.3) ** 2) * falloff(-offset[:, 2], 1.5, 4.0)
    v[:, 1] += offset[:, 1] * 0.10 * weight
    v[:, 2] += 0.08 * np.exp(-((offset[:, 0] / 1.6) ** 2) - (offset[:, 1] / 0.9) ** 2) * weight
    tip = marks_N3[1]
    offset = v - tip
    weight = np.exp(-((offset[:, 1] / 2.0) ** 2)) * falloff(np.abs(offset[:, 0]), 1.4, 3.2)
    weight *= falloff(-offset[:, 2], 2.0, 6.0)
    v[:, 0] -= offset[:, 0] * 0.10 * weight
    near = np.exp(-((np.linalg.norm(offset, axis=1) / 1.5) ** 2))
    v[:, 1] -= 0.16 * near
    v[:, 2] -= 0.12 * near
    return v
