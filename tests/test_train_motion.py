"""Training the motion network: clips to windows to weights, cut off and resumed, distilled to one step."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar.audio.phones import TimedPhone
from avatar.clock import FRAME_SAMPLES
from avatar.motion import space
from avatar.motion.controls import CONTROL_INDEX, CONTROLS
from avatar.motion.diffusion.layout import AHEAD, AUDIO_COLUMNS, BLOCK, LOOK, SLOW_D
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.weights import load_weights
from scripts import motion_dataset, train_motion
from scripts.audio_augment import augment
from scripts.motion_clips import MotionClip, SpeechSegment, load_clip
from scripts.motion_dataset import MIRROR_D, MIRROR_SIGN_D, MotionData
from scripts.motion_objective import stray
from tests.test_motion_viseme_net import sound

FRAMES = 90


def clip(name: str, *, held_out: bool = False, source: str = "teacher") -> MotionClip:
    """Three and a half seconds whose jaw opens twice a second; speech in the middle."""
    motion_TD = np.zeros((FRAMES, space.DIM), np.float32)
    motion_TD[:, space.INDEX["jawOpen"]] = 0.15 + 0.15 * np.sin(np.arange(FRAMES) / 2.0)
    motion_TD[:, space.INDEX["jawLeft"]] = 0.2
    motion_TD[:, space.INDEX["headYaw"]] = 0.1 * np.sin(np.arange(FRAMES) / 25.0)
    motion_TD[:, space.INDEX["gazeAzimuth"]] = 0.1
    controls_TC = np.zeros((FRAMES, CONTROLS), np.float32)
    controls_TC[:, CONTROL_INDEX["gazeAzimuth"]] = 0.1
    controls_TC[:, CONTROL_INDEX["speaking"]] = 1.0
    phones = [TimedPhone("M", 0.0, 0.2), TimedPhone("AA", 0.2, 1.5)]
    segment = SpeechSegment(10, 50, sound(60 * FRAME_SAMPLES / 24_000), phones)
    return MotionClip(source, name, motion_TD, controls_TC, [segment], held_out=held_out)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    for i in range(3):
        clip(f"{i:03d}", held_out=i == 2).save(folder / "clips")
    motion_dataset.pack(folder / "clips", folder / "packed", None, 0, 1)
    return folder / "packed"


def test_a_clip_survives_its_file(tmp_path: Path) -> None:
    made = clip("x", held_out=True)
    read = load_clip(made.save(tmp_path))
    assert np.array_equal(read.motion_TD, made.motion_TD) and read.held_out and read.source == "teacher"
    assert read.segments[0].phones == made.segments[0].phones
    assert np.array_equal(read.segments[0].pcm_S, made.segments[0].pcm_S)


def test_windows_are_what_streaming_sees(packed: Path) -> None:
    data = MotionData(packed, "held")
    w = data.windows(np.random.default_rng(0), 64, past=8, new=BLOCK, look=LOOK, train=False, phones=True)
    assert w.motion_BTD.shape == (64, 8 + BLOCK + LOOK, space.DIM)
    speech_BT = w.audio_BTA[..., AUDIO_COLUMNS["flag_speech"]][..., 0] > 0.5
    heard_BT = w.audio_BTA[..., AUDIO_COLUMNS["flag_heard"]][..., 0] > 0.5
    late = speech_BT[:, -1]
    assert late.any() and not heard_BT[late, -1].any()  # the last look-ahead frame of speech is not heard yet
    assert heard_BT[~speech_BT].all()  # silence is known
    assert heard_BT[:, : 8 + BLOCK].all()
    assert not w.audio_BTA[late, -1][:, AUDIO_COLUMNS["hidden"]].any()


def test_variation_keeps_labels_true(packed: Path) -> None:
    data = MotionData(packed, "train")
    w = data.windows(np.random.default_rng(1), 200, past=0, new=10, look=LOOK)
    gaze_B = w.motion_BTD[:, 0, space.INDEX["gazeAzimuth"]]
    asked_B = w.controls_BTC[:, 0, CONTROL_INDEX["gazeAzimuth"]]
    assert np.abs(gaze_B - asked_B).max() < 1e-3 and gaze_B.std() > 0.02
    left_B, right_B = (w.motion_BTD[:, 0, space.INDEX[name]] for name in ("jawLeft", "jawRight"))
    assert 0.2 < (right_B > left_B).mean() < 0.8  # mirrored half the time


def test_mirror_twice_is_nothing() -> None:
    motion_D = np.random.default_rng(0).standard_normal(space.DIM).astype(np.float32)
    once_D = motion_D[MIRROR_D] * MIRROR_SIGN_D
    assert np.array_equal(once_D[MIRROR_D] * MIRROR_SIGN_D, motion_D)
    assert once_D[space.INDEX["jawRight"]] == motion_D[space.INDEX["jawLeft"]]
    assert once_D[space.INDEX["headYaw"]] == -motion_D[space.INDEX["headYaw"]]


@pytest.mark.parametrize("seed", range(6))
def test_augmented_sound_keeps_its_timing(seed: int) -> None:
    pcm_S = sound(2.0)
    other_S = augment(pcm_S, np.random.default_rng(seed))
    assert other_S.dtype == np.int16 and len(other_S) == len(pcm_S)
    loud, other = (np.abs(x.astype(float)).reshape(-1, 480).mean(1) for x in (pcm_S, other_S))
    lags = [np.corrcoef(loud[10:-10], other[10 + lag : len(other) - 10 + lag])[0, 1] for lag in range(-5, 6)]
    assert abs(int(np.argmax(lags)) - 5) <= 1


def run(packed: Path, out: Path, *more: str) -> None:
    arguments = ["--data", str(packed), "--out", str(out), "--size", "tiny", "--tokens", "200", "--save-every", "100"]
    train_motion.main([*arguments, *more])


def test_training_learns_resumes_distils_and_exports(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(packed, out, "--max-steps", "12", "--rate", "2e-3")
    with pytest.raises(SystemExit, match="--resume"):
        run(packed, out, "--max-steps", "1")
    run(packed, out, "--max-steps", "40", "--rate", "2e-3", "--resume")
    run(packed, out, "--max-steps", "5", "--distil", "--guidance", "0.3")
    with (out / "log.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "held_loss"]
    flow = [float(row["value"]) for row in rows if row["stage"] == "flow"]
    assert [row["stage"] for row in rows] == ["flow", "flow", "distilled"]
    assert flow[1] < flow[0] < 10.0
    train_motion.main(["--out", str(out), "--export", str(tmp_path / "motion.safetensors")])
    weights = load_weights(tmp_path / "motion.safetensors")
    assert weights.steps == 1 and weights.meta["guided"] == "yes"
    rng = np.random.default_rng(0)
    w = MotionData(packed, "held").windows(rng, 1, past=10, new=BLOCK, look=LOOK, train=False)
    noise_ND = rng.standard_normal((BLOCK + LOOK, space.DIM)).astype(np.float32)
    made_ND = NumpyNet(weights).sample(w.motion_BTD[0, :10], w.audio_BTA[0], w.controls_BTC[0], w.ear_BTU[0], noise_ND)
    assert made_ND.shape == (BLOCK + LOOK, space.DIM) and np.isfinite(made_ND).all()


def test_distilling_needs_a_teacher(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"flow\.pt is missing"):
        run(packed, tmp_path, "--distil")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="motion_dataset"):
        MotionData(tmp_path, "train")


def test_a_strayed_head_comes_home_and_nothing_else_moves() -> None:
    past, batch = 10, 200
    still = torch.zeros(batch, past + 40, space.DIM)
    moved_BT = stray(still, past, torch.Generator().manual_seed(1))
    assert not moved_BT[..., [i for i in range(space.DIM) if i not in range(space.DIM)[space.HEAD]]].any()
    far_BT = moved_BT[..., space.INDEX["headYaw"]].abs()
    astray = far_BT[:, past - 1] > 0.0
    assert 0.3 < float(astray.float().mean()) < 0.7
    assert (torch.diff(far_BT, dim=1) <= 1e-6).all(), "never farther than at first"
    assert (far_BT[:, -1] <= 0.2 * far_BT[:, 0] + 1e-6).all()
    step_BT = torch.diff(moved_BT[astray][..., space.INDEX["headYaw"]], dim=1)
    assert (torch.diff(step_BT, dim=1).abs() <= 0.01 * far_BT[astray][:, :1] + 1e-6).all(), "it sets out gently"
    assert not stray(still, 0, torch.Generator()).any(), "without a past nothing has strayed"


def test_reach_is_how_far_slow_channels_go(packed: Path) -> None:
    reach_ND = MotionData(packed, "train").statistics(np.random.default_rng(0), batch=200)["norm.reach"]
    assert reach_ND.shape == (AHEAD, space.DIM) and (reach_ND[:, ~SLOW_D] == 1.0).all()
    yaw_N = reach_ND[:, space.INDEX["headYaw"]]
    assert yaw_N[0] < yaw_N[4] < yaw_N[20]
