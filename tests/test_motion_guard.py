"""The guard: whatever is made, what is shown is a face; and motion that is one passes unchanged."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import to_motion
from avatar.motion.diffusion.guard import MOST_PER_FRAME_D, OPENING, Guard, seal
from avatar.motion.stream import CLOSE_FRAMES

Floats = NDArray[np.float32]
I = space.INDEX  # noqa: E741
JAW, CLOSE, LID = I["jawOpen"], I["mouthClose"], I["eyeBlinkLeft"]


def frame(**channels: float) -> Floats:
    out_D = space.neutral()
    for name, value in channels.items():
        out_D[I[name]] = value
    return out_D


_ODD = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, 1.0, 0.6, -1.0, 1e-30], np.float32)


def anything(seed: int) -> Floats:
    """Ordinary numbers and impossible ones."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(space.DIM) < rng.random(), rng.choice(_ODD, space.DIM), rng.normal(0.3, 0.5, space.DIM))


@given(said=st.lists(st.tuples(st.integers(0, 999), st.booleans(), st.floats(0, 1)), min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_anything_becomes_a_face(said: list[tuple[int, bool, float]]) -> None:
    guard = Guard()
    made = [(anything(seed), speech, blink) for seed, speech, blink in said]
    shown_TD = np.stack([guard.apply(row_D, speech=speech, blink=blink) for row_D, speech, blink in made])
    assert np.isfinite(shown_TD).all() and space.clamp(shown_TD)[1] == 0
    assert (shown_TD[:, CLOSE] <= shown_TD[:, JAW] + 1e-6).all()
    head = np.arange(space.HEAD.start, space.HEAD.stop)
    assert (np.abs(np.diff(shown_TD[:, head], axis=0)) <= MOST_PER_FRAME_D[head] + 1e-6).all()
    quiet = CLOSE_FRAMES
    for shown_D, (_, speech, _) in zip(shown_TD, made, strict=True):
        quiet = 0 if speech else quiet + 1
        assert quiet < CLOSE_FRAMES or not shown_D[OPENING].any()


def test_good_motion_passes_unchanged() -> None:
    guard = Guard()
    t_T = np.arange(50) / 25
    for t in t_T:
        made_D = to_motion(np.array([0.2 + 0.1 * np.sin(6 * t), 0, 0, 0.3, 0, 0, 0.1, 0.2, 0.5], np.float32))
        made_D[I["headYaw"]] = 0.1 * np.sin(3 * t)
        made_D[space.GAZE] = 0.1, -0.05
        np.testing.assert_allclose(guard.apply(made_D, speech=True, blink=0.0), made_D, atol=1e-7)


def test_closing_goes_on_as_it_was_going_and_is_done_in_time() -> None:
    """Position and velocity are continuous: the first step of a mouth that was opening still opens."""
    guard = Guard()
    path = [0.1, 0.2, 0.3]
    for jaw in path:
        guard.apply(frame(jawOpen=jaw), speech=True, blink=0.0)
    path += [float(guard.apply(frame(jawOpen=0.4), speech=False, blink=0.0)[JAW]) for _ in range(5)]
    steps = np.diff(path)
    assert path[2 + CLOSE_FRAMES] == 0.0 and not any(path[2 + CLOSE_FRAMES :])
    assert -0.1 < steps[2] < 0.1 and steps.min() > -0.25


def test_a_smile_stays_without_speech_and_the_resting_jaw_is_shown() -> None:
    guard = Guard()
    for _ in range(10):
        shown_D = guard.apply(
            frame(mouthSmileLeft=0.4, mouthUpperUpLeft=0.3, jawOpen=0.3), speech=False, blink=0.0, rest_jaw=0.04
        )
    assert abs(shown_D[I["mouthSmileLeft"]] - 0.4) < 1e-6
    assert shown_D[I["mouthUpperUpLeft"]] == 0.0 and abs(shown_D[JAW] - 0.04) < 1e-6


@given(jaw=st.floats(0.01, 0.6), share=st.floats(0.0, 1.5))
def test_lips_that_nearly_meet_meet(jaw: float, share: float) -> None:
    motion_D = frame(jawOpen=jaw, mouthClose=min(jaw * share, 1.0))
    seal(motion_D)
    after = float(motion_D[CLOSE]) / float(motion_D[JAW])
    assert min(share, 1.0) - 1e-4 <= after <= 1.0 + 1e-6
    if share >= 0.85:
        assert after > 1.0 - 1e-5
    if share <= 0.6:
        assert abs(after - share) < 1e-4


def test_sealing_is_smooth_and_monotone() -> None:
    shares = np.linspace(0.0, 1.0, 200)
    rows = np.stack([frame(jawOpen=0.3, mouthClose=0.3 * s) for s in shares])
    for row_D in rows:
        seal(row_D)
    step = np.diff(rows[:, CLOSE])
    assert step.min() >= -1e-7 and step.max() < 0.3 * 4 / 200


@given(
    asked=st.lists(st.floats(0, 1), max_size=12), shut=st.floats(0.3, 1.0), jitter=st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_lids_never_latch(asked: list[float], shut: float, jitter: int) -> None:
    """A network that has caught a closed eye and holds it: five frames after the blink the eyes are open."""
    guard, rng = Guard(), np.random.default_rng(jitter)
    for blink in [*asked, *[0.0] * 6]:
        made_D = frame(eyeBlinkLeft=shut, eyeBlinkRight=min(1.0, shut * rng.uniform(0.8, 1.2)))
        shown_D = guard.apply(made_D, speech=bool(rng.integers(2)), blink=blink)
    assert shown_D[LID] <= 0.4 and shown_D[I["eyeBlinkRight"]] <= 0.4


def test_eyes_look_where_it_was_decided() -> None:
    """A glance is there in its frame, whatever the network makes of it; small movements are the network's."""
    guard, decided = Guard(), np.radians(np.array([[0.0, 0.0], [9.0, -3.0], [9.0, -3.0]], np.float32))
    shown_T2 = [
        guard.apply(frame(gazeAzimuth=made), speech=False, blink=0.0, gaze_2=gaze_2)[space.GAZE]
        for made, gaze_2 in zip((0.002, 0.0, 0.05), decided, strict=True)
    ]
    np.testing.assert_allclose(shown_T2[0], (0.001, 0.0), atol=1e-6)
    assert np.abs(np.degrees(np.array(shown_T2[1:]) - decided[1:])).max() < 0.51


def test_a_blink_that_was_asked_for_meets() -> None:
    """A network that blinks by half: the lids meet all the same, without a jump where they are taken over."""
    guard = Guard()
    asked = np.concatenate([np.linspace(0.0, 1.0, 60), np.linspace(1.0, 0.0, 60)])
    shown_T = np.array([guard.apply(frame(eyeBlinkLeft=b / 2), speech=False, blink=b)[LID] for b in asked])
    assert shown_T.max() == 1.0 and np.abs(np.diff(shown_T)).max() < 0.1


def test_a_blink_shows_as_it_was_asked_for() -> None:
    guard = Guard()
    shown = [
        guard.apply(frame(eyeBlinkLeft=b, eyeBlinkRight=b), speech=False, blink=b)[LID]
        for b in (0.0, 0.0, 0.5, 1.0, 0.8, 0.3, 0.05, 0.0)
    ]
    np.testing.assert_allclose(shown, (0.0, 0.0, 0.5, 1.0, 0.8, 0.3, 0.05, 0.0), atol=1e-6)


def test_a_closure_that_is_known_is_shown() -> None:
    """Phone times or the viseme network say that lips meet: they do, whatever the network made of it."""
    made_D = space.neutral()
    made_D[space.INDEX["jawOpen"]] = 0.2
    made_D[space.INDEX["mouthClose"]] = 0.05
    guard = Guard()
    assert guard.apply(made_D, speech=True, blink=0.0)[space.INDEX["mouthClose"]] < 0.1
    shown_D = Guard().apply(made_D, speech=True, blink=0.0, closure=1.0)
    assert shown_D[space.INDEX["mouthClose"]] == shown_D[space.INDEX["jawOpen"]] > 0.1
