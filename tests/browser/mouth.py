"""How far a mouth is open in a picture, seen by the landmark model that also reads portraits."""

from __future__ import annotations

import numpy as np

from avatar.portrait.analyse import find_faces
from avatar.portrait.image import load_image
from avatar.portrait.models import load_models

UPPER_LIP, LOWER_LIP, CORNERS = 13, 14, (61, 291)
"""Inner lips in the middle, and the corners of the mouth, in the 468 landmarks."""


def mouth_gap(jpeg: bytes) -> float:
    """Distance of the inner lips over the width of the mouth; 0 is closed."""
    faces = find_faces(load_models(), load_image(jpeg))
    assert faces, "there is a face in every picture"
    points_N3 = faces[0].landmarks.points_N3
    gap = np.linalg.norm(points_N3[UPPER_LIP] - points_N3[LOWER_LIP])
    return float(gap / np.linalg.norm(points_N3[CORNERS[0]] - points_N3[CORNERS[1]]))
