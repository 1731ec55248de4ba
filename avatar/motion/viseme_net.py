"""Sound to visemes: a small dilated convolutional network, streamed.

64 normalised log-mels per 10 ms -> 15 viseme posteriors per 10 ms, looking LOOKAHEAD frames (60 ms) ahead
and about 1.1 s back. Inside, STACK = 2 frames make one step of 20 ms. Eight residual blocks; each is a
convolution over three steps, ReLU, and a pointwise convolution back. Batch normalisation is folded into the
convolutions when the weights are exported (scripts/train_viseme.py), so that inference is matrix products
and needs numpy only.

Frames are processed a step at a time, whatever the pushes: results do not depend on how audio was cut.

Shape suffixes: T = frames, E = steps, M = mels, W = width, V = 15 visemes, S = samples.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from avatar.audio.features import HOP, MELS, WINDOW, StreamingLogMel
from avatar.audio.phones import VISEMES
from avatar.clock import FRAME_SAMPLES

Floats = NDArray[np.float32]

STACK: Final = 2
"""Mel frames per step of the network."""
BLOCKS: Final = ((1, 1), (1, 1), (2, 1), (2, 0), (4, 0), (4, 0), (8, 0), (8, 0))
"""(dilation, look-ahead) of each block in steps; a block sees steps t + ahead - {0, 1, 2} * dilation."""
LOOKAHEAD: Final = STACK * sum(ahead for _, ahead in BLOCKS)
"""Frames of look-ahead of the whole network (60 ms)."""
_BLOCK: Final = STACK

BILABIAL_THRESHOLD: Final = 0.30
"""Posterior from which lips are taken to close. A missed closure is seen at once, a spurious one hardly."""
_PP: Final = VISEMES.index("PP")
_SIL: Final = VISEMES.index("sil")

Weights = dict[str, Floats]


class _Convolution:
    """Three-tap dilated convolution over time with its own memory, all outputs `delay` frames late."""

    def __init__(self, weight_3WW: Floats, bias_W: Floats, dilation: int) -> None:
        """weight_3WW: [3 * W in, W out], the oldest frame's rows first."""
        self._weight = weight_3WW
        self._bias = bias_W
        self._dilation = dilation
        self._past_TW = np.zeros((2 * dilation, len(weight_3WW) // 3), dtype=np.float32)

    def __call__(self, x_TW: Floats) -> Floats:
        joined_TW = np.concatenate([self._past_TW, x_TW])
        d, count = self._dilation, len(x_TW)
        taps_T3W = np.concatenate([joined_TW[:count], joined_TW[d : d + count], joined_TW[2 * d :]], axis=1)
        self._past_TW = joined_TW[count:]
        out_TW: Floats = taps_T3W @ self._weight + self._bias
        return out_TW


class VisemeNet:
    """Streaming classifier: push sound, get posteriors [bins, 15] for 10 ms bins in order.

    weights: as exported by scripts/train_viseme.py; None loads the ones shipped with the package.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights if weights is not None else default_weights()
        self._mel = StreamingLogMel()
        self.reset()

    def reset(self) -> None:
        """Forget the past and the speaker."""
        self._mel.reset()
        self._restart()

    def _restart(self) -> None:
        w = self._weights
        self._convolutions = [
            _Convolution(w[f"block{i}.conv.weight"], w[f"block{i}.conv.bias"], dilation)
            for i, (dilation, _) in enumerate(BLOCKS)
        ]
        # A block's residual path waits for its look-ahead.
        self._waiting = [np.zeros((ahead, w["in.bias"].shape[0]), dtype=np.float32) for _, ahead in BLOCKS]
        self._rest_TM = np.zeros((0, MELS), dtype=np.float32)
        self._warm = -LOOKAHEAD  # outputs below zero belong before the first frame
        self._steps = 0
        self._fed = 0

    def push(self, pcm_S: NDArray[np.int16]) -> Floats:
        """Feed int16 at 24 kHz; returns the posteriors [bins, 15] that have become final."""
        return self.push_hidden(pcm_S)[0]

    def flush(self) -> Floats:
        """Posteriors of the bins still open, as if silence followed. The next push starts a new stretch.

        The speaker's statistics are kept.
        """
        return self.flush_hidden()[0]

    def push_hidden(self, pcm_S: NDArray[np.int16]) -> tuple[Floats, Floats]:
        """As `push`, with the last layer's activations [bins / STACK, WIDTH], >= 0, which carry more than classes."""
        self._fed += len(pcm_S)
        return self._run(self._mel.push(pcm_S))

    def flush_hidden(self) -> tuple[Floats, Floats]:
        """As `flush`, with the activations; a step that is only half inside counts."""
        wanted = self._fed // HOP
        silence_S = np.zeros(WINDOW + (LOOKAHEAD + 2 * _BLOCK) * HOP, dtype=np.int16)
        done = self._warm
        tail_TV, tail_EW = self._run(self._mel.push(silence_S))
        self._mel.cut()
        self._restart()
        left = max(0, wanted - max(0, done))
        return tail_TV[:left], tail_EW[: -(-left // STACK)]

    def _run(self, mel_TM: Floats) -> tuple[Floats, Floats]:
        mel_TM = np.concatenate([self._rest_TM, mel_TM])
        whole = len(mel_TM) // _BLOCK * _BLOCK
        self._rest_TM = mel_TM[whole:]
        outs = [self._step(mel_TM[first : first + _BLOCK]) for first in range(0, whole, _BLOCK)]
        width = self._weights["in.bias"].shape[0]
        posterior_TV = np.concatenate([np.zeros((0, len(VISEMES)), dtype=np.float32), *(p for p, _ in outs)])
        hidden_EW = np.concatenate([np.zeros((0, width), dtype=np.float32), *(h for _, h in outs)])
        skip = min(len(posterior_TV), max(0, -self._warm))
        self._warm += len(posterior_TV)
        return posterior_TV[skip:], hidden_EW[skip // STACK :]

    def _step(self, mel_TM: Floats) -> tuple[Floats, Floats]:
        w = self._weights
        x_TW = np.maximum(mel_TM.reshape(-1, STACK * MELS) @ w["in.weight"] + w["in.bias"], 0.0)
        late = 0
        for i, convolution in enumerate(self._convolutions):
            hidden_TW = np.maximum(convolution(x_TW), 0.0)
            joined_TW = np.concatenate([self._waiting[i], x_TW])
            self._waiting[i] = joined_TW[len(x_TW) :]
            x_TW = joined_TW[: len(x_TW)] + hidden_TW @ w[f"block{i}.out.weight"] + w[f"block{i}.out.bias"]
            late += BLOCKS[i][1]
            x_TW[: max(0, late - self._steps)] = 0.0  # before the beginning there is nothing, as in training
        hidden_EW: Floats = np.maximum(x_TW, 0.0)
        logit_TV = (hidden_EW @ w["head.weight"] + w["head.bias"]).reshape(-1, len(VISEMES))
        self._steps += len(x_TW)
        exp_TV = np.exp(logit_TV - logit_TV.max(1, keepdims=True))
        posterior_TV: Floats = (exp_TV / exp_TV.sum(1, keepdims=True)).astype(np.float32)
        return posterior_TV, hidden_EW


def for_lips(posterior_TV: Floats) -> Floats:
    """Posteriors as the articulation wants them: likely bilabials become certain, weak guesses fade.

    Squaring lets the likeliest class lead without hard switches.
    """
    sharp_TV = posterior_TV**1.5
    sharp_TV /= sharp_TV.sum(1, keepdims=True)
    closed_T = posterior_TV[:, _PP] >= BILABIAL_THRESHOLD
    sharp_TV[closed_T] *= 0.1
    sharp_TV[closed_T, _PP] = 0.0
    sharp_TV[closed_T, _PP] = 1.0 - sharp_TV[closed_T].sum(1)
    return sharp_TV


def load_weights(path: Path) -> Weights:
    """Weights as float32 from a safetensors file."""
    return {name: tensor.astype(np.float32) for name, tensor in load_file(str(path)).items()}


@lru_cache(maxsize=1)
def default_weights() -> Weights:
    """The weights shipped with the package (docs/models/viseme.md)."""
    with resources.as_file(resources.files("avatar.motion") / "data" / "viseme.safetensors") as path:
        return load_weights(path)


# With three frames of speech beyond a frame, four bins beyond it are final (diffusion/layout.py).
assert 3 * FRAME_SAMPLES >= WINDOW - HOP + (LOOKAHEAD + 4) * HOP and _BLOCK == STACK
