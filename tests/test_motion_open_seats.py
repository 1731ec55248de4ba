"""Motions whose networks are seats of one batch: the same motion, and no seat is ever lost.

On the CPU here, by the code that a GPU runs.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

import agent.parts
from agent import doctor
from agent.runner import AvatarRunner
from avatar.clock import STREAM_RATE
from avatar.device import device_of
from avatar.errors import AvatarError
from avatar.motion.diffusion.shared import SharedMotion
from avatar.motion.open import SeatedMotion, _shared, close_motion, open_motion, open_seated, steps_of
from avatar.motion.protocol import Motion
from avatar.motion.state import State
from config.settings import AvatarSettings, Settings
from tests.agent_stand_ins import DiscDecoder
from tests.test_motion_net import write_random

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for")


@pytest.fixture
def settings(tmp_path: Path) -> AvatarSettings:
    """Two seats of a random network that is meant for one step."""
    model = str(write_random(tmp_path / "own.safetensors"))
    return AvatarSettings(motion_model=model, motion_seats=2, seed=5)


def shared_of(settings: AvatarSettings) -> SharedMotion:
    return _shared(settings.motion_model, settings.motion_steps, "cpu", settings.motion_seats)


def with_steps(path: str, steps: int) -> str:
    """A copy of a weights file, meant for this many steps."""
    with safe_open(path, framework="numpy") as file:
        meta = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    meta["motion"] = json.dumps(json.loads(meta["motion"]) | {"steps": steps})
    copy = Path(path).with_name(f"steps{steps}.safetensors")
    save_file(tensors, str(copy), metadata=meta)
    return str(copy)


def conversation(motion: Motion) -> NDArray[np.float32]:
    """Idle, speak without phone times, be interrupted, listen: motion [T, 52]."""
    rng = np.random.default_rng(1)
    at_S = np.arange(3 * STREAM_RATE // 2) / STREAM_RATE
    pcm_S = (rng.normal(0, 4000, len(at_S)) * np.abs(np.sin(7 * at_S))).astype(np.int16)
    frames = [motion.next_motion() for _ in range(7)]
    for first in range(0, len(pcm_S), 9000):
        motion.push_audio(pcm_S[first : first + 9000])
        while motion.ready_frames() > 0:
            motion.prepare()
            frames.append(motion.next_motion())
    motion.clear()
    motion.set_state(State.LISTENING)
    return np.stack([*frames, *(motion.next_motion() for _ in range(20))])


def test_a_seat_moves_as_a_network_of_ones_own(settings: AvatarSettings) -> None:
    """Also beside another session, and at a seat where somebody sat before."""
    expected_TD = conversation(open_motion(settings))
    assert np.ptp(expected_TD, axis=0).max() > 0.05, "a face at rest would agree, too"
    other = open_seated(settings, "cpu", seed=9)
    for _ in range(2):
        motion = open_seated(settings, "cpu")
        np.testing.assert_allclose(conversation(motion), expected_TD, atol=1e-3)
        close_motion(motion)
    assert np.abs(conversation(other) - expected_TD).max() > 0.05, "another seed is another motion"
    close_motion(other)


def test_no_more_sessions_than_seats(settings: AvatarSettings) -> None:
    first, second = open_seated(settings, "cpu"), open_seated(settings, "cpu")
    with pytest.raises(AvatarError, match=r"All 2 seats .* avatar\.motion_seats") as refusal:
        open_seated(settings, "cpu")
    assert refusal.value.code == "full"
    close_motion(first)
    close_motion(first)  # its seat may be somebody else's by now
    third = open_seated(settings, "cpu")
    close_motion(first)
    with pytest.raises(AvatarError, match="seats"):
        open_seated(settings, "cpu")
    second.next_motion()
    third.next_motion()
    for motion in (second, third):
        close_motion(motion)
    assert shared_of(settings).windows.seated == 0


def test_a_forgotten_motion_gives_its_seat_back(settings: AvatarSettings) -> None:
    """Dozens of sessions that nobody closed; collected even where the lock of the seats is held."""
    shared = shared_of(settings)
    for _ in range(12):
        for _ in range(2):
            open_seated(settings, "cpu").next_motion()
        gc.collect()
    kept = open_seated(settings, "cpu")
    assert shared.windows.seated == 1
    del kept
    with shared.windows._state:
        gc.collect()
    assert len(shared.abandoned) == 1
    close_motion(open_seated(settings, "cpu"))
    assert shared.windows.seated == 0 and not shared.abandoned


def test_a_motion_that_cannot_be_made_keeps_no_seat(settings: AvatarSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("avatar.motion.diffusion.stream.FrameNoise", None)
        for _ in range(5):
            with pytest.raises(TypeError):
                open_seated(settings, "cpu")
            gc.collect()
    close_motion(open_seated(settings, "cpu"))
    assert shared_of(settings).windows.seated == 0


def test_sessions_that_begin_together_share_one_batch(
    settings: AvatarSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SharedMotion] = []

    def slow(shared: SharedMotion) -> None:
        made.append(shared)
        time.sleep(0.2)

    monkeypatch.setattr(SharedMotion, "warm_up", slow)
    opened: list[SeatedMotion] = []
    threads = [threading.Thread(target=lambda: opened.append(open_seated(settings, "cpu"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 2 and len(made) == 1 and made[0].windows.seated == 2
    for motion in opened:
        close_motion(motion)


async def test_a_runner_gives_the_seat_back(settings: AvatarSettings) -> None:
    shared = shared_of(settings)
    for _ in range(3):
        runner = AvatarRunner(None, open_seated(settings, "cpu"))
        runner.start()
        assert shared.windows.seated == 1
        await runner.aclose()
        assert shared.windows.seated == 0


def test_warming_up_and_a_failed_start_take_no_seat(settings: AvatarSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.parts, "open_motion", lambda avatar: open_seated(avatar, "cpu"))
    whole = Settings(avatar=settings)
    agent.parts._warm_motion(whole)
    shared = shared_of(settings)
    assert shared.windows.answered > 0 and shared.windows.seated == 0
    with pytest.raises(AvatarError):
        agent.parts.build_runner(Settings(avatar=settings.model_copy(update={"portrait": "no/such/face.jpg"})))
    assert shared.windows.seated == 0
    runner = agent.parts.build_runner(whole, decoder=DiscDecoder())
    assert shared.windows.seated == 1
    close_motion(runner._motion)


def test_the_file_says_how_many_steps_unless_the_settings_do(settings: AvatarSettings) -> None:
    assert AvatarSettings().motion_steps is None
    for steps in (1, 3):
        meant = settings.model_copy(update={"motion_model": with_steps(settings.motion_model, steps)})
        assert steps_of(meant) == steps and shared_of(meant).motion.steps == steps
        asked = meant.model_copy(update={"motion_steps": 2})
        assert steps_of(asked) == 2 and shared_of(asked).motion.steps == 2
        motion = [conversation(open_motion(which)) for which in (meant, meant, asked)]
        explicit = meant.model_copy(update={"motion_steps": steps})
        np.testing.assert_array_equal(motion[0], conversation(open_motion(explicit)))
        assert np.abs(motion[1] - motion[2]).max() > 1e-3
        found = {f.part: f for f in doctor.diagnose(Settings(avatar=meant))}["motion"]
        assert found.choice.endswith(f", {steps} step{'s' if steps > 1 else ''}")


def test_a_model_that_is_none_is_refused_at_a_seat_as_well(tmp_path: Path) -> None:
    with pytest.raises(AvatarError, match="articulation") as refusal:
        open_seated(AvatarSettings(motion_model=str(tmp_path / "absent.safetensors")), "cpu")
    assert refusal.value.code == "no_motion_model"


@needs_none
def test_a_missing_gpu_is_explained(settings: AvatarSettings) -> None:
    wish = settings.model_copy(update={"device": "cuda"})
    with pytest.raises(AvatarError, match=r"no CUDA GPU .* avatar\.device to cpu") as refusal:
        open_motion(wish)
    assert refusal.value.code == "no_gpu"
    found = {f.part: f for f in doctor.diagnose(Settings(avatar=wish))}
    assert found["motion"].status == found["torch"].status == "missing"
    auto = open_motion(settings.model_copy(update={"device": "auto"}))
    assert not isinstance(auto, SeatedMotion)
    np.testing.assert_array_equal(auto.next_motion(), open_motion(settings).next_motion())


def test_where_a_gpu_is_there_it_is_taken_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device_of(AvatarSettings(device=name)) for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]


@needs_gpu
def test_on_a_real_gpu(settings: AvatarSettings) -> None:
    motion = open_motion(settings.model_copy(update={"device": "auto"}))
    assert isinstance(motion, SeatedMotion)
    np.testing.assert_allclose(conversation(motion), conversation(open_motion(settings)), atol=1e-3)
    close_motion(motion)


def test_the_cpu_needs_no_torch(settings: AvatarSettings) -> None:
    code = (
        "import sys; from avatar.motion.open import *; from config.settings import AvatarSettings;"
        f"motion = open_motion(AvatarSettings(motion_model={settings.motion_model!r})); motion.next_motion();"
        "close_motion(motion); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
