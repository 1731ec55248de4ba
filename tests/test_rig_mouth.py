"""The mouth's inside: sound meshes, teeth where teeth are, behind the lips and inside the cheeks."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.rig.mouth import LOWER, UPPER
from avatar.rig.types import FittedRig, Part
from tests.rig_samples import KINDS, motion, sample_rig


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest) -> FittedRig:
    return sample_rig(request.param)


def test_arrays_belong_together(rig: FittedRig) -> None:
    mouth = rig.mouth
    count = len(mouth.vertices_P3)
    assert mouth.triangles_Q3.min() >= 0 and mouth.triangles_Q3.max() < count
    assert set(mouth.part_P.tolist()) == {int(p) for p in Part}
    for corner in range(3):
        assert (mouth.part_P[mouth.triangles_Q3[:, corner]] == mouth.part_Q).all()
    assert np.allclose(np.linalg.norm(mouth.normals_P3, axis=1), 1.0, atol=1e-3)
    assert mouth.occlusion_P.min() >= 0.0 and mouth.occlusion_P.max() <= 1.0
    assert mouth.jaw_P.min() >= 0.0 and mouth.jaw_P.max() <= 1.0
    assert (mouth.jaw_P[mouth.part_P == Part.TEETH_UPPER] == 0).all()
    assert (mouth.jaw_P[mouth.part_P == Part.TEETH_LOWER] == 1).all()


def test_each_arch_is_one_strip_whose_edge_is_cut_out_tooth_by_tooth(rig: FittedRig) -> None:
    mouth = rig.mouth
    assert mouth.uv_P2.min() >= 0.0 and mouth.uv_P2.max() <= 1.0
    for part, arch in ((Part.TEETH_UPPER, UPPER), (Part.TEETH_LOWER, LOWER)):
        rows = mouth.part_P == part
        edge = mouth.vertices_P3[rows][mouth.uv_P2[rows, 1] == 1.0]
        assert len(edge) == 12 * 6 + 1
        u = mouth.uv_P2[rows][mouth.uv_P2[rows, 1] == 1.0, 0]
        front = np.abs(u[:-1] - 0.5) < 0.35
        assert (np.diff(u) > 0).all() and (np.diff(edge[:, 0])[front] > 0).all()  # from the person's right to left
        along = np.linspace(-arch.half_length, arch.half_length, 2001)
        cut = arch.towards_edge * (arch.edge_at(along) + arch.spee * arch.at(along)[0] ** 2)
        notches = (np.diff(np.sign(np.diff(cut))) > 0).sum()
        assert notches >= 7  # between neighbours


def test_teeth_lie_behind_the_lips_and_bite(rig: FittedRig) -> None:
    mouth, part = rig.mouth, rig.mouth.part_P
    to_face = rig.R_source_33  # canonical -> image; its transpose brings px back to head axes

    def head_axes(points: np.ndarray) -> np.ndarray:
        return points @ to_face

    lips = head_axes(rig.neutral_V3[rig.lip_upper_L[8:13]])
    upper, lower = (head_axes(mouth.vertices_P3[part == p]) for p in (Part.TEETH_UPPER, Part.TEETH_LOWER))
    cm = rig.face_width / 14.0
    assert upper[:, 2].max() < lips[:, 2].max()  # no tooth stands out of the face
    assert 0.0 < upper[:, 1].max() - lips[:, 1].mean() < 0.6 * cm  # edges just below the lips' line
    front = lower[lower[:, 2] > lower[:, 2].max() - 0.3 * cm]
    assert front[:, 1].min() < upper[:, 1].max()  # overbite
    assert lower[:, 2].max() < upper[:, 2].max()  # overjet


def test_sealed_mouth_hides_everything_and_open_mouth_shows_upper_teeth(rig: FittedRig) -> None:
    assert rig.deform(motion(jawOpen=0.2, mouthClose=0.2)).mouth_gap < 0.02
    face = rig.deform(motion(jawOpen=0.3))
    edge = face.mouth_P3[rig.mouth.part_P == Part.TEETH_UPPER][:, 1].max()
    lip = face.skin_V3[rig.lip_upper_L[10], 1]
    assert edge > lip  # some enamel under the upper lip
    assert face.mouth_gap > 0.04 * rig.face_width


def test_rounded_lips_cover_more_of_the_teeth_than_spread_ones() -> None:
    rig = sample_rig("closed")
    upper = rig.mouth.part_P == Part.TEETH_UPPER

    def shown(**channels: float) -> float:
        face = rig.deform(motion(**channels))
        return float(face.mouth_P3[upper][:, 1].max() - face.skin_V3[rig.lip_upper_L[10], 1])

    assert shown(mouthPucker=0.8, jawOpen=0.1) < shown(mouthSmile=0.6, mouthUpperUp=0.3, jawOpen=0.1)
