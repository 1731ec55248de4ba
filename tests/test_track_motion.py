"""What the tracker says of a face is what that face did: round trips through the project's own rig."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from avatar.audio.phones import TimedPhone
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.portrait.landmarks import LIDS
from avatar.portrait.models import load_models
from avatar.rig import basis
from avatar.rig.deform import head_pose
from avatar.rig.fit import PIVOT_CM
from scripts.motion_clips import MotionClip, SpeechSegment, clip_paths, load_clip
from scripts.track_motion import words_of
from scripts.tracking import check, eyes, facegood, film, mouth, statistics
from scripts.tracking.clip import KNOWN_D, Moved, Seen, learn_habits, move, see
from scripts.tracking.film import Track
from scripts.tracking.pose import angles
from scripts.tracking.shapes import ShapeFit, bounded
from scripts.tracking.speaker import learn_speaker
from tests.portrait_pictures import astronaut
from tests.rig_samples import PX_PER_CM, motion, sample_rig

FACE_PX = 100.0
FRAMES = 90
F32 = NDArray[np.float32]


def bump(middle: float, half: float) -> NDArray[np.float64]:
    """0..1..0 around a frame."""
    t = np.clip(np.abs(np.arange(FRAMES) - middle) / half, 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * t))


def performance() -> F32:
    """Silence, then syllables with sealed lips between them, rounding, a blink, brows, a turning head."""
    motion_TD = np.stack([motion() for _ in range(FRAMES)])
    jaw = 0.25 * (bump(30, 5) + bump(42, 5) + bump(60, 6)) + 0.03 * bump(36, 4)
    motion_TD[:, INDEX["jawOpen"]] = jaw
    closed = bump(36, 3) > 0.4
    motion_TD[closed, INDEX["mouthClose"]] = jaw[closed]
    motion_TD[:, INDEX["mouthPucker"]] = 0.6 * bump(60, 8)
    for side in ("Left", "Right"):
        motion_TD[:, INDEX["mouthSmile" + side]] = 0.3 * bump(75, 8)
        motion_TD[:, INDEX["browOuterUp" + side]] = 0.4 * bump(20, 10)
        motion_TD[:, INDEX["eyeBlink" + side]] = eyes.Blink(45 / FPS, 0.07, 0.06, 0.16).curve(FRAMES)
    motion_TD[:, INDEX["browInnerUp"]] = 0.4 * bump(20, 10)
    motion_TD[:, INDEX["headYaw"]] = np.radians(6) * bump(55, 18)
    motion_TD[:, INDEX["headPitch"]] = np.radians(-4) * bump(70, 14)
    motion_TD[:, INDEX["headRoll"]] = np.radians(3) * bump(40, 16)
    motion_TD[:, INDEX["gazeAzimuth"]] = np.radians(np.where(np.arange(FRAMES) > 65, 8.0, 0.0))
    return motion_TD.astype(np.float32)


def filmed(motion_TD: F32, noise_px: float, seed: int = 0) -> Track:
    """What a detector would see of the rig acting this, in a film where the face is 100 px wide."""
    rig = sample_rig("closed")
    scale = FACE_PX / rig.face_width
    rng = np.random.default_rng(seed)
    points, lids, irises = [], [], []
    for motion_D in motion_TD:
        face = rig.deform(motion_D)
        points.append(face.skin_V3[:468] * scale)
        lids.append([points[-1][list(rows), :2] for rows in LIDS])
        irises.append(np.repeat(face.iris_centre_23[:, None, :2] * scale, 5, axis=1))
    noisy = [np.array(a) + rng.normal(0.0, noise_px, np.shape(a)) for a in (points, lids, irises)]
    return Track(*(a.astype(np.float32) for a in noisy), np.ones(len(points), np.float32))


@pytest.fixture(scope="module")
def acted() -> tuple[F32, Moved]:
    """A performance, and what the tracker makes of it; the speaker is learnt from a clip of its own."""
    wanted_TD = performance()
    track = filmed(wanted_TD, noise_px=0.06)
    speaker = learn_speaker([track])
    shapes = ShapeFit(basis.load())
    seen = see(speaker, shapes, track)
    rest = see(speaker, shapes, filmed(np.stack([motion()] * 100), noise_px=0.06, seed=1))
    habits = learn_habits([rest, seen], speaker.face_width)
    phones = [TimedPhone("B", 34.5 / FPS, 37.5 / FPS)]
    return wanted_TD, move(seen, habits, speaker.face_width, phones)


def wrong(acted: tuple[F32, Moved], name: str) -> NDArray[np.float64]:
    """Error per frame of a channel."""
    wanted_TD, moved = acted
    return np.asarray(moved.motion_TD[:, INDEX[name]] - wanted_TD[:, INDEX[name]], np.float64)


def test_mouth_opens_as_the_face_did(acted: tuple[F32, Moved]) -> None:
    wanted = statistics.opening(acted[0])
    found = statistics.opening(acted[1].motion_TD)
    assert np.corrcoef(wanted, found)[0, 1] > 0.96
    assert 0.7 < found.max() / wanted.max() < 1.3


def test_lips_that_met_are_sealed_and_others_are_not(acted: tuple[F32, Moved]) -> None:
    motion_TD = acted[1].motion_TD
    sealed = motion_TD[:, INDEX["mouthClose"]] >= 0.9 * np.maximum(motion_TD[:, INDEX["jawOpen"]], 1e-3)
    assert sealed[36]
    assert not sealed[[28, 29, 30, 31, 41, 42, 43, 59, 60, 61]].any()
    assert sealed[:20].mean() > 0.9
    assert acted[1].counts["bilabials"] == 1 and acted[1].counts["open"] == 0


def test_rounding_smile_and_brows_are_seen(acted: tuple[F32, Moved]) -> None:
    for name, frame, quiet in (("mouthPucker", 60, 10), ("mouthSmileLeft", 75, 10), ("browOuterUpLeft", 20, 85)):
        found_T = acted[1].motion_TD[:, INDEX[name]]
        assert found_T[frame] > 0.5 * acted[0][frame, INDEX[name]], name
        assert found_T[quiet] < 0.1, name


@pytest.mark.parametrize(("name", "most_deg"), [("headYaw", 1.5), ("headPitch", 1.3), ("headRoll", 0.5)])
def test_head_turns_are_found(acted: tuple[F32, Moved], name: str, most_deg: float) -> None:
    error = np.degrees(wrong(acted, name))
    assert np.abs(error - np.median(error)).max() < most_deg


def test_gaze_moves_with_the_eyes_and_rests_between(acted: tuple[F32, Moved]) -> None:
    found = np.degrees(acted[1].motion_TD[:, INDEX["gazeAzimuth"]])
    assert abs(float(np.median(found[70:])) - float(np.median(found[:30])) - 8.0) < 2.5
    assert np.abs(np.diff(found[:40])).max() < 1.0


def test_one_blink_at_its_place_with_lids_closed(acted: tuple[F32, Moved]) -> None:
    (blink,) = acted[1].blinks
    assert abs(blink.start_s + blink.close_s - (45 / FPS + 0.07)) < 0.04
    assert acted[1].motion_TD[:, INDEX["eyeBlinkLeft"]].max() > 0.9
    assert np.abs(wrong(acted, "eyeBlinkLeft")[:43]).max() < 0.05


def test_check_sees_whether_clips_are_their_films(acted: tuple[F32, Moved], tmp_path: Path) -> None:
    """The default portrait opens its lips like the film when moved by what was tracked; moved by other motion, not."""
    filmed(acted[0], noise_px=0.06).save(tmp_path / "landmarks" / "a.npz")
    seconds = SpeechSegment(0, FRAMES, np.zeros(FRAMES * FRAME_SAMPLES, np.int16), None)
    for shift, least, most in ((0, 0.95, 1.0), (12, -1.0, 0.7)):
        motion_TD = np.roll(acted[1].motion_TD, shift, axis=0)
        MotionClip("grid", "a", motion_TD, acted[1].control_TC, [seconds], KNOWN_D).save(tmp_path)
        found = check.check(tmp_path, tmp_path, every=1, plot=None)
        assert least <= found["opening_r"] <= most and found["clips"] == 1
    with pytest.raises(ValueError, match="landmarks"):
        check.check(tmp_path, tmp_path / "none", every=1, plot=None)


def test_motion_is_in_range_and_what_is_not_known_is_said(acted: tuple[F32, Moved]) -> None:
    motion_TD = acted[1].motion_TD
    assert space.clamp(motion_TD)[1] == 0
    assert not KNOWN_D[INDEX["tongueHeight"]] and KNOWN_D[INDEX["jawOpen"]]


@settings(max_examples=40, deadline=None)
@given(yaw=st.floats(-1, 1), pitch=st.floats(-1, 1), roll=st.floats(-1, 1))
def test_angles_are_those_of_the_rigs_head_pose(yaw: float, pitch: float, roll: float) -> None:
    motion_D = motion(headYaw=yaw, headPitch=pitch, headRoll=roll)
    assert angles(head_pose(motion_D, 1.0).R_33[None].astype(np.float64))[0] == pytest.approx(
        [yaw, pitch, roll], abs=1e-5
    )


def test_head_shift_is_that_of_the_neck(acted: tuple[F32, Moved]) -> None:
    """The pivot stays where it is while the head turns about it."""
    assert PIVOT_CM.shape == (3,) and PX_PER_CM > 0
    for name in ("headX", "headY", "headLogScale"):
        error = wrong(acted, name)
        assert np.abs(error - np.median(error)).max() < 0.03, name


def test_bounded_least_squares_is_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 8))
    seen = rng.normal(size=(5, 60))
    gram = rows.T @ rows + 0.1 * np.eye(8)
    found = bounded(gram, seen @ rows, np.zeros(8))
    left = np.concatenate([rows, np.sqrt(0.1) * np.eye(8)])
    for row, answer in zip(seen, found, strict=True):
        exact = lsq_linear(left, np.r_[row, np.zeros(8)], bounds=(0.0, 1.0), tol=1e-12).x
        assert answer == pytest.approx(exact, abs=2e-3)


def test_the_rigs_lips_open_as_far_as_they_were_seen_to() -> None:
    """mouthClose is chosen by the rig's own law of sealing."""
    rig = sample_rig("closed")
    per_cm = rig.face_width / float(np.linalg.norm(np.subtract(*basis.load().neutral_V3[[234, 454]])))
    gap_T = np.array([0.0, 0.15, 0.3, 0.6, 0.9])
    start_TK = np.zeros((5, EXPRESSION_DIM))
    start_TK[:, INDEX["jawOpen"]] = 0.2
    matched_TK = mouth.match_gap(start_TK, gap_T)
    for wanted, weights_K in zip(gap_T, matched_TK, strict=True):
        motion_D = motion()
        motion_D[:EXPRESSION_DIM] = weights_K
        seen = rig.deform(motion_D).mouth_gap / per_cm
        assert seen == pytest.approx(wanted, abs=0.02 + 0.35 * wanted)
    assert matched_TK[0, INDEX["mouthClose"]] == matched_TK[0, INDEX["jawOpen"]]


def test_a_bilabial_seals_lips_that_came_near_and_no_others() -> None:
    gap_T = np.array([0.6, 0.4, 0.15, 0.5, 0.7, 0.6, 0.5, 0.6])
    start_TK = mouth.match_gap(np.zeros((8, EXPRESSION_DIM)), gap_T)
    near = [TimedPhone("M", 1.6 / FPS, 2.6 / FPS)]
    far = [TimedPhone("P", 5.6 / FPS, 6.6 / FPS)]
    out_TK, counts = mouth.seal_bilabials(start_TK, gap_T, near + far)
    sealed_T = out_TK[:, INDEX["mouthClose"]] == out_TK[:, INDEX["jawOpen"]]
    assert sealed_T.tolist() == [k == 2 for k in range(8)]
    assert out_TK[2, INDEX["mouthPressLeft"]] == mouth.PRESS
    assert counts == {"bilabials": 2, "closed": 0, "sharpened": 1, "open": 1}


def test_lips_at_the_teeth_are_not_taken_for_sealed() -> None:
    gap_T = mouth.part_almost(np.zeros(20), [TimedPhone("F", 0.2, 0.36), TimedPhone("M", 0.36, 0.5)])
    assert gap_T[5] > 0.0 and gap_T[9:14].max() == 0.0


@settings(max_examples=25, deadline=None)
@given(start=st.floats(0.4, 1.6), close=st.floats(0.06, 0.16), hold=st.floats(0.0, 0.15), up=st.floats(0.1, 0.3))
def test_blinks_are_recovered_from_noisy_lids(start: float, close: float, hold: float, up: float) -> None:
    curve_T = eyes.Blink(start, close, hold, up).curve(75)
    if curve_T.max() < 0.75:
        return  # between two pictures
    noisy_T = np.clip(curve_T + np.random.default_rng(0).normal(0, 0.03, 75), 0, 1)
    (blink,) = eyes.find_blinks(noisy_T)
    assert np.abs(blink.curve(75) - curve_T).max() < 0.35
    assert np.abs(blink.curve(75) - curve_T).mean() < 0.03


def test_two_blinks_in_a_row_are_two() -> None:
    curve_T = np.maximum(eyes.Blink(0.5, 0.08, 0.03, 0.16).curve(50), eyes.Blink(0.7, 0.08, 0.03, 0.16).curve(50))
    curve_T[14:22] = np.maximum(curve_T[14:22], 0.3)  # the lids do not come up all the way between them
    assert len(eyes.find_blinks(curve_T)) == 2


def test_fixations_are_constant_between_saccades() -> None:
    rng = np.random.default_rng(5)
    true_T2 = np.radians(np.repeat([[0.0, 0.0], [7.0, -2.0], [-4.0, 1.0]], 20, axis=0))
    found_T2 = eyes.fixations(true_T2 + np.radians(rng.normal(0, 0.3, (60, 2))))
    assert np.degrees(np.abs(found_T2 - true_T2)).max() < 0.6
    assert len(np.unique(found_T2[:, 0])) == 3
    settled_T2 = eyes.settled(true_T2, found_T2)
    assert np.degrees(np.abs(np.diff(settled_T2, axis=0))).max() < 8.0


def test_facegood_channels_lag_and_seal(tmp_path: Path) -> None:
    """A made-up take whose motion is three of its frames late comes out on time; closed lips are sealed."""
    names = [*facegood.TABLE, "brow_raise_c"]
    frames, late = 360, 3
    rng = np.random.default_rng(2)
    level = np.repeat(rng.uniform(0, 1, frames // 6), 6)
    level = np.where(level < 0.4, 0.0, level)
    smooth = np.convolve(level, np.hanning(7)[1:-1] / np.hanning(7)[1:-1].sum(), "same")
    weights = np.zeros((frames, len(names)), np.float32)
    weights[:, names.index("mouth_stretch_c")] = 0.5 * np.r_[np.zeros(late), smooth[:-late]]
    weights[100:110, names.index("mouth_press_l")] = weights[100:110, names.index("mouth_press_r")] = 0.6
    amplitude = np.repeat(smooth, STREAM_RATE // 30)
    pcm = (amplitude * rng.normal(0, 6000, len(amplitude))).clip(-30000, 30000).astype(np.int16)
    np.savez(tmp_path / "take.npz", weights=weights, names=np.array(names), fps=30)
    write_sound(tmp_path / "take.flac", pcm)

    facegood.make(tmp_path, tmp_path / "clips")
    clip = load_clip(clip_paths(tmp_path / "clips")[0])
    assert clip.source == "facegood" and not clip.known_D[INDEX["eyeBlinkLeft"]] and clip.known_D[INDEX["jawOpen"]]
    found = statistics.synchrony([clip])
    assert abs(found["lag_frames"]) < 0.5
    pressed_T = slice(round(98 / 30 * FPS), round(104 / 30 * FPS))
    jaw_T, close_T = clip.motion_TD[pressed_T, INDEX["jawOpen"]], clip.motion_TD[pressed_T, INDEX["mouthClose"]]
    assert (close_T >= 0.99 * jaw_T).all()
    with pytest.raises(ValueError, match="mouth_stretch_c"):
        facegood.mapped(weights, ["x"] * len(names))


def write_sound(path: Path, pcm_S: NDArray[np.int16]) -> None:
    """A FLAC file, mono, 24 kHz."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=STREAM_RATE)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm_S[None], format="s16", layout="mono")
        frame.rate = STREAM_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@settings(max_examples=20, deadline=None)
@given(late=st.integers(-3, 3))
def test_lag_is_measured_in_frames_and_with_its_sign(late: int) -> None:
    rng = np.random.default_rng(7)
    envelope = np.convolve(rng.uniform(0, 1, 200), np.ones(4) / 4, "same")
    sound = (np.repeat(envelope, FRAME_SAMPLES) * rng.normal(0, 5000, 200 * FRAME_SAMPLES)).astype(np.int16)
    loud = statistics.loudness(sound, FRAME_SAMPLES)
    assert statistics.best_lag(np.roll(loud, late)[4:-4], loud[4:-4]) == pytest.approx(late, abs=0.3)


def test_blink_spans_count_and_measure() -> None:
    curve_T = np.maximum(eyes.Blink(0.5, 0.1, 0.1, 0.2).curve(60), eyes.Blink(1.5, 0.1, 0.0, 0.2).curve(60))
    spans = statistics.blink_spans(curve_T)
    assert spans == pytest.approx([0.25, 0.15], abs=0.03)
    assert np.isnan(statistics.blink_spans(np.ones(5))[0])


def test_landmarks_follow_a_face_through_a_film() -> None:
    """A picture that moves by known pixels: the track moves by as many; what does not move stays still."""
    picture = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    shifts = [0.0] * 6 + [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    frames = [
        np.asarray(cv2.warpAffine(picture, np.array([[1, 0, s], [0, 1, 0.0]]), (256, 256), borderMode=1), np.uint8)
        for s in shifts
    ]
    found = film.track(load_models(), frames)
    assert found is not None and found.points_TN3.shape == (12, 468, 3) and found.lids_T2K2.shape == (12, 2, 16, 2)
    moved_T = (found.points_TN3[..., 0] - found.points_TN3[0, :, 0]).mean(1)
    assert moved_T == pytest.approx(shifts, abs=0.35)
    assert film.track(load_models(), [np.zeros((256, 256, 3), np.uint8)] * 3) is None


def test_tracks_and_fits_survive_a_file(tmp_path: Path) -> None:
    track = filmed(performance()[:3], 0.0)
    track.save(tmp_path / "a" / "t.npz")
    assert np.array_equal(Track.load(tmp_path / "a" / "t.npz").points_TN3, track.points_TN3)
    seen = Seen(*(np.ones(3) * k for k in range(7)))
    seen.save(tmp_path / "s.npz")
    assert np.array_equal(Seen.load(tmp_path / "s.npz").opening_T, seen.opening_T)


def test_words_of_a_clip_are_its_rows_without_silence(tmp_path: Path) -> None:
    table = tmp_path / "words.tsv"
    table.write_text("clip\tstart\tend\tword\na\t0\t5\tsil\na\t5\t9\tbin\na\t9\t12\tblue\nb\t0\t4\tset\n")
    assert words_of(table) == {"a": "bin blue", "b": "set"}
