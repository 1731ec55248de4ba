"""Emotions read differently, mix within bounds, and never part lips that speech or silence keeps together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.identity import load_identity
from avatar.motion import space
from avatar.motion.articulation import ARTICULATORS, to_motion
from avatar.motion.controls import EMOTIONS
from avatar.motion.emotion import (
    activity,
    check_emotion,
    dynamics,
    express,
    from_affect,
    offset_D,
    openness,
    weights,
)
from avatar.rig.deform import Deformer
from avatar.rig.types import FittedRig

Floats = NDArray[np.float32]
_I = space.INDEX
MIXTURE = st.lists(st.floats(0.0, 1.0, width=32), min_size=6, max_size=6).map(lambda w: np.array(w, np.float32))


def spoken(**values: float) -> Floats:
    """A frame of speech with these articulators."""
    value_A = np.array([values.get(name, 0.0) for name in ARTICULATORS], np.float32)
    return to_motion(value_A)


@pytest.fixture(scope="module")
def deformer() -> Deformer:
    return Deformer(FittedRig.unpack(load_identity("default").arrays))


def gap(deformer: Deformer, motion_D: Floats) -> float:
    """Opening between the lips of the default presenter, px at 512."""
    return float(deformer.deform(motion_D).mouth_gap)


def test_neutral_is_nothing() -> None:
    assert not offset_D(weights("neutral")).any()
    frame_D = spoken(jaw=0.2, spread=0.4)
    assert np.array_equal(express(frame_D, weights("neutral")), frame_D)
    assert dynamics(weights({})) == dynamics(np.zeros(6, np.float32)) and activity(0.5) == 1.0


def test_every_emotion_is_seen_and_is_itself() -> None:
    """Any two differ almost as much as one differs from neutral, so that a viewer can tell them apart."""
    shown = [offset_D(weights(name)) for name in EMOTIONS]
    for i, one_D in enumerate(shown):
        assert np.abs(one_D[: space.EXPRESSION_DIM]).sum() > 0.8
        assert np.abs(one_D[space.HEAD][:3]).max() < np.radians(4.0)
        for other_D in shown[i + 1 :]:
            assert np.linalg.norm(one_D - other_D) > 0.5
            assert np.dot(one_D, other_D) < 0.96 * np.linalg.norm(one_D) * np.linalg.norm(other_D)
    assert all(np.array_equal(offset_D(0.5 * weights(n)), 0.5 * offset_D(weights(n))) for n in EMOTIONS)


@settings(max_examples=60, deadline=None)
@given(MIXTURE, st.floats(0.02, 0.3), st.floats(0.0, 1.0))
def test_a_closure_stays_sealed(deformer: Deformer, weights_E: Floats, jaw: float, rounding: float) -> None:
    shown_D = express(spoken(jaw=jaw, closure=1.0, round=rounding), weights_E)
    assert shown_D[_I["mouthClose"]] >= 0.9 * shown_D[_I["jawOpen"]]
    assert gap(deformer, shown_D) == 0.0


@settings(max_examples=60, deadline=None)
@given(MIXTURE)
def test_a_silent_mouth_stays_shut(deformer: Deformer, weights_E: Floats) -> None:
    shown_D = express(space.neutral(), weights_E)
    assert shown_D[_I["jawOpen"]] == 0.0
    assert gap(deformer, shown_D) < 1.0 < gap(deformer, spoken(jaw=0.08))


@given(MIXTURE, st.floats(0.0, 1.0))
def test_mixtures_stay_moderate(weights_E: Floats, opened: float) -> None:
    mixed_D = offset_D(weights_E, opened)
    strongest = max(np.abs(offset_D(weights(name), 1.0)).max() for name in EMOTIONS)
    assert np.abs(mixed_D).max() <= 1.7 * strongest
    manner = dynamics(weights_E)
    assert min(manner.tempo, manner.head, manner.brows, manner.blinks, manner.speech) >= 0.3
    assert max(manner.tempo, manner.head, manner.brows, manner.blinks, manner.speech) < 2.0
    frame_D = express(spoken(jaw=0.3, spread=0.5), weights_E)
    assert np.array_equal(space.clamp(frame_D)[0], frame_D)


def test_a_smile_and_a_frown_do_not_fight() -> None:
    both_D = offset_D(weights({"happy": 0.5, "sad": 0.5}))
    corners = ("mouthSmileLeft", "mouthFrownLeft")
    alone = min(0.5 * offset_D(weights(n))[_I[c]] for n, c in zip(("happy", "sad"), corners, strict=True))
    assert min(both_D[_I[c]] for c in corners) < 0.3 * alone


def test_open_lips_show_more() -> None:
    """A happy 'ah' shows upper teeth; how much follows the opening without a jump."""
    values = []
    for jaw in np.linspace(0.0, 0.3, 61):
        frame_D = spoken(jaw=float(jaw))
        values.append(express(frame_D, weights("happy"))[_I["mouthUpperUpLeft"]] - frame_D[_I["mouthUpperUpLeft"]])
    assert values[0] == 0.0 and values[-1] > 0.1
    assert np.diff(values).min() >= 0.0 and np.diff(values).max() < 0.02
    assert openness(spoken(jaw=0.3, closure=1.0)) == 0.0


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
def test_valence_and_arousal_are_continuous(valence: float, arousal: float, dv: float, da: float) -> None:
    here_E = from_affect(valence, arousal)
    near_E = from_affect(float(np.clip(valence + dv, -1, 1)), float(np.clip(arousal + da, -1, 1)))
    assert np.abs(here_E - near_E).max() < 0.06
    assert here_E.min() >= 0.0 and here_E.sum() <= 1.0 + 1e-6 and np.count_nonzero(here_E) <= 2


def test_the_corners_of_the_plane() -> None:
    def leading(valence: float, arousal: float) -> str:
        return EMOTIONS[int(np.argmax(from_affect(valence, arousal)))]

    assert not from_affect(0.0, 0.0).any()
    assert leading(0.9, 0.6) == "happy" and leading(0.6, -0.1) == "warm" and leading(0.1, 0.9) == "surprised"
    assert leading(-0.7, 0.6) == "firm" and leading(-0.5, 0.0) == "concerned" and leading(-0.7, -0.6) == "sad"
    assert not from_affect(0.26, -0.97).any() or from_affect(0.26, -0.97).max() < 0.1  # calm: a composed face


@pytest.mark.parametrize("bad", ["", "angry", "warm,happy"])
def test_unknown_names_say_what_is_known(bad: str) -> None:
    with pytest.raises(ValueError, match="concerned"):
        weights(bad)
    assert check_emotion(" Warm ") == "warm"


@pytest.mark.parametrize("bad", [-0.1, 1.01, float("nan")])
def test_intensities_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError, match=r"0 \(none\) to 1"):
        weights("warm", bad)
    with pytest.raises(ValueError, match="-1 to 1"):
        from_affect(20.0 * bad, 0.0)


def test_liveliness_is_monotone() -> None:
    factors = [activity(x) for x in np.linspace(0, 1, 21)]
    assert np.diff(factors).min() > 0.0 and factors[0] == pytest.approx(0.45) and factors[-1] == pytest.approx(1.8)
