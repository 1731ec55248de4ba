"""The mouth's inside: sound meshes, teeth where teeth are, behind the lips and inside the cheeks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.rig.contact import gap
from avatar.rig.lips import BITE_HIDDEN, BITE_SHOWN, Lips, labiodental, lip_seal
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


unit = st.floats(0.0, 1.0, width=32)


def lines(rig: FittedRig, face_skin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heights of the lips and of the upper teeth's edge along the face's down direction, middle third."""
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    across = np.array([down[1], -down[0]])
    rows = (rig.mouth.part_P == Part.TEETH_UPPER) & (rig.mouth.uv_P2[:, 1] == 1.0)
    edge = rig.mouth.vertices_P3[rows][20:-20, :2]
    upper, lower = face_skin[rig.lip_upper_L[7:14], :2], face_skin[rig.lip_lower_L[7:14], :2]
    return upper @ down, lower @ down, np.interp(lower @ across, edge @ across, edge @ down)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.floats(0.55, 1.0), st.floats(0.0, 0.18), unit, unit)
def test_f_and_v_rest_the_lower_lip_on_the_upper_teeth(
    kind: str, roll: float, jaw: float, raised: float, smile: float
) -> None:
    rig = sample_rig(kind)
    face = rig.deform(motion(mouthRollLower=roll, jawOpen=jaw, mouthUpperUp=0.5 * raised, mouthSmile=0.3 * smile))
    upper, lower, edge = lines(rig, face.skin_V3)
    width = rig.face_width
    assert np.abs(lower - (edge - BITE_HIDDEN * width)).max() < 0.008 * width  # the lip at the edge, covering it
    assert (edge - upper)[2:5].min() > 0.6 * BITE_SHOWN * width  # teeth show above it
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    assert gap(face.skin_V3[rig.lip_upper_L], face.skin_V3[rig.lip_lower_L], down).min() > -1e-2


def test_only_a_rolled_in_lower_lip_alone_bites() -> None:
    def bite(**channels: float) -> float:
        motion_D = motion(**channels)
        return labiodental(motion_D, lip_seal(motion_D))

    assert bite(mouthRollLower=0.7) == 1.0
    assert bite() == bite(mouthRollLower=0.22) == 0.0  # M, B and P roll a little
    assert bite(mouthRollLower=0.9, mouthRollUpper=0.9) == 0.0
    assert bite(mouthRollLower=0.9, mouthPress=1.0) == 0.0
    assert bite(mouthRollLower=0.9, jawOpen=0.5) == 0.0


def test_the_biting_edge_is_where_the_teeth_are() -> None:
    rig = sample_rig("closed")
    down = np.asarray(rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1]), np.float32)
    _, _, edge = lines(rig, rig.neutral_V3)
    assert np.abs(Lips(rig, down)._bite_L[7:14] + BITE_HIDDEN * rig.face_width - edge).max() < 0.005 * rig.face_width


@pytest.mark.parametrize("lips", [{"mouthPucker": 0.7, "mouthFunnel": 0.4}, {"mouthPucker": 0.95}])
def test_rounded_lips_hide_the_lower_teeth(rig: FittedRig, lips: dict[str, float]) -> None:
    face = rig.deform(motion(jawOpen=0.15, **lips))
    rows = (rig.mouth.part_P == Part.TEETH_LOWER) & (rig.mouth.uv_P2[:, 1] == 1.0)
    middle = face.mouth_P3[rows][32:41, 1]
    assert middle.min() > face.skin_V3[rig.lip_lower_L[10], 1] - 0.006 * rig.face_width


def test_a_raised_tongue_keeps_to_the_upper_teeth_while_the_jaw_opens(rig: FittedRig) -> None:
    tip = np.flatnonzero(rig.mouth.part_P == Part.TONGUE)[:20]

    def place(**channels: float) -> float:
        return float(rig.deform(motion(**channels)).mouth_P3[tip, 1].mean())

    sinks = place(jawOpen=0.25) - place()
    keeps = place(jawOpen=0.25, tongueHeight=1.0) - place(tongueHeight=1.0)
    assert sinks > 0.03 * rig.face_width
    assert 0.0 < keeps < 0.35 * sinks
    edge = rig.deform(motion(jawOpen=0.25)).mouth_P3[
        (rig.mouth.part_P == Part.TEETH_UPPER) & (rig.mouth.uv_P2[:, 1] == 1)
    ]
    tongue = rig.deform(motion(jawOpen=0.25, tongueHeight=1.0)).mouth_P3[tip]
    assert tongue[:, 1].mean() > edge[32:41, 1].mean() - 0.02 * rig.face_width  # seen below the upper teeth
