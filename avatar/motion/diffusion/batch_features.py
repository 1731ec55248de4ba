"""The viseme network for many sessions at once: samples in, posteriors and hidden activations out.

The same numbers as `avatar.audio.features` + `avatar.motion.viseme_net`, slot by slot: log-mel, running
normalisation, dilated convolutions with their memories. A call takes up to `frames` mel frames of every slot; how
many are real is data (`frames_B`), not shape, so a call can be captured in a CUDA graph and slots need not march in
step. The normalisation is a recurrence over time; here a call's worth of it is one product with a triangular matrix.

Shape suffixes: B slots, S samples, T mel frames of a call, K = T / 2 steps of the network, M = 64 mels, W width,
V = 15 visemes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.audio import features
from avatar.audio.features import HOP, MELS, WINDOW, mel_filters
from avatar.audio.phones import VISEMES
from avatar.motion.diffusion.graph import Replayed, find_device
from avatar.motion.viseme_net import BLOCKS, LOOKAHEAD, STACK, Weights, default_weights

Floats = NDArray[np.float32]
Samples = NDArray[np.int16]

_FFT: Final = 1024
_FLUSH: Final = WINDOW + (LOOKAHEAD + 2 * STACK) * HOP
"""Samples of silence that `VisemeNet.flush` feeds."""


class VisemeStep:
    """The device's side: static buffers in, one captured step, static buffers out."""

    def __init__(self, slots: int, frames: int, weights: Weights, device: torch.device) -> None:
        """frames: mel frames a call takes per slot, even. weights: as viseme_net reads them."""
        assert frames % STACK == 0
        self.slots, self.frames, self.steps = slots, frames, frames // STACK
        self.pcm_BS = torch.zeros(slots, (frames - 1) * HOP + WINDOW, dtype=torch.int16, device=device)
        """In: samples from the first of the slot's mel frames on."""
        self.frames_B = torch.zeros(slots, dtype=torch.int64, device=device)
        """In: how many mel frames of each slot are real; odd only where the stretch ends with this call."""
        self.restart_B = torch.zeros(slots, dtype=torch.bool, device=device)
        """In: slots whose network starts afresh before this call."""
        self.forget_B = torch.zeros(slots, dtype=torch.bool, device=device)
        """In: slots whose speaker is forgotten before this call."""
        width = weights["in.bias"].shape[0]
        self.out_BKX = torch.zeros(slots, self.steps, width + STACK * len(VISEMES), device=device)
        """Out: each step's activations and posteriors; rows [0, frames_B // 2) of each slot mean something."""
        self._w = {name: torch.from_numpy(np.array(w, np.float32)).to(device) for name, w in weights.items()}
        self._window_S = torch.from_numpy(np.hanning(WINDOW).astype(np.float32) / np.float32(32768.0)).to(device)
        self._filters_FM = torch.from_numpy(mel_filters()).to(device)
        self._prior_M = torch.from_numpy(features._PRIOR_MEAN_M).to(device)
        self._frame_T = torch.arange(frames, device=device)
        self._step_K = torch.arange(self.steps, device=device)
        self._lower_TT = torch.ones(frames, frames, dtype=torch.float64, device=device).tril()
        # the memory: the speaker's statistics in float64 as on the CPU, the network's past
        self._mean_BM = self._prior_M.repeat(slots, 1)
        self._count_B = torch.full((slots,), features._PRIOR_FRAMES, dtype=torch.float64, device=device)
        self._peak_B = torch.full((slots,), features._QUIET_LOG, dtype=torch.float64, device=device)
        self._done_B = torch.zeros(slots, dtype=torch.int64, device=device)
        self._past_BTW = [torch.zeros(slots, 2 * dilation, width, device=device) for dilation, _ in BLOCKS]
        self._waiting_BTW = [torch.zeros(slots, ahead, width, device=device) for _, ahead in BLOCKS]
        keeps = [self._mean_BM, self._count_B, self._peak_B, self._done_B, *self._past_BTW, *self._waiting_BTW]
        self.run = Replayed(self.step, device, keeps)

    def step(self) -> None:
        """One call, operator by operator."""
        self._forget()
        self._network(self._normalise(self._log_mel()))

    def _forget(self) -> None:
        new_B = self.forget_B
        self._mean_BM.copy_(torch.where(new_B[:, None], self._prior_M, self._mean_BM))
        self._count_B.masked_fill_(new_B, features._PRIOR_FRAMES)
        self._peak_B.masked_fill_(new_B, features._QUIET_LOG)
        self._done_B.masked_fill_(self.restart_B, 0)
        for memory_BTW in (*self._past_BTW, *self._waiting_BTW):
            memory_BTW.masked_fill_(self.restart_B[:, None, None], 0.0)

    def _log_mel(self) -> Tensor:
        """features.log_mel: float32 [B, T, M]."""
        windows_BTS = self.pcm_BS.unfold(1, WINDOW, HOP).to(torch.float32) * self._window_S
        spectrum_BTF = torch.fft.rfft(windows_BTS, _FFT)
        power_BTF = (spectrum_BTF.real.square() + spectrum_BTF.imag.square()) / 32.0
        return torch.log(power_BTF @ self._filters_FM + features.LOG_FLOOR)

    def _normalise(self, log_BTM: Tensor) -> Tensor:
        """features._normalise, a call at once.

        peak_t = max(level_t, peak_(t-1) - decay) is a running maximum of level_t + t * decay. The mean follows
        mean_t = (1 - g_t) mean_(t-1) + g_t x_t with g_t = 1 / count_t or 0, so that with A_t = prod_(s <= t) (1 - g_s)
        it is A_t mean_0 + sum_(s <= t) A_t / A_s g_s x_s; counts begin at 25, so A stays far from 0. What lies beyond a
        slot's real frames cannot reach back, and what is remembered is taken at its last real one.
        """
        value_BTM = log_BTM.double()
        level_BT = value_BTM.mean(2)
        sink_T = (self._frame_T + 1) * features._PEAK_DECAY
        risen_BT = torch.maximum((level_BT + sink_T).cummax(1).values, self._peak_B[:, None])
        peak_BT = risen_BT - sink_T
        moves_BT = (level_BT > features._QUIET_LOG) & (level_BT > peak_BT - features._BELOW_PEAK)
        count_BT = (self._count_B[:, None] + moves_BT.cumsum(1)).clamp(max=features._MEMORY_FRAMES)
        gain_BT = moves_BT / count_BT
        kept_BT = (1.0 - gain_BT).cumprod(1)
        weight_BTT = (kept_BT[:, :, None] / kept_BT[:, None, :]) * gain_BT[:, None, :] * self._lower_TT
        mean_BTM = kept_BT[:, :, None] * self._mean_BM[:, None] + weight_BTT @ value_BTM
        out_BTM = ((value_BTM - mean_BTM) * features._SCALE).float()

        last_B1 = (self.frames_B - 1).clamp(min=0)[:, None]
        some_B = self.frames_B > 0
        mean_BM = mean_BTM.gather(1, last_B1[:, :, None].expand(-1, 1, MELS))[:, 0]
        self._mean_BM.copy_(torch.where(some_B[:, None], mean_BM, self._mean_BM))
        self._count_B.copy_(torch.where(some_B, count_BT.gather(1, last_B1)[:, 0], self._count_B))
        self._peak_B.copy_(torch.where(some_B, peak_BT.gather(1, last_B1)[:, 0], self._peak_B))
        return out_BTM

    def _network(self, mel_BTM: Tensor) -> None:
        """VisemeNet._step for all steps of the call."""
        w = self._w
        steps_B = self.frames_B // STACK
        age_BK = self._done_B[:, None] + self._step_K
        x_BKW = torch.relu(mel_BTM.reshape(self.slots, self.steps, STACK * MELS) @ w["in.weight"] + w["in.bias"])
        late = 0
        for i, (dilation, ahead) in enumerate(BLOCKS):
            joined_BTW = torch.cat([self._past_BTW[i], x_BKW], 1)
            taps_BKW = torch.cat([joined_BTW[:, j * dilation :][:, : self.steps] for j in range(3)], 2)
            hidden_BKW = torch.relu(taps_BKW @ w[f"block{i}.conv.weight"] + w[f"block{i}.conv.bias"])
            self._past_BTW[i].copy_(_rows(joined_BTW, steps_B, 2 * dilation))
            if ahead:  # the residual path waits for the convolution's look-ahead
                waited_BTW = torch.cat([self._waiting_BTW[i], x_BKW], 1)
                self._waiting_BTW[i].copy_(_rows(waited_BTW, steps_B, ahead))
                x_BKW = waited_BTW[:, : self.steps]
            x_BKW = x_BKW + hidden_BKW @ w[f"block{i}.out.weight"] + w[f"block{i}.out.bias"]
            late += ahead
            x_BKW = x_BKW * (age_BK >= late)[:, :, None]  # before the beginning there is nothing
        hidden_BKW = torch.relu(x_BKW)
        logit_BKX = hidden_BKW @ w["head.weight"] + w["head.bias"]
        posterior_BTV = logit_BKX.view(self.slots, self.frames, len(VISEMES)).softmax(2)
        self._done_B += steps_B
        self.out_BKX.copy_(torch.cat([hidden_BKW, posterior_BTV.view(logit_BKX.shape)], 2))


class VisemeBatch:
    """The viseme networks of `slots` sessions; safe to be used by several threads.

    A session uses `net(slot)` as its `VisemeNet`. To have many sessions computed together, `prefetch` what they are
    about to push: their pushes then find the work done. Without it each push is a call of its own.
    """

    def __init__(
        self, slots: int, weights: Weights | None = None, *, device: str | torch.device = "cuda", frames: int = 20
    ) -> None:
        """frames: mel frames (10 ms) of one call per slot, even. ValueError for a device that is not there."""
        self.slots: Final = slots
        self.device: Final = find_device(device)
        weights = weights if weights is not None else default_weights()
        self.width: Final = int(weights["in.bias"].shape[0])
        self._step = VisemeStep(slots, frames, weights, self.device)
        self._nets = [SlotVisemes(self, slot) for slot in range(slots)]
        pinned = self.device.type == "cuda"
        self._pcm_BS = torch.zeros(self._step.pcm_BS.shape, dtype=torch.int16, pin_memory=pinned)
        self._frames_B = torch.zeros(slots, dtype=torch.int64, pin_memory=pinned)
        self._flags_2B = torch.zeros(2, slots, dtype=torch.bool, pin_memory=pinned)
        self.lock: Final = threading.RLock()
        self.calls = 0
        """Calls of the device so far."""

    def net(self, slot: int) -> SlotVisemes:
        """The slot's network, used like a `VisemeNet`; `reset` it when another session takes the slot."""
        return self._nets[slot]

    def prefetch(self, pcm: Mapping[int, Samples]) -> None:
        """Compute what these slots will push next: int16 samples at 24 kHz by slot."""
        with self.lock:
            for slot, pcm_S in pcm.items():
                self._nets[slot].expect(pcm_S)
            self.run()

    def run(self) -> None:
        """Compute all that is queued, in as many calls as the longest queue needs."""
        with self.lock:
            while any(net.queue.frames_ready(self._step.frames) for net in self._nets):
                self._call()

    def warm_up(self) -> None:
        """Capture the graph, by a call for nobody."""
        with self.lock:
            self._call()

    def _call(self) -> None:
        step = self._step
        pcm_BS, frames_B, flags_2B = self._pcm_BS.numpy(), self._frames_B.numpy(), self._flags_2B.numpy()
        flags_2B[:] = False
        kept_B: list[slice] = []
        for slot, net in enumerate(self._nets):
            frames_B[slot] = count = net.queue.frames_ready(step.frames)
            if count == 0:
                kept_B.append(slice(0, 0))
                continue
            flags_2B[:, slot] = net.queue.restarts, net.queue.forgets
            samples_S, kept = net.queue.take(count)
            pcm_BS[slot, : len(samples_S)] = samples_S
            kept_B.append(kept)
        with step.run.stream():
            step.pcm_BS.copy_(self._pcm_BS, non_blocking=True)
            step.frames_B.copy_(self._frames_B, non_blocking=True)
            step.restart_B.copy_(self._flags_2B[0], non_blocking=True)
            step.forget_B.copy_(self._flags_2B[1], non_blocking=True)
            step.run()
            out_BKX = step.out_BKX.cpu().numpy()  # waits for the device
        self.calls += 1
        for net, kept, out_KX in zip(self._nets, kept_B, out_BKX, strict=True):
            if kept.stop > kept.start:
                posterior_TV = out_KX[:, self.width :].reshape(-1, len(VISEMES))[kept]
                hidden_KW = out_KX[kept.start // STACK : -(-kept.stop // STACK), : self.width]
                net.deliver(posterior_TV, hidden_KW)


class SlotVisemes:
    """A slot of a `VisemeBatch` with `VisemeNet`'s interface and results."""

    def __init__(self, batch: VisemeBatch, slot: int) -> None:
        self.batch, self.slot = batch, slot
        self._clear()

    def _clear(self) -> None:
        self.queue = _Queue()
        self._expected_S: Samples = np.zeros(0, np.int16)
        self._posterior_TV: Floats = np.zeros((0, len(VISEMES)), np.float32)
        self._hidden_EW: Floats = np.zeros((0, self.batch.width), np.float32)
        self._restart()

    def _restart(self) -> None:
        self._pushed = 0
        self._given = 0

    def reset(self) -> None:
        """Forget the past, the queue and the speaker."""
        with self.batch.lock:
            self._clear()

    def push(self, pcm_S: Samples) -> Floats:
        """As `VisemeNet.push`."""
        return self.push_hidden(pcm_S)[0]

    def flush(self) -> Floats:
        """As `VisemeNet.flush`."""
        return self.flush_hidden()[0]

    def push_hidden(self, pcm_S: Samples) -> tuple[Floats, Floats]:
        """As `VisemeNet.push_hidden`. ValueError when other samples were prefetched for this slot."""
        with self.batch.lock:
            ahead = min(len(self._expected_S), len(pcm_S))
            if not np.array_equal(self._expected_S[:ahead], pcm_S[:ahead]):
                raise ValueError(f"Slot {self.slot}: these are not the samples that were prefetched; reset it first.")
            self._expected_S = self._expected_S[ahead:]
            if ahead < len(pcm_S):
                self.queue.feed(pcm_S[ahead:])
                self.batch.run()
            self._pushed += len(pcm_S)
            frames = max(0, (self._pushed - WINDOW) // HOP + 1)
            final = max(0, frames // STACK * STACK - LOOKAHEAD)
            return self._give(final - self._given)

    def flush_hidden(self) -> tuple[Floats, Floats]:
        """As `VisemeNet.flush_hidden`. ValueError when samples were prefetched that have not been pushed."""
        with self.batch.lock:
            if len(self._expected_S):
                raise ValueError(f"Slot {self.slot}: {len(self._expected_S)} prefetched samples were not pushed.")
            self.queue.end()
            self.batch.run()
            out = self._give(len(self._posterior_TV))
            self._restart()
            return out

    def expect(self, pcm_S: Samples) -> None:
        """Queue samples that a later push will bring (`VisemeBatch.prefetch`)."""
        self._expected_S = np.concatenate([self._expected_S, pcm_S])
        self.queue.feed(pcm_S)

    def deliver(self, posterior_TV: Floats, hidden_EW: Floats) -> None:
        """What the batch has computed for this slot."""
        self._posterior_TV = np.concatenate([self._posterior_TV, posterior_TV])
        self._hidden_EW = np.concatenate([self._hidden_EW, hidden_EW])

    def _give(self, bins: int) -> tuple[Floats, Floats]:
        steps = -(-bins // STACK)
        out = self._posterior_TV[:bins], self._hidden_EW[:steps]
        self._posterior_TV, self._hidden_EW = self._posterior_TV[bins:], self._hidden_EW[steps:]
        self._given += bins
        return out


class _Queue:
    """Samples of a slot that wait, stretch by stretch, and which outputs count."""

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = [_Stretch()]
        self.forgets = True
        """Whether the next call meets a new speaker."""

    @property
    def restarts(self) -> bool:
        """Whether the next call is a stretch's first."""
        return self._stretches[0].frames == 0

    def feed(self, pcm_S: Samples) -> None:
        stretch = self._stretches[-1]
        stretch.pcm_S = np.concatenate([stretch.pcm_S, pcm_S])
        stretch.fed += len(pcm_S)

    def end(self) -> None:
        """Silence follows, and then a new stretch."""
        stretch = self._stretches[-1]
        stretch.pcm_S = np.concatenate([stretch.pcm_S, np.zeros(_FLUSH, np.int16)])
        stretch.ended = True
        self._stretches.append(_Stretch())

    def frames_ready(self, most: int) -> int:
        """Mel frames that a call can take: whole steps, or all that is left of a stretch that has ended."""
        stretch = self._stretches[0]
        ready = max(0, (len(stretch.pcm_S) - WINDOW) // HOP + 1)
        return min(ready, most) if stretch.ended else min(ready, most) // STACK * STACK

    def take(self, frames: int) -> tuple[Samples, slice]:
        """Samples of this many frames, and which of the call's posteriors are outputs."""
        stretch = self._stretches[0]
        self.forgets = False
        samples_S = stretch.pcm_S[: (frames - 1) * HOP + WINDOW]
        stretch.pcm_S = stretch.pcm_S[frames * HOP :]
        first = stretch.frames - LOOKAHEAD  # bin of the call's first posterior
        stretch.frames += frames
        stop = first + frames // STACK * STACK
        if stretch.ended:  # of the silence, no bins are given
            stop = min(stop, stretch.fed // HOP)
            if len(stretch.pcm_S) < WINDOW:
                self._stretches.pop(0)
        kept_from = max(0, -first)
        return samples_S, slice(kept_from, max(kept_from, stop - first))


class _Stretch:
    """Speech from a start to its end."""

    def __init__(self) -> None:
        self.pcm_S: Samples = np.zeros(0, np.int16)
        self.fed = 0
        self.frames = 0
        """Mel frames taken so far."""
        self.ended = False


def _rows(x_BTW: Tensor, first_B: Tensor, count: int) -> Tensor:
    """Rows [first, first + count) of each slot."""
    at_BT = first_B[:, None] + torch.arange(count, device=x_BTW.device)
    return x_BTW.gather(1, at_BT[:, :, None].expand(-1, -1, x_BTW.shape[2]))
