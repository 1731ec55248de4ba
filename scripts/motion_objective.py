"""What the motion network is taught: windows as its inputs, the losses, flow matching and distillation.

Flow matching with clean-sample prediction: x_t = (1 - t) noise + t x; loss = weighted |net(x_t, t) - x|^2 over observed
channels (slow ones in units of `reach`: net.py), plus its frame-to-frame difference, plus the mouth's opening
(jawOpen - mouthClose), which people see first.

Shape suffixes: B = windows, T = tokens, N = tokens to predict, D = 52.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from avatar.motion import space
from avatar.motion.controls import CONTROLS
from avatar.motion.diffusion.layout import (
    AUDIO,
    BLOCK,
    CONTROL_GAIN,
    EAR,
    LOOK,
    MAX_PAST,
    NOISE_KERNEL,
    NOISE_TAPS,
    PAST,
    SLOW_D,
)
from avatar.motion.diffusion.net import MotionNet
from scripts.motion_dataset import Windows

_I = space.INDEX
_LIPS = [i for n, i in _I.items() if n.startswith(("mouth", "jaw"))]
_VELOCITY: Final = 1.0
_OPENING: Final = 2.0
_SEALED: Final = 3.0
_HEAD: Final = 2.0
_STRAYED, _ASTRAY, _RETURN_FRAMES = 0.5, 2.5, 12.0
"""Share of windows whose head has strayed (see `stray`); how far, in standard deviations of all heads; the time
constant of its return."""
AUDIO_DROP, CONTROL_DROP = 0.10, 0.08


def channel_weights() -> Tensor:
    """How much each channel counts, float32 [52]."""
    weight_D = torch.ones(space.DIM)
    weight_D[_LIPS] = 1.5
    weight_D[space.HEAD] = _HEAD
    for name in ("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"):
        weight_D[_I[name]] = 3.0
    return weight_D


class Batcher:
    """Windows as network inputs on the device, normalised."""

    def __init__(self, norms: dict[str, np.ndarray[Any, Any]], device: str) -> None:
        self.device = device
        self.norms = {name: torch.from_numpy(value).to(device) for name, value in norms.items()}
        self.gain = torch.from_numpy(CONTROL_GAIN).to(device)
        self.opening = torch.zeros(space.DIM, device=device)
        scale_D = self.norms["norm.scale"]
        self.opening[_I["jawOpen"]] = scale_D[_I["jawOpen"]]
        self.opening[_I["mouthClose"]] = -scale_D[_I["mouthClose"]]
        self.opening /= self.opening.abs().max()
        self.kernel = torch.from_numpy(NOISE_KERNEL).to(device)
        self.slow = torch.from_numpy(SLOW_D).to(device)
        self.lips = ~self.slow
        # A channel that moves little from frame to frame must be right to a fraction of that, not of its range.
        self.pace = self.norms["norm.pace"]
        self.reach_ND = self.norms["norm.reach"]
        rest = (-self.norms["norm.mean"] / self.norms["norm.scale"]) * self.opening
        self.sealed = float(rest.sum()) + 0.02 / float(scale_D[_I["jawOpen"]])

    def noise(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        """Noise as FrameNoise makes it when streaming, [B, frames, 52]: smooth in the slow channels."""
        white = torch.randn(batch, frames + NOISE_TAPS - 1, space.DIM, generator=generator, device=self.device)
        smooth = white.unfold(1, NOISE_TAPS, 1) @ self.kernel
        return torch.where(self.slow, smooth, white[:, :frames])

    def tensors(self, w: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised motion [B, T, 52], the other token inputs [B, T, ...], observed channels [B, 52]."""

        def on(array: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(array).to(self.device, torch.float32)

        motion = (on(w.motion_BTD) - self.norms["norm.mean"]) / self.norms["norm.scale"]
        known_BD = on(w.known_BD)
        audio = (on(w.audio_BTA) - self.norms["norm.audio_mean"]) / self.norms["norm.audio_scale"]
        role = torch.zeros(w.past + w.new + w.look, 3, device=self.device)
        role[: w.past, 0] = role[w.past : w.past + w.new, 1] = role[w.past + w.new :, 2] = 1.0
        role_BT3 = role.expand(len(motion), -1, -1)
        rest = torch.cat([audio, on(w.controls_BTC) * self.gain, on(w.ear_BTU), role_BT3], dim=2)
        return motion, rest, known_BD

    def without(self, rest_BTI: Tensor, *, audio_B: Tensor, control_B: Tensor) -> Tensor:
        """The inputs with hearing or controls taken away where the masks (bool [B]) say so."""
        out = rest_BTI.clone()
        nothing_A = (-self.norms["norm.audio_mean"]) / self.norms["norm.audio_scale"]
        out[..., :AUDIO] = torch.where(audio_B[:, None, None], nothing_A, out[..., :AUDIO])
        controls = slice(AUDIO, AUDIO + CONTROLS + EAR)
        out[..., controls] = out[..., controls] * (~control_B[:, None, None])
        return out


def losses(batcher: Batcher, guess_BND: Tensor, motion_BTD: Tensor, known_BD: Tensor, past: int) -> dict[str, Tensor]:
    """The parts of the loss; each a mean over what was observed."""
    weight_BD = known_BD * channel_weights().to(guess_BND.device)
    total = weight_BD.sum().clamp_min(1.0) * guess_BND.shape[1]
    error_BND = guess_BND - motion_BTD[:, past:]
    before = torch.zeros_like(error_BND[:, :1])  # the last past frame is certain
    change = torch.diff(torch.cat([before, error_BND], 1) if past else error_BND, dim=1)
    opening = error_BND @ batcher.opening
    sealed = (motion_BTD[:, past:] @ batcher.opening) < batcher.sealed  # a P, B, M or a closed mouth
    own_BND = error_BND / batcher.reach_ND[: error_BND.shape[1]] if past else error_BND  # in units of what they do
    return {
        "position": (own_BND.square() * weight_BD[:, None]).sum() / total,
        "velocity": _VELOCITY * (change.square() * (weight_BD * batcher.pace)[:, None]).sum() / total,
        "opening": _OPENING * (opening.square() * (1.0 + _SEALED * sealed)).mean(),
    }


def shape(rng: np.random.Generator) -> dict[str, int]:
    """A window's lengths: often as streaming has them, else anything; a tenth and more begin cold."""
    past = 0 if rng.random() < 0.12 else (PAST if rng.random() < 0.4 else int(rng.integers(1, MAX_PAST + 1)))
    draw = rng.random()
    new = BLOCK if draw < 0.4 else int(rng.integers(1, 13)) if draw < 0.75 else int(rng.integers(5, 51))
    look = LOOK if rng.random() < 0.7 else int(rng.integers(2, 6))
    return {"past": past, "new": new, "look": look}


def spoil_past(motion_BTD: Tensor, past: int, generator: torch.Generator) -> Tensor:
    """The past as the network's own output will be: a little wrong. Smooth errors, in half the windows; next to none in
    the slow channels, which must go on from where they are."""
    if past == 0:
        return motion_BTD
    batch, _, width = motion_BTD.shape
    knots = torch.randn(batch, width, 4, generator=generator, device=motion_BTD.device)
    smooth = nn.functional.interpolate(knots, size=past, mode="linear", align_corners=True).transpose(1, 2)
    strength = torch.rand(batch, 1, 1, generator=generator, device=motion_BTD.device)
    most_D = torch.where(torch.from_numpy(SLOW_D).to(motion_BTD.device), 0.01, 0.25)
    strength = most_D * (2.0 * strength - 1.0).clamp_min(0.0)
    return torch.cat([motion_BTD[:, :past] + strength * smooth, motion_BTD[:, past:]], dim=1)


def stray(motion_BTD: Tensor, past: int, generator: torch.Generator) -> Tensor:
    """The same motion with a head that has strayed from its place and comes back, critically damped, in some windows.

    A head that goes on from where it is adds up its errors, and no film shows a face five degrees off its place:
    this does. It sets out for home at some moment of the past, or now.
    """
    if past == 0:
        return motion_BTD
    batch, tokens, _ = motion_BTD.shape
    device = motion_BTD.device
    head = motion_BTD[:, :, space.HEAD]
    off_B1H = _ASTRAY * torch.randn(batch, 1, head.shape[2], generator=generator, device=device)
    off_B1H *= torch.rand(batch, 1, 1, generator=generator, device=device)  # near ones more often than far ones
    off_B1H *= torch.rand(batch, 1, 1, generator=generator, device=device) < _STRAYED
    since_B = past - 1 - (past + 2 * _RETURN_FRAMES) * torch.rand(batch, generator=generator, device=device)
    since_B = torch.where(torch.rand(batch, generator=generator, device=device) < 0.5, past - 1.0, since_B)
    gone_BT = (torch.arange(tokens, device=device) - since_B[:, None]).clamp_min(0.0) / _RETURN_FRAMES
    left_BT = (1.0 + gone_BT) * torch.exp(-gone_BT)
    out_BTD = motion_BTD.clone()
    out_BTD[:, :, space.HEAD] = head + off_B1H * left_BT[..., None]
    return out_BTD


def training_loss(net: MotionNet, batcher: Batcher, w: Windows, generator: torch.Generator) -> dict[str, Tensor]:
    """Loss of one batch at random flow times."""
    motion, rest, known = batcher.tensors(w)
    motion = stray(motion, w.past, generator)
    batch, device = len(motion), motion.device

    def chance(p: float) -> Tensor:
        return torch.rand(batch, generator=generator, device=device) < p

    rest = batcher.without(rest, audio_B=chance(AUDIO_DROP), control_B=chance(CONTROL_DROP))
    t_B = torch.rand(batch, generator=generator, device=device) * 0.98
    t_B = torch.where(chance(0.25), torch.zeros_like(t_B), t_B)
    given = spoil_past(motion, w.past, generator)
    noise = net.start(batcher.noise(batch, w.new + w.look, generator), given[:, : w.past])
    t = t_B[:, None, None]
    noisy = torch.cat([given[:, : w.past], (1.0 - t) * noise + t * motion[:, w.past :]], dim=1)
    guess = net(torch.cat([noisy, rest], dim=2), t_B, w.past)
    return losses(batcher, guess, motion, known, w.past)


def sample(
    net: nn.Module, given_BTD: Tensor, rest_BTI: Tensor, past: int, noise_BND: Tensor, steps: int,
    guidance: tuple[Batcher, float] | None = None,
) -> Tensor:  # fmt: skip
    """Euler steps from noise (as `net.start` lays it) to clean motion [B, N, 52]; guidance: (batcher, strength of
    hearing)."""
    x = noise_BND
    batch = len(x)
    no_audio = None
    if guidance is not None and guidance[1] > 0.0:
        yes = torch.ones(batch, dtype=torch.bool, device=x.device)
        no_audio = guidance[0].without(rest_BTI, audio_B=yes, control_B=~yes)
    for step in range(steps):
        t_B = torch.full((batch,), step / steps, device=x.device)
        motion = torch.cat([given_BTD[:, :past], x], dim=1)
        clean = net(torch.cat([motion, rest_BTI], dim=2), t_B, past)
        if no_audio is not None and guidance is not None:
            without = net(torch.cat([motion, no_audio], dim=2), t_B, past)
            clean = clean + guidance[1] * (clean - without)
        x = x + (clean - x) / (steps - step)
    return x


def distillation_loss(
    student: nn.Module, teacher: MotionNet, batcher: Batcher, w: Windows, generator: torch.Generator, *, steps: int,
    guidance: float,
) -> dict[str, Tensor]:  # fmt: skip
    """The student's one step against where the teacher's many steps (guided where guidance > 0) lead from the same
    noise, and from the middle of the way (so that two steps work as well).

    So for head, gaze, brows and lids, which the sound leaves open. What the lips do is all but given by it: there the
    student goes on learning from the recordings, for a sample's lips are a little further from the truth than the mean
    (docs/models/motion.md has the figures)."""
    motion, rest, known = batcher.tensors(w)
    motion = stray(motion, w.past, generator)
    given = spoil_past(motion, w.past, generator)
    noise = teacher.start(batcher.noise(len(motion), w.new + w.look, generator), given[:, : w.past])
    with torch.no_grad():
        target = sample(teacher, given, rest, w.past, noise, steps, (batcher, guidance))
    half = len(motion) // 4
    t_B = torch.zeros(len(motion), device=motion.device)
    t_B[:half] = 0.5
    t = t_B[:, None, None]
    noisy = torch.cat([given[:, : w.past], (1.0 - t) * noise + t * target], dim=1)
    guess = student(torch.cat([noisy, rest], dim=2), t_B, w.past)
    lips_BND = (batcher.lips & (known > 0.0))[:, None]
    target = torch.where(lips_BND, motion[:, w.past :], target)
    goal = torch.cat([motion[:, : w.past], target], dim=1)
    return losses(batcher, guess, goal, torch.ones_like(known), w.past)


class VelocityNet(MotionNet):
    """The same network read as a prediction of velocity (motion - noise): the usual flow matching, for comparison."""

    def forward(self, input_BTI: Tensor, t_B: Tensor, past: int, mask_BT: Tensor | None = None) -> Tensor:
        """Clean motion [B, N, 52], from the velocity that the network predicts."""
        velocity = super().forward(input_BTI, t_B, past, mask_BT)
        if past:  # a velocity does not go on from where the face was
            velocity = velocity - (input_BTI[:, past - 1, : space.DIM] * self.slow)[:, None]
        clean: Tensor = input_BTI[:, past:, : space.DIM] + (1.0 - t_B)[:, None, None] * velocity
        return clean
