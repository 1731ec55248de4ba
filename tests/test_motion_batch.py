"""Windows sampled in a batch are `NumpyNet`'s windows, whoever shares the batch and whoever comes and goes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode

from avatar.motion.diffusion import batch as batch_module
from avatar.motion.diffusion.batch import MotionBatch, Window
from avatar.motion.diffusion.batch_bench import count_visemes, count_window, measure, random_window, table, untrained
from avatar.motion.diffusion.batch_features import VisemeBatch, VisemeStep
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.layout import BLOCK, LOOK, PAST
from avatar.motion.diffusion.net import SIZES, MotionNet, parameters_of
from avatar.motion.diffusion.numpy_net import NumpyNet
from avatar.motion.diffusion.shared import SharedMotion
from avatar.motion.diffusion.stream import DiffusionMotion
from avatar.motion.diffusion.together import Full
from avatar.motion.state import State
from avatar.motion.viseme_net import VisemeNet, default_weights
from avatar.render.batch.count import HOST_READS, Counter

TOLERANCE = 1e-4
"""In motion units (blendshape weights, radians): torch and numpy add up in another order."""


def window(seed: int, past: int = PAST, new: int = BLOCK) -> Window:
    return random_window(np.random.default_rng(seed), past, new)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_every_slot_is_a_numpy_net(steps: int) -> None:
    """Full windows, cold starts, short ends, and a slot without a window, in one forward."""
    weights = untrained("tiny", 1)
    batch, alone = MotionBatch(weights, 6, device="cpu", steps=steps), NumpyNet(weights, steps)
    asked = {0: window(0), 1: window(1, 0), 2: window(2, 3), 4: window(4, PAST, 2), 5: window(5, 1, 1)}
    answers = batch.sample(asked)
    assert set(answers) == set(asked)
    for slot, item in asked.items():
        expected_ND = alone.sample(*item)
        assert np.abs(expected_ND).max() > 0.1, "weights that do nothing would agree, too"
        np.testing.assert_allclose(answers[slot], expected_ND, atol=TOLERANCE)


def test_the_sizes_that_ship_agree() -> None:
    """`small` on the CPU and in the batch are one network; so is `base`."""
    for size in ("small", "base"):
        weights, item = untrained(size), window(7)
        batched_ND = MotionBatch(weights, 2, device="cpu").sample({1: item})[1]
        np.testing.assert_allclose(batched_ND, NumpyNet(weights).sample(*item), atol=TOLERANCE)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_slots_do_not_notice_each_other(data: st.DataObject) -> None:
    """Bit for bit: the same window in the same slot gives the same motion, whatever the others ask or asked before,
    were it not a number. In another slot it is the same within rounding."""
    batch, fresh = shared_batch(), MotionBatch(untrained("tiny", 1), 4, device="cpu")
    slot, mine = data.draw(st.integers(0, 3)), window(99, data.draw(st.integers(0, PAST)))
    alone_ND = fresh.sample({slot: mine})[slot]
    others = {}
    for other in data.draw(st.sets(st.integers(0, 3).filter(lambda s: s != slot))):
        others[other] = window(data.draw(st.integers(0, 5)), data.draw(st.integers(0, PAST)))
        if data.draw(st.booleans()):
            others[other].audio_TA[:] = np.nan
    np.testing.assert_array_equal(batch.sample({slot: mine, **others})[slot], alone_ND)
    elsewhere = (slot + 1) % 4
    np.testing.assert_allclose(fresh.sample({elsewhere: mine})[elsewhere], alone_ND, atol=1e-5)


_BATCHES: list[MotionBatch] = []


def shared_batch() -> MotionBatch:
    """One batch for all examples: what earlier examples left in its slots must not matter."""
    if not _BATCHES:
        _BATCHES.append(MotionBatch(untrained("tiny", 1), 4, device="cpu"))
    return _BATCHES[0]


def test_a_newcomer_finds_no_trace() -> None:
    """After a neighbour whose numbers were not finite, a cold start in the same slot, shorter than what lay there."""
    weights = untrained("tiny", 1)
    batch, first, cold = MotionBatch(weights, 2, device="cpu"), window(1), window(2, 0, 1)
    for part in first:
        part[:] = np.nan
    assert np.isnan(batch.sample({0: first})[0]).all()
    np.testing.assert_allclose(batch.sample({0: cold})[0], NumpyNet(weights).sample(*cold), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (window(0, PAST + 1), "0 to 10 past"),
        (window(0, PAST, BLOCK + 1), "1 to 5 new"),
        (window(0, PAST, 0), "1 to 5 new"),
        (window(0)._replace(audio_TA=window(0, 9).audio_TA), "do not fit each other"),
    ],
)
def test_windows_that_do_not_fit_are_refused(item: Window, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shared_batch().sample({0: item})
    with pytest.raises(ValueError, match="no slot 4"):
        shared_batch().sample({4: window(0)})


def test_settings_that_cannot_be() -> None:
    for wrong in ({"steps": 0}, {"past": 26}, {"new": 0}):
        with pytest.raises(ValueError, match=r"flow steps|the network knows"):
            MotionBatch(untrained("tiny"), 1, device="cpu", **wrong)  # type: ignore[arg-type]
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            MotionBatch(untrained("tiny"), 1)


def test_a_forward_could_be_captured() -> None:
    """No operator that waits for the device or reads the host's memory, and the same work whatever is asked."""
    batch = MotionBatch(untrained("tiny"), 2, device="cpu", steps=2)
    works = []
    for asked in ({}, {0: window(0), 1: window(1, 2, 1)}):
        batch.sample(asked)
        with torch.inference_mode(), Counter() as counter:
            batch.step()
        counter.end("all")
        assert not counter.operators & HOST_READS
        works.append(counter.stages["all"])
    assert works[0] == works[1]


def test_no_tensor_of_the_host_meets_one_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretended CUDA tensors go through both networks; any that meets one of the host raises."""
    monkeypatch.setattr(batch_module, "find_device", lambda name: torch.device("cuda:0"))
    weights = untrained("tiny")
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = MotionBatch(weights, 2, device="cuda", steps=2)
        batch.step()
        hearing = VisemeStep(2, 8, default_weights(), torch.device("cuda:0"))
        hearing.step()
    assert batch.motion_BND.device.type == hearing.out_BKX.device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("tf32", "tolerance"), [(False, TOLERANCE), (True, 1e-2)])
def test_on_a_gpu_the_replayed_graph_agrees(tf32: bool, tolerance: float) -> None:
    """Other windows and other sound at every replay; slots come and go between replays."""
    weights = untrained("small", 1, steps=2)
    batch, alone = MotionBatch(weights, 4, device="cuda", tf32=tf32), NumpyNet(weights, 2)
    hearing, nets = VisemeBatch(2, device="cuda"), [VisemeNet(), VisemeNet()]
    for turn in range(4):
        asked = {turn: window(turn, 3 * turn), (turn + 1) % 4: window(9 + turn)}
        for slot, motion_ND in batch.sample(asked).items():
            np.testing.assert_allclose(motion_ND, alone.sample(*asked[slot]), atol=tolerance)
        sounds = {slot: speech(7 * turn + slot)[: 5000 + 999 * turn] for slot in range(2)}
        hearing.prefetch(sounds)
        for slot, pcm_S in sounds.items():
            ours, theirs = hearing.net(slot).push_hidden(pcm_S), nets[slot].push_hidden(pcm_S)
            np.testing.assert_allclose(ours[0], theirs[0], atol=1e-3)
            np.testing.assert_allclose(ours[1], theirs[1], atol=1e-2)
        hearing.net(turn % 2).reset()
        nets[turn % 2].reset()


def test_sessions_on_threads_share_forwards_and_get_their_own() -> None:
    """Six sessions of 12 blocks on four seats, each by its own thread: every window as `NumpyNet` makes it, every
    posterior as `VisemeNet` makes it."""
    weights = untrained("tiny", 1)
    shared = SharedMotion(weights, 4, device="cpu", gather_s=0.003)
    shared.warm_up()
    alone = NumpyNet(weights)

    def session(number: int) -> float:
        rng, worst = np.random.default_rng(number), 0.0
        while True:
            try:
                place = shared.join()
                break
            except Full:
                time.sleep(0.002)
        net = VisemeNet()
        for block in range(12):
            pcm_S = rng.normal(0, 3000, 4800).astype(np.int16)
            ours, theirs = place.visemes.push(pcm_S), net.push(pcm_S)
            assert ours.shape == theirs.shape
            item = random_window(rng, min(PAST, 5 * block))
            worst = max(worst, float(np.abs(place.net.sample(*item) - alone.sample(*item)).max()))
            worst = max(worst, float(np.abs(ours - theirs).max(initial=0.0)))
        place.leave()
        return worst

    with ThreadPoolExecutor(6) as pool:
        assert max(pool.map(session, range(6))) < TOLERANCE
    assert shared.windows.answered == 72 and shared.windows.seated == 0
    assert shared.windows.calls < 72, "nobody ever shared a forward"


def test_a_window_that_does_not_fit_is_the_askers_own_problem() -> None:
    shared = SharedMotion(untrained("tiny", 1), 2, device="cpu")
    good, bad = shared.join(), shared.join()
    future = good.net.submit(window(0))
    with pytest.raises(ValueError, match="new frames"):
        bad.net.sample(*window(0, PAST, BLOCK + 1))
    shared.windows.run()
    assert future.result(timeout=0).shape == (BLOCK + LOOK, 52)


def test_a_seat_is_clean_when_taken_again() -> None:
    shared = SharedMotion(untrained("tiny", 1), 1, device="cpu")
    pcm_S = np.random.default_rng(0).normal(0, 3000, 9600).astype(np.int16)
    first = shared.join()
    heard_TV = first.visemes.push(pcm_S)
    with pytest.raises(Full):
        shared.join()
    first.leave()
    np.testing.assert_array_equal(shared.join().visemes.push(pcm_S), heard_TV)


def test_what_is_counted_is_what_the_network_is() -> None:
    """Two operations per weight and token, plus attention; twice the slots, twice the operations."""
    config, tokens = SIZES["small"], PAST + BLOCK + LOOK
    one, two = count_window("small", 1), count_window("small", 2)
    layer = 2 * 12 * config.width**2 * tokens + 2 * 2 * config.width * tokens**2
    assert one["gflop"] * 1e9 > config.layers * layer
    assert one["gflop"] * 1e9 < 1.4 * config.layers * layer
    assert two["gflop"] == pytest.approx(2 * one["gflop"], rel=0.05) and two["kernels"] == one["kernels"]
    assert one["megabytes"] * 1e6 > 4 * one["parameters"]
    assert one["parameters"] == parameters_of(MotionNet(config))
    assert count_visemes(64)["gflop"] == pytest.approx(64 * count_visemes(1)["gflop"], rel=0.05)


def test_the_bench_gives_a_row_per_batch() -> None:
    rows = measure(untrained("tiny"), "cpu", (1, 3), repeats=3)
    assert [row["slots"] for row in rows] == [1, 3]
    assert all(row["chunk_ms"] > 0 and row["visemes_ms"] > 0 for row in rows)
    assert len(table(rows).splitlines()) == 3


def test_live_sessions_in_a_batch_move_as_they_would_alone() -> None:
    """Three `DiffusionMotion` at the seats of one batch, each on its own thread, one interrupted: frame by frame the
    motion of three with networks of their own, within rounding."""
    weights, sounds = untrained("tiny", 1), [speech(seed) for seed in range(3)]
    shared = SharedMotion(weights, 3, device="cpu", gather_s=0.003)

    def seated(number: int) -> DiffusionMotion:
        place = shared.join()
        return DiffusionMotion(place.net, number, features=SpeechFeatures(place.visemes))

    together = [seated(number) for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        shown = list(pool.map(conversation, together, sounds))
    assert shared.windows.calls < shared.windows.answered
    for number, motion_TD in enumerate(shown):
        alone = DiffusionMotion(NumpyNet(weights), number, features=SpeechFeatures(VisemeNet()))
        expected_TD = conversation(alone, sounds[number])
        assert np.ptp(expected_TD, axis=0).max() > 0.05, "a face at rest would agree, too"
        np.testing.assert_allclose(motion_TD, expected_TD, atol=1e-3)


def speech(seed: int) -> NDArray[np.int16]:
    rng = np.random.default_rng(seed)
    at_S = np.arange(36_000) / 24_000
    return (rng.normal(0, 4000, len(at_S)) * np.abs(np.sin(7 * at_S + seed))).astype(np.int16)


def conversation(motion: DiffusionMotion, pcm_S: NDArray[np.int16]) -> NDArray[np.float32]:
    """Idle, speak, be interrupted, listen: 60 frames or so."""
    frames = [motion.next_motion() for _ in range(7)]
    for first in range(0, len(pcm_S), 9000):
        motion.push_audio(pcm_S[first : first + 9000])
        while motion.ready_frames() > 0:
            frames.append(motion.next_motion())
    motion.clear()
    motion.set_state(State.LISTENING)
    motion.hear(pcm_S[:16_000])
    return np.stack([*frames, *(motion.next_motion() for _ in range(25))])
