"""The batched viseme network gives each slot what its own `VisemeNet` would give, whoever shares the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.audio.features import HOP
from avatar.clock import STREAM_RATE
from avatar.motion.diffusion.batch_features import VisemeBatch, VisemeStep
from avatar.motion.viseme_net import VisemeNet
from avatar.render.batch.count import HOST_READS, Counter
from tests.test_motion_viseme_net import random_weights

TOLERANCE = 2e-4
"""Activations of a few units; the CPU network and torch add up in another order."""


def sound(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    """Noise that swells and pauses, so that the running mean both moves and rests."""
    rng = np.random.default_rng(seed)
    at_S = np.arange(int(seconds * STREAM_RATE)) / STREAM_RATE
    swell_S = np.maximum(0.0, np.sin(2 * np.pi * (1.3 + 0.2 * seed) * at_S)) * (at_S % 1.1 < 0.8)
    return (rng.normal(0, 5000, len(at_S)) * swell_S).clip(-32768, 32767).astype(np.int16)


def check_same(got: tuple[NDArray[np.float32], ...], wanted: tuple[NDArray[np.float32], ...]) -> None:
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_slot_is_a_viseme_net(data: st.DataObject) -> None:
    """Pushes of any length, ends and new speakers in any order; prefetched or not: the same outputs, call by call."""
    weights = random_weights()
    batch = VisemeBatch(3, weights, device="cpu", frames=8)
    nets = [VisemeNet(weights) for _ in range(3)]
    at = [0, 0, 0]
    sounds = [sound(4.0, seed) for seed in range(3)]
    for _ in range(data.draw(st.integers(1, 8))):
        pieces = {}
        for slot in range(3):
            length = data.draw(st.sampled_from([0, 1, 239, 240, 599, 600, 960, 4800, 7777]))
            pieces[slot] = sounds[slot][at[slot] : at[slot] + length]
            at[slot] += length
        if data.draw(st.booleans()):
            batch.prefetch(pieces)
        for slot, pcm_S in pieces.items():
            check_same(batch.net(slot).push_hidden(pcm_S), nets[slot].push_hidden(pcm_S))
        slot = data.draw(st.integers(0, 5))
        if slot < 3:
            check_same(batch.net(slot).flush_hidden(), nets[slot].flush_hidden())
            if data.draw(st.booleans()):
                batch.net(slot).reset()
                nets[slot].reset()


def test_the_shipped_network_agrees() -> None:
    """With the weights that are shipped, over a stretch long enough for the running mean's memory."""
    batch, net, pcm_S = VisemeBatch(2, device="cpu"), VisemeNet(), sound(6.0, 3)
    got, wanted = batch.net(1).push_hidden(pcm_S), net.push_hidden(pcm_S)
    assert len(got[0]) > 550
    check_same(got, wanted)
    assert np.abs(np.diff(wanted[0], axis=0)).max() > 0.2, "the sound must move the posteriors"


def test_a_slot_does_not_notice_the_others() -> None:
    """Bit for bit the same alone and in company: rows of a batch do not mix."""
    pcm_S, weights = sound(1.5, 1), random_weights()
    alone, shared = VisemeBatch(4, weights, device="cpu"), VisemeBatch(4, weights, device="cpu")
    shared.prefetch({0: sound(0.9, 2), 1: pcm_S, 3: sound(2.0, 4)})
    for mine, theirs in zip(alone.net(1).push_hidden(pcm_S), shared.net(1).push_hidden(pcm_S), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_prefetching_makes_one_call_of_many() -> None:
    batch = VisemeBatch(8, random_weights(), device="cpu")
    pieces = {slot: sound(0.2, slot) for slot in range(8)}
    batch.prefetch(pieces)
    calls = batch.calls
    for slot, pcm_S in pieces.items():
        batch.net(slot).push(pcm_S)
    assert batch.calls == calls == 1


def test_more_is_not_given_than_was_pushed() -> None:
    """Prefetched audio is not heard before the session pushes it: a `VisemeNet` could not have heard it either."""
    batch, net, pcm_S = VisemeBatch(1, random_weights(), device="cpu"), VisemeNet(random_weights()), sound(1.0)
    batch.prefetch({0: pcm_S})
    for first in range(0, len(pcm_S), 3000):
        part_S = pcm_S[first : first + 3000]
        check_same(batch.net(0).push_hidden(part_S), net.push_hidden(part_S))
    check_same(batch.net(0).flush_hidden(), net.flush_hidden())


def test_what_was_prefetched_must_come() -> None:
    batch = VisemeBatch(1, random_weights(), device="cpu")
    batch.prefetch({0: sound(0.2, 1)})
    with pytest.raises(ValueError, match="not the samples"):
        batch.net(0).push(sound(0.2, 2))
    with pytest.raises(ValueError, match="not pushed"):
        batch.net(0).flush()
    batch.net(0).reset()
    assert len(batch.net(0).push(sound(0.2, 2))) > 0


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="no CUDA device"):
        VisemeBatch(1, random_weights())


def test_a_call_could_be_captured() -> None:
    """No operator that waits for the device or reads the host's memory, and the same work whatever the input."""
    step = VisemeStep(2, 8, random_weights(), torch.device("cpu"))
    works = []
    for fill in (0, 6):
        step.frames_B.fill_(fill)
        with torch.inference_mode(), Counter() as counter:
            step.step()
        counter.end("all")
        assert not counter.operators & HOST_READS
        works.append(counter.stages["all"])
    assert works[0] == works[1]
    assert step.pcm_BS.shape[1] == 7 * HOP + 600
