"""The teacher's clips: the same whenever they are made, lips where the phones are, still where nobody speaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, EMOTIONS, NOD_DEG, REST, STATES, Asked
from avatar.motion.emotion import OFFSET_ED
from avatar.motion.state import State
from avatar.motion.stream import CLOSE_FRAMES
from scripts.make_motion_corpus import Scene, act, conversation, quiet, teacher_clip, wishes
from scripts.motion_clips import MotionClip, load_clip
from scripts.teacher_face import Face, Mouth, Style, draw_style
from scripts.teacher_speech import HELD_OUT_FLITE, Speech, Talkers

_I, _C = space.INDEX, CONTROL_INDEX
NO_EAR = np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def talkers() -> Talkers:
    return Talkers(engines=("espeak",), recorded=[])


@pytest.fixture(scope="module")
def clips(talkers: Talkers) -> list[MotionClip]:
    return [teacher_clip(i, talkers) for i in range(5)]


def speech(talkers: Talkers, seed: int = 0) -> Speech:
    rng = np.random.default_rng(seed)
    return talkers.speak(talkers.voice(rng, unheard=False), 1, rng)[0]


def test_a_scene_plays_the_same_twice(talkers: Talkers) -> None:
    scene = conversation([speech(talkers)], talkers, np.random.default_rng(4))
    one, other = (act("teacher", "twice", scene, None, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.motion_TD, other.motion_TD) and np.array_equal(one.controls_TC, other.controls_TC)
    third = act("teacher", "other", scene, None, np.random.default_rng(6))
    assert not np.array_equal(one.motion_TD, third.motion_TD)


def test_clips_are_whole(clips: list[MotionClip], tmp_path: Path) -> None:
    for clip in clips:
        assert np.array_equal(space.clamp(clip.motion_TD)[0], clip.motion_TD)
        assert 8 * 25 <= len(clip.motion_TD) <= 45 * 25
        states_T4 = clip.controls_TC[:, [_C[s] for s in STATES]]
        assert (states_T4.sum(1) == 1.0).all()
        kept = load_clip(clip.save(tmp_path))
        assert np.array_equal(kept.motion_TD, clip.motion_TD) and len(kept.segments) == len(clip.segments)
    spoken = sum(s.frames for c in clips for s in c.segments) / sum(len(c.motion_TD) for c in clips)
    assert 0.4 < spoken < 0.85


def test_lips_close_on_bilabials(clips: list[MotionClip]) -> None:
    """Of the P, B, M of 60 ms and more, whatever is felt, hardly one is not shown sealed."""
    hits = []
    for clip in clips:
        jaw_T, close_T = clip.motion_TD[:, _I["jawOpen"]], clip.motion_TD[:, _I["mouthClose"]]
        sealed_T = (close_T >= 0.9 * np.maximum(jaw_T, 0.03)) | (clip.motion_TD[:, _I["mouthPressLeft"]] > 0.25)
        for segment in clip.segments:
            for phone in segment.phones or []:
                first, last = round(phone.start_s * 25 - 0.5), round(phone.end_s * 25 + 0.5)
                if phone.phone in "PBM" and phone.end_s - phone.start_s >= 0.06 and last <= segment.frames:
                    hits.append(sealed_T[segment.start + max(first, 0) : segment.start + last].any())
    assert len(hits) > 30 and np.mean(hits) > 0.97


def test_the_mouth_is_shut_where_nobody_speaks(clips: list[MotionClip]) -> None:
    for clip in clips:
        talking_T = np.zeros(len(clip.motion_TD), bool)
        for segment in clip.segments:
            talking_T[segment.start : segment.start + segment.frames + CLOSE_FRAMES - 1] = True
        rest_T = clip.controls_TC[:, _C["restJawOpen"]]
        assert (clip.motion_TD[~talking_T, _I["jawOpen"]] <= rest_T[~talking_T] + 1e-3).all()


def test_what_is_abrupt_is_a_control(clips: list[MotionClip]) -> None:
    """Eyes and lids do what the controls say; nothing else ever jumps."""
    for clip in clips:
        motion_TD, control_TC = clip.motion_TD, clip.controls_TC
        gaze_T2 = control_TC[:, [_C["gazeAzimuth"], _C["gazeElevation"]]]
        assert np.abs(motion_TD[:, space.GAZE] - gaze_T2).max() < 1e-6
        lids_T = motion_TD[:, _I["eyeBlinkLeft"]]
        assert (lids_T >= control_TC[:, _C["blink"]] - 1e-6).all()
        assert (lids_T - control_TC[:, _C["blink"]]).max() < 0.2  # sad eyes droop
        assert np.degrees(np.abs(np.diff(motion_TD[:, space.HEAD][:, :3], axis=0))).max() < 2.5


def test_feelings_show(talkers: Talkers) -> None:
    """A face that is asked for an emotion shows it, in silence and while it speaks, and lets go of it."""
    for k, name in enumerate(EMOTIONS):
        rng = np.random.default_rng(k)
        face, said = Face(rng, Style()), Mouth(rng, Style()).segment(speech(talkers).pcm_S, speech(talkers).phones)
        plain, twin = Asked(), Face(np.random.default_rng(k), Style())
        felt = Asked(**{name: 1.0})
        silent = [face.step(State.IDLE, felt, NO_EAR, None)[0] for _ in range(50)]
        loud = [face.step(State.SPEAKING, felt, NO_EAR, s)[0] for s in said]
        after = [face.step(State.IDLE, plain, NO_EAR, None)[0] for _ in range(50)]
        for asked, state, spoken in [(plain, State.IDLE, None)] * 50 + [(plain, State.SPEAKING, s) for s in said]:
            twin.step(state, asked, NO_EAR, spoken)
        direction_K = OFFSET_ED[k, : space.EXPRESSION_DIM] / np.square(OFFSET_ED[k, : space.EXPRESSION_DIM]).sum()
        rest = np.mean([after[-1][: space.EXPRESSION_DIM] @ direction_K])
        assert silent[-1][: space.EXPRESSION_DIM] @ direction_K - rest > 0.7
        assert np.mean([m[: space.EXPRESSION_DIM] @ direction_K for m in loud]) - rest > 0.6


def test_head_follows_a_third_of_the_gaze_and_distance_is_kept() -> None:
    face = Face(np.random.default_rng(5), Style())
    asked = Asked(gaze_azimuth_deg=15.0, distance=0.85, liveliness=0.3)
    motion_TD = np.stack([face.step(State.LISTENING, asked, NO_EAR, None)[0] for _ in range(700)])[100:]
    assert np.median(np.degrees(motion_TD[:, _I["gazeAzimuth"]])) == pytest.approx(15.0, abs=1.0)
    assert 3.0 < np.degrees(motion_TD[:, _I["headYaw"]].mean()) < 8.0
    assert motion_TD[:, _I["headLogScale"]].mean() == pytest.approx(-np.log(0.85), abs=0.03)


def test_liveliness_scales_the_head() -> None:
    def spread(liveliness: float) -> float:
        face = Face(np.random.default_rng(1), Style())
        asked = Asked(liveliness=liveliness)
        return float(
            np.stack([face.step(State.IDLE, asked, NO_EAR, None)[0] for _ in range(1200)])[:, 44:47].std(0).sum()
        )

    assert 1.3 * spread(0.0) < spread(0.5) < spread(1.0) / 1.2


def test_an_interrupted_mouth_closes_in_120_ms(talkers: Talkers) -> None:
    rng = np.random.default_rng(3)
    said = Mouth(rng, Style()).segment(speech(talkers).pcm_S, speech(talkers).phones)
    loudest = int(np.argmax([s.value_A[0] for s in said]))
    face = Face(rng, Style())
    for spoken in said[: loudest + 1]:
        motion_D, _ = face.step(State.SPEAKING, Asked(), NO_EAR, spoken)
    opening = [motion_D[_I["jawOpen"]]]
    opening += [face.step(State.LISTENING, Asked(), NO_EAR, None)[0][_I["jawOpen"]] for _ in range(5)]
    assert opening[0] > 0.1 and opening[CLOSE_FRAMES] < 1e-3
    assert np.abs(np.diff(opening)).max() < opening[0]  # not in one frame


def test_listening_nods_and_hears(talkers: Talkers) -> None:
    rng = np.random.default_rng(11)
    scene = quiet(talkers, rng)
    while len(scene.visits) < 2:
        scene = quiet(talkers, rng)
    clip = act("teacher", "quiet", scene, None, rng)
    assert clip.ear_TU is not None and clip.ear_TU[:, 1].max() > 0.9 and not clip.segments
    nod_T = clip.controls_TC[:, _C["nod"]]
    depth_T = np.degrees(clip.motion_TD[:, _I["headPitch"]])
    starts = np.flatnonzero((nod_T[1:] > 0) & (nod_T[:-1] == 0))
    assert len(starts) >= 1
    peak = int(np.argmax(nod_T))
    start = int(starts[starts < peak][-1])
    assert depth_T[start] - depth_T[peak] > 0.5 * NOD_DEG * nod_T[peak]


def test_held_out_voices_are_never_trained(talkers: Talkers) -> None:
    rng = np.random.default_rng(0)
    trained = {talkers.voice(rng, unheard=False).name.partition("+")[2] for _ in range(800)}
    kept = {talkers.voice(rng, unheard=True).name.partition("+")[2] for _ in range(200)}
    assert len(kept) > 5 and not trained & kept and {"whisper", "whisperf"} <= trained
    flite = Talkers(engines=("flite",), recorded=[])
    assert {flite.voice(rng, unheard=True).name for _ in range(20)} == {HELD_OUT_FLITE}
    assert HELD_OUT_FLITE not in {flite.voice(rng, unheard=False).name for _ in range(200)}


def test_scenes_hold_every_state_and_wishes_stay_in_range(talkers: Talkers) -> None:
    rng = np.random.default_rng(2)
    reply = speech(talkers)
    seen: set[State] = set()
    cuts = 0
    for _ in range(25):
        scene = conversation([reply, reply], talkers, rng)
        seen |= set(scene.states)
        cuts += sum(scene.cut)
        asked = wishes(scene, rng)
        assert len(asked) == scene.frames == len(scene.heard(rng)) // 640
        assert all(s.start + s.frames <= scene.frames for s in scene.segments)
        assert max(abs(a.gaze_azimuth_deg) for a in asked) <= 15.0 and max(a.warm for a in asked) <= 1.0
    assert seen == set(State) and 2 < cuts < 20
    assert isinstance(Scene().states, list) and len(REST) == 6


def test_styles_differ_but_seals_do_not(talkers: Talkers) -> None:
    """However somebody articulates, a closure is a closure."""
    said = speech(talkers)
    rng = np.random.default_rng(9)
    reach, closures = [], []
    for _ in range(6):
        frames = Mouth(np.random.default_rng(0), draw_style(rng)).segment(said.pcm_S, said.phones)
        reach.append(np.mean([s.value_A[0] for s in frames]))
        closures.append([float(s.value_A[1]) for s in frames])
    assert max(closures[0]) == 1.0 and all(c == closures[0] for c in closures)
    assert np.std(reach) > 0.05 * np.mean(reach)
