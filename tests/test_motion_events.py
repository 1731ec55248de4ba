"""Events: decided once, foreseen exactly, and as often as controls and feelings say."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.clock import FPS, MIC_RATE
from avatar.motion.controls import Asked
from avatar.motion.events import Events, Moment
from avatar.motion.state import State


def events(seed: int = 0) -> Events:
    return Events(*(np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)))


def moments(asked: Asked, seconds: int, state: State = State.IDLE, seed: int = 1) -> list[Moment]:
    made = events(seed)
    made.set_state(state)
    made.set_controls(asked)
    return [made.step() for _ in range(seconds * FPS)]


def blinks(found: list[Moment]) -> int:
    closed_T = np.array([m.blink for m in found]) > 0
    return int((closed_T[1:] & ~closed_T[:-1]).sum())


@given(before=st.integers(0, 300), ahead=st.integers(1, 40), seed=st.integers(0, 20), boundary=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_fork_foresees_and_changes_nothing(before: int, ahead: int, seed: int, boundary: bool) -> None:
    one, other = events(seed), events(seed)
    for _ in range(before):
        one.step()
        other.step()
    fork = one.fork()
    foreseen = [fork.step(boundary=boundary) for _ in range(ahead)]
    assert foreseen == [one.step(boundary=boundary) for _ in range(ahead)]
    assert foreseen == [other.step(boundary=boundary) for _ in range(ahead)]
    assert one.step() == other.step()


def test_the_eyes_move_at_once_to_where_they_are_asked() -> None:
    made = events(2)
    for _ in range(50):
        made.step()
    made.set_controls(Asked(gaze_azimuth_deg=-12.0, gaze_elevation_deg=5.0))
    made.set_state(State.LISTENING)
    path = [made.step() for _ in range(8)]
    assert path[0].shifted_deg > 6.0
    assert np.hypot(path[0].fixation_deg[0] + 12.0, path[0].fixation_deg[1] - 5.0) < 11.0
    gaze_T2 = np.array([made.step().gaze_deg for _ in range(60 * FPS)])
    np.testing.assert_allclose(np.median(gaze_T2, axis=0), (-12.0, 4.8), atol=1.0)


def test_liveliness_and_feelings_set_how_often() -> None:
    usual, composed, animated = (moments(Asked(liveliness=v), 240) for v in (0.5, 0.0, 1.0))
    assert blinks(composed) < blinks(usual) < blinks(animated)

    def away(found: list[Moment]) -> float:
        return float((np.hypot(*np.array([m.gaze_deg for m in found]).T) > 2.5).mean())

    assert away(composed) < away(usual) < away(animated)
    assert blinks(moments(Asked(surprised=1.0), 240)) < blinks(usual) < blinks(moments(Asked(concerned=1.0), 240))


def test_nods_are_as_deep_as_one_is_lively() -> None:
    rng = np.random.default_rng(0)
    voice_S = (rng.normal(0, 3000, 2 * MIC_RATE)).astype(np.int16)
    quiet_S = (rng.normal(0, 20, MIC_RATE)).astype(np.int16)
    heard_S = np.concatenate([quiet_S, *([voice_S, quiet_S] * 4)])

    def deepest(liveliness: float) -> float:
        made = events(3)
        made.set_state(State.LISTENING)
        made.set_controls(Asked(liveliness=liveliness))
        depth = 0.0
        for at in range(0, len(heard_S), MIC_RATE // FPS):
            made.hear(heard_S[at : at + MIC_RATE // FPS])
            depth = max(depth, made.step().nod_deg)
        return depth

    assert 0.0 < deepest(0.0) < deepest(0.5) < deepest(1.0)


def test_same_seed_same_events() -> None:
    assert moments(Asked(), 30, seed=5) == moments(Asked(), 30, seed=5) != moments(Asked(), 30, seed=6)
