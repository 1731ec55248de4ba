"""The streamed network is the offline network, whatever the pushes; and the shipped one hears speech."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.speech.select import choose_voice
from avatar.audio.features import HOP, MELS, WINDOW, RunningNorm, log_mel
from avatar.audio.phones import VISEMES
from avatar.clock import FRAME_SAMPLES, STREAM_RATE
from avatar.motion import space
from avatar.motion.diffusion.layout import LOOK, NET_AHEAD_BINS
from avatar.motion.stream import MotionStream
from avatar.motion.viseme_net import BLOCKS, LOOKAHEAD, STACK, VisemeNet, Weights, for_lips
from config.settings import SpeechSettings

WIDTH = 12


def random_weights(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return rng.normal(0, 1 / np.sqrt(rows), (rows, columns)).astype(np.float32)

    weights = {"in.weight": matrix(STACK * MELS, WIDTH), "head.weight": 3 * matrix(WIDTH, STACK * len(VISEMES))}
    for i in range(len(BLOCKS)):
        weights[f"block{i}.conv.weight"] = matrix(3 * WIDTH, WIDTH)
        weights[f"block{i}.out.weight"] = 0.3 * matrix(WIDTH, WIDTH)
    biases = {name.replace("weight", "bias"): rng.normal(0, 0.1, w.shape[1]) for name, w in weights.items()}
    return {**weights, **{name: b.astype(np.float32) for name, b in biases.items()}}


def offline(weights: Weights, mel_TM: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network over a whole utterance at once, written without any streaming state."""
    x_TW = np.maximum(mel_TM.reshape(-1, STACK * MELS) @ weights["in.weight"] + weights["in.bias"], 0)
    for i, (dilation, ahead) in enumerate(BLOCKS):
        padded = np.pad(x_TW, ((2 * dilation - ahead, ahead), (0, 0)))
        taps = np.concatenate([padded[j * dilation : j * dilation + len(x_TW)] for j in range(3)], axis=1)
        hidden = np.maximum(taps @ weights[f"block{i}.conv.weight"] + weights[f"block{i}.conv.bias"], 0)
        x_TW = x_TW + hidden @ weights[f"block{i}.out.weight"] + weights[f"block{i}.out.bias"]
    logit = (np.maximum(x_TW, 0) @ weights["head.weight"] + weights["head.bias"]).reshape(-1, len(VISEMES))
    e = np.exp(logit - logit.max(1, keepdims=True))
    out_TV: NDArray[np.float32] = e / e.sum(1, keepdims=True)
    return out_TV


def sound(seconds: float) -> NDArray[np.int16]:
    rng = np.random.default_rng(5)
    swell = np.abs(np.sin(np.arange(int(seconds * STREAM_RATE)) / 2500.0))
    return (rng.normal(0, 4000, len(swell)) * swell).astype(np.int16)


@given(cuts=st.lists(st.integers(0, 4000), max_size=25))
@settings(max_examples=25, deadline=None)
def test_streamed_equals_offline(cuts: list[int]) -> None:
    pcm_S, weights = sound(1.3), random_weights()
    net, parts, at = VisemeNet(weights), [], 0
    for cut in [*cuts, len(pcm_S)]:
        parts.append(net.push(pcm_S[at : at + cut]))
        at += cut
    parts.append(net.flush())
    streamed_TV = np.concatenate(parts)
    assert len(streamed_TV) == len(pcm_S) // HOP
    padded_S = np.concatenate([pcm_S, np.zeros(WINDOW + 20 * HOP, dtype=np.int16)])
    mel_TM = RunningNorm().apply(log_mel(padded_S))
    # the outermost outputs see the network's own edges: zeros inside a block there, silence here
    whole_TV = offline(weights, mel_TM[: len(mel_TM) // STACK * STACK])
    inner = slice(0, len(streamed_TV) - 30)
    np.testing.assert_allclose(streamed_TV[inner], whole_TV[inner], atol=2e-5)


def test_pushes_do_not_matter_to_the_last_bit() -> None:
    pcm_S, weights = sound(1.0), random_weights()
    whole = VisemeNet(weights)
    first = np.concatenate([whole.push(pcm_S), whole.flush()])
    bits = VisemeNet(weights)
    second = np.concatenate([*(bits.push(pcm_S[i : i + 7]) for i in range(0, len(pcm_S), 7)), bits.flush()])
    assert np.array_equal(first, second)


def test_look_ahead_is_what_the_stream_waits_for() -> None:
    """With LOOK frames beyond frame k, posteriors exist NET_AHEAD_BINS past its end."""
    assert LOOKAHEAD == 6
    net, bins = VisemeNet(random_weights()), 0
    for frame in range(40):
        bins += len(net.push(np.zeros(FRAME_SAMPLES, dtype=np.int16)))
        ready = frame - LOOK
        if ready >= 0:
            assert bins >= 4 * (ready + 1) + NET_AHEAD_BINS


def test_an_output_never_depends_on_sound_beyond_the_look_ahead() -> None:
    pcm_S = sound(1.0)
    changed_S = pcm_S.copy()
    at_bin = 60
    first_unseen = (at_bin + STACK - 1 + LOOKAHEAD) * HOP + WINDOW
    changed_S[first_unseen:] = 0
    a, b = VisemeNet(random_weights()).push(pcm_S), VisemeNet(random_weights()).push(changed_S)
    assert np.array_equal(a[: at_bin + 1], b[: at_bin + 1]) and not np.array_equal(a, b[: len(a)])


def test_posteriors_for_lips() -> None:
    rng = np.random.default_rng(0)
    posterior_TV = rng.dirichlet(np.full(len(VISEMES), 0.4), 50).astype(np.float32)
    lips_TV = for_lips(posterior_TV)
    np.testing.assert_allclose(lips_TV.sum(1), 1.0, atol=1e-5)
    closed = posterior_TV[:, 1] >= 0.3
    assert (lips_TV[closed, 1] > 0.85).all() and (lips_TV >= 0).all()


async def test_the_shipped_network_moves_the_mouth_like_the_phones_do() -> None:
    """Speech of the embedded voice, heard only: the mouth opens and closes as its phone times would have it."""
    voice = choose_voice(SpeechSettings())
    try:
        text = "My brother bought a big map of the moon. Maybe we should move before five."
        chunks = [chunk async for chunk in voice.synthesize(text)]
    finally:
        await voice.aclose()
    openings = []
    for heard in (False, True):
        stream = MotionStream(0, VisemeNet())
        for chunk in chunks:
            stream.push_audio(chunk.pcm_S, None if heard else chunk.phones or [])
        stream.end_segment()
        motion_TD = np.stack([stream.next_motion() for _ in range(stream.ready_frames())])
        openings.append(motion_TD[:, space.INDEX["jawOpen"]] - motion_TD[:, space.INDEX["mouthClose"]])
    spoken_T, heard_T = openings
    by_lag = [float(np.corrcoef(np.roll(spoken_T, lag), heard_T)[0, 1]) for lag in range(-4, 5)]
    assert max(by_lag) > 0.75 and abs(int(np.argmax(by_lag)) - 4) <= 1
    assert (spoken_T < 0.01).mean() > 0.15 and heard_T.max() > 0.15
