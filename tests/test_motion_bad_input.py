"""Whatever sound comes, the face stays a face: finite, in its ranges, quiet where nothing is said.

Both motions take int16 at 24 kHz; what an `Intake` has made of worse is tried as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.audio.intake import Intake
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.ear import Ear
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import VisemeNet
from avatar.stream import AvatarStream
from tests.motion_stand_ins import WildNet, diffusion
from tests.speak import speak
from tests.test_motion_ear import silence, voice

Pcm = NDArray[np.int16]
I = space.INDEX  # noqa: E741
SLIT = 0.02
"""Jaw opening that the lips do not make good and that nobody sees."""

MOTIONS: dict[str, Callable[[], Motion]] = {
    "articulation": lambda: MotionStream(1, VisemeNet()),
    "diffusion": lambda: diffusion(1),
    "wild": lambda: diffusion(1, WildNet()),
}


@pytest.fixture(params=[name for name in MOTIONS if name != "wild"])
def make(request: pytest.FixtureRequest) -> Callable[[], Motion]:
    return MOTIONS[request.param]


def pcm(signal_S: NDArray[np.float64]) -> Pcm:
    """-1..1 as int16, clipped."""
    return np.clip(np.rint(signal_S * 32768), -32768, 32767).astype(np.int16)


TIME_S = np.arange(int(1.4 * STREAM_RATE)) / STREAM_RATE
NOISE_S = np.random.default_rng(0).normal(0, 1, len(TIME_S))
SOUNDS: dict[str, Pcm] = {
    "silence": pcm(0 * TIME_S),
    "dither": pcm(NOISE_S / 32768),
    "offset": pcm(0.3 + 0 * TIME_S),
    "full offset": pcm(-1 + 0 * TIME_S),
    "offset that drifts": pcm(0.4 * np.sin(2 * np.pi * 0.5 * TIME_S)),
    "square wave": pcm(np.sign(np.sin(2 * np.pi * 110 * TIME_S))),
    "high square wave": pcm(np.sign(np.sin(2 * np.pi * 1000 * TIME_S + 0.1))),
    "at half the rate": pcm(1.0 - 2.0 * (np.arange(len(TIME_S)) % 2)),
    "noise": pcm(NOISE_S),
    "noise bursts": pcm(0.5 * NOISE_S * (np.sin(2 * np.pi * 3 * TIME_S) > 0.4)),
    "clicks": pcm((np.arange(len(TIME_S)) % 2400 == 0) * 1.0),
}
QUIET = ("silence", "dither", "offset", "full offset", "offset that drifts")


@pytest.fixture(scope="module")
def speech_S() -> Pcm:
    return asyncio.run(speak("Hello there, my name is Ann.", rate=STREAM_RATE))


def chunks(pcm_S: NDArray[Any], sizes: Iterable[int]) -> Iterable[NDArray[Any]]:
    at = 0
    for size in sizes:
        if at >= len(pcm_S):
            return
        yield pcm_S[at : at + size]
        at += size


def played(motion: Motion, parts: Iterable[Pcm], after: int = 8) -> NDArray[np.float32]:
    """All speech frames, taken as soon as they are ready, and some frames after them."""
    frames = []
    for part_S in parts:
        motion.push_audio(part_S)
        frames += [motion.next_motion() for _ in range(motion.ready_frames())]
    motion.end_segment()
    frames += [motion.next_motion() for _ in range(motion.ready_frames() + after)]
    return np.stack(frames)


def opening(motion_TD: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(motion_TD[:, I["jawOpen"]] - motion_TD[:, I["mouthClose"]], 0.0)


def assert_a_face(motion_TD: NDArray[np.float32]) -> None:
    assert motion_TD.dtype == np.float32 and np.isfinite(motion_TD).all()
    assert (motion_TD >= space.LOW_D).all() and (motion_TD <= space.HIGH_D).all()


@pytest.mark.parametrize("sound", SOUNDS)
def test_any_sound_gives_a_face_and_a_mouth_that_closes_after_it(make: Callable[[], Motion], sound: str) -> None:
    motion = make()
    motion_TD = played(motion, [SOUNDS[sound]])
    assert_a_face(motion_TD)
    assert len(motion_TD) == -(-len(TIME_S) // FRAME_SAMPLES) + 8
    assert opening(motion_TD)[-8 + motion.tail_frames :].max() < SLIT


@pytest.mark.parametrize("sound", QUIET)
def test_the_mouth_is_closed_where_nothing_is_said(make: Callable[[], Motion], sound: str) -> None:
    assert opening(played(make(), [SOUNDS[sound]])).max() < SLIT


@pytest.mark.parametrize("sound", ["square wave", "noise bursts"])
@pytest.mark.parametrize("sizes", [[120], [120_000], [0, 7, 0, 0, 5000, 1], [FRAME_SAMPLES - 1]])
def test_how_it_was_cut_makes_no_difference(make: Callable[[], Motion], sound: str, sizes: list[int]) -> None:
    """Chunks of 5 ms and of 5 s, of no sample and of one."""
    whole_TD = played(make(), [SOUNDS[sound]])
    np.testing.assert_array_equal(played(make(), chunks(SOUNDS[sound], cycle(sizes))), whole_TD)


def test_a_network_that_gives_nonsense_still_makes_a_face() -> None:
    for sound in ("silence", "noise"):
        motion = MOTIONS["wild"]()
        motion_TD = played(motion, chunks(SOUNDS[sound], cycle([700])))
        assert_a_face(motion_TD)
        assert opening(motion_TD)[-8 + motion.tail_frames :].max() < SLIT


def test_speech_survives_an_offset_and_clipping(make: Callable[[], Motion], speech_S: Pcm) -> None:
    """The same sentence moves the same mouth, whatever was wrong with the line."""
    clean_T = opening(played(make(), [speech_S]))
    assert clean_T.max() > 0.1
    for bent_S, least in [
        (speech_S / 32768 + 0.2, 0.9),
        (speech_S / 32768 * 6.0, 0.75),
        (speech_S / 32768 * 0.05, 0.85),
    ]:
        bent_T = opening(played(make(), [pcm(bent_S)]))
        assert np.corrcoef(bent_T, clean_T)[0, 1] > least


def test_after_the_intake_an_offset_is_gone(make: Callable[[], Motion], speech_S: Pcm) -> None:
    intake = Intake(repair=True)
    bent_S = speech_S / 32768 + 0.2
    bent_S[5000:5010] = np.nan
    parts = [intake.push(part_S, STREAM_RATE) for part_S in chunks(bent_S.astype(np.float32), cycle([120, 0, 4800]))]
    motion_TD = played(make(), [*parts, intake.flush()])
    assert_a_face(motion_TD)
    assert np.corrcoef(opening(motion_TD), opening(played(make(), [speech_S])))[0, 1] > 0.9


def test_a_producer_that_changes_its_rate_is_spoken_through(make: Callable[[], Motion], speech_S: Pcm) -> None:
    """Half of the sentence at 24 kHz, the rest at 12 kHz: the lips go on."""
    intake = Intake()
    half = len(speech_S) // 2
    parts = [intake.push(speech_S[:half], STREAM_RATE), intake.push(speech_S[half::2], 12_000), intake.flush()]
    assert abs(sum(map(len, parts)) - len(speech_S)) <= 2 and intake.rate_changes == 1
    motion_TD = played(make(), parts)
    clean_T = opening(played(make(), [speech_S]))
    assert np.corrcoef(opening(motion_TD)[: len(clean_T)], clean_T)[0, 1] > 0.8


@pytest.mark.parametrize(
    "wrong", [np.zeros(960), np.zeros(960, np.float32), np.zeros((960, 1), np.int16), np.zeros(960, np.int32)]
)
def test_other_forms_are_refused_and_change_nothing(make: Callable[[], Motion], wrong: Pcm) -> None:
    refused, plain = AvatarStream(None, make()), AvatarStream(None, make())
    rows: list[NDArray[np.float32]] = []
    for stream in (refused, plain):
        stream.push_audio(SOUNDS["square wave"][:9600])
        if stream is refused:
            with pytest.raises(ValueError, match="int16"):
                stream.push_audio(wrong)
        stream.end_segment()
        rows.append(np.stack([stream.next_frame().motion for _ in range(14)]))
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize("sound", ["offset", "noise", "square wave", "clicks"])
def test_nothing_the_visitor_sends_opens_the_mouth(make: Callable[[], Motion], sound: str) -> None:
    motion = make()
    motion.set_state(State.LISTENING)
    frames = []
    for part_S in chunks(SOUNDS[sound], cycle([0, 80, 1600, 640])):
        motion.hear(part_S)
        frames += [motion.next_motion() for _ in range(len(part_S) // 640)]
    motion_TD = np.stack(frames)
    assert_a_face(motion_TD)
    assert opening(motion_TD).max() < SLIT


def test_a_microphone_with_an_offset_hears_the_same_pauses() -> None:
    rows = []
    for offset in (0, 6500):
        ear, heard = Ear(), []
        for part_S in chunks(np.concatenate([silence(1.5), voice(2.5), silence(1.5)]), cycle([640])):
            ear.hear((part_S + np.int16(offset)).astype(np.int16))
            heard.append(ear.frame())
        rows.append(np.stack(heard))
    plain_TU, offset_TU = rows
    assert plain_TU[:, 2].max() > 0.9  # the pause is heard at all
    np.testing.assert_allclose(offset_TU[:, 1:], plain_TU[:, 1:], atol=0.2)
