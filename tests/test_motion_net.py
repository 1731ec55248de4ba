"""The numpy network is the torch network; its weights file refuses what it cannot use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from avatar.motion.controls import CONTROLS
from avatar.motion.diffusion.layout import AHEAD, AUDIO, CONTROL_GAIN, EAR, LOOK, MAX_PAST, SLOW_D
from avatar.motion.diffusion.net import SIZES, MotionNet, parameters_of
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.weights import MotionWeights, load_weights, save_weights, shipped_weights
from avatar.motion.space import DIM


def write_random(path: Path, seed: int = 0) -> Path:
    """A tiny network's weights file with random numbers."""
    torch.manual_seed(seed)
    config = SIZES["tiny"]
    net = MotionNet(config)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.06)
    rng = np.random.default_rng(seed)
    tensors = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    tensors |= {
        "norm.mean": rng.normal(0, 0.1, DIM).astype(np.float32),
        "norm.scale": rng.uniform(0.02, 0.2, DIM).astype(np.float32),
        "norm.reach": np.where(SLOW_D, rng.uniform(0.05, 1.5, (AHEAD, DIM)), 1.0).astype(np.float32),
        "norm.audio_mean": rng.normal(0, 0.3, AUDIO).astype(np.float32),
        "norm.audio_scale": rng.uniform(0.5, 2.0, AUDIO).astype(np.float32),
    }
    save_weights(
        path, tensors, width=config.width, layers=config.layers, heads=config.heads, steps=1, meta={"size": "tiny"}
    )
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> MotionWeights:
    return load_weights(write_random(tmp_path_factory.mktemp("motion") / "tiny.safetensors"))


def torch_sample(
    weights: MotionWeights, past_PD: np.ndarray, conditions: np.ndarray, noise_ND: np.ndarray, steps: int
) -> np.ndarray:
    """The same Euler steps, written from the definition: x += v dt, v = (clean - x) / (1 - t)."""
    net = MotionNet(SIZES["tiny"], torch.from_numpy(weights.tensors["norm.reach"]))
    net.load_state_dict({n: torch.from_numpy(t) for n, t in weights.tensors.items() if not n.startswith("norm.")})
    past = len(past_PD)
    given = torch.from_numpy((past_PD - weights.mean_D) / weights.scale_D)
    x = torch.from_numpy(noise_ND)
    if past:  # noise of the slow channels is laid around where they are
        slow = torch.from_numpy(SLOW_D)
        x = torch.where(slow, given[-1] + net.reach_ND[: len(x)] * x, x)
    for i in range(steps):
        t = i / steps
        inputs = torch.cat([torch.cat([given, x]), torch.from_numpy(conditions)], dim=1).float()
        with torch.inference_mode():
            clean = net(inputs[None], torch.tensor([t]), past)[0]
        x = x + (clean - x) / (1.0 - t) / steps
    return x.numpy() * weights.scale_D + weights.mean_D


@given(past=st.integers(0, MAX_PAST), new=st.integers(1, 12), steps=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_numpy_equals_torch(weights: MotionWeights, past: int, new: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = new + LOOK

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    past_PD, audio_TA = normal(past, DIM), normal(past + count, AUDIO)
    control_TC, ear_TU = normal(past + count, CONTROLS), normal(past + count, EAR)
    noise_ND = normal(count, DIM)
    role = np.repeat(np.eye(3, dtype=np.float32), [past, new, LOOK], axis=0)
    audio = (audio_TA - weights.tensors["norm.audio_mean"]) / weights.tensors["norm.audio_scale"]
    wanted_ND = torch_sample(
        weights, past_PD, np.concatenate([audio, control_TC * CONTROL_GAIN, ear_TU, role], axis=1), noise_ND, steps
    )
    given_ND = noise_ND.copy()
    got_ND = NumpyNet(weights, steps, past=MAX_PAST).sample(past_PD, audio_TA, control_TC, ear_TU, noise_ND)
    assert np.abs(got_ND - wanted_ND).max() < 1e-4
    assert np.array_equal(noise_ND, given_ND)


def test_the_sizes_are_what_they_are_called() -> None:
    assert 4e6 < parameters_of(MotionNet(SIZES["small"])) < 6.5e6
    assert 25e6 < parameters_of(MotionNet(SIZES["base"])) < 35e6


@pytest.mark.parametrize(("steps", "past", "word"), [(0, 10, "flow steps"), (1, 26, "past frames"), (1, -1, "past")])
def test_impossible_sampling_is_refused(weights: MotionWeights, steps: int, past: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        NumpyNet(weights, steps, past)


def test_files_that_are_no_motion_model_are_refused(tmp_path: Path, weights: MotionWeights) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="no motion model"):
        load_weights(tmp_path / "text.safetensors")
    save_file({"other": np.zeros(3, np.float32)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="this version"):
        load_weights(tmp_path / "other.safetensors")
    broken = weights.tensors | {"head.bias": np.full(DIM, np.nan, np.float32)}
    save_weights(tmp_path / "nan.safetensors", broken, width=128, layers=3, heads=4, steps=1, meta={})
    with pytest.raises(ValueError, match="not finite"):
        load_weights(tmp_path / "nan.safetensors")


def test_a_size_that_is_not_shipped_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"train one .*--size base"):
        shipped_weights("base")
