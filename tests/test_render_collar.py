"""The collar is found where neck ends and clothes begin."""

from __future__ import annotations

import numpy as np

from avatar.render.collar import collar_line
from avatar.render.layers import Layers
from tests.render_samples import identity, rig


def test_the_presenters_collar() -> None:
    person = Layers.unpack(identity().arrays).person_HW4
    found = collar_line(person, rig())
    assert found is not None
    across, down = found
    assert (np.diff(across) > 0).all()
    assert np.ptp(down) < 0.25 * rig().face_width
    axis = rig().R_source_33[:2, 1] / np.linalg.norm(rig().R_source_33[:2, 1])
    points = across[:, None] * np.array([axis[1], -axis[0]]) + down[:, None] * axis
    for x, y in points[8:-8].astype(int):
        above, below = (person[y + dy, x, :3].astype(int) for dy in (-14, 14))
        assert above[0] > above[2] + 15, "skin is red"
        assert below[0] < below[2], "the shirt is teal"


def test_no_collar_no_answer() -> None:
    person = Layers.unpack(identity().arrays).person_HW4.copy()
    grey = person.copy()
    grey[..., :3] = person[..., :3].mean(-1, keepdims=True)
    assert collar_line(grey, rig()) is None
    skin = person.copy()
    skin[..., :3] = np.median(person[230:300, 220:290, :3].reshape(-1, 3), axis=0)
    assert collar_line(skin, rig()) is None
    nobody = person.copy()
    nobody[..., 3] = 0
    assert collar_line(nobody, rig()) is None
