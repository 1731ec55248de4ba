"""The motion network: a transformer over a window of frames that predicts clean motion from noisy motion.

Rectified flow (X. Liu et al. 2022; Y. Lipman et al. 2022): x_t = (1 - t) noise + t motion. The network predicts the
clean motion x1 from x_t; the velocity is (x1 - x_t) / (1 - t). Time enters by adaptive layer norm (W. Peebles and
S. Xie 2022, "DiT") with one shared modulation and a table per block (J. Chen et al. 2023, "PixArt-alpha"). Squared
ReLU (D. So et al. 2021) does as well as GELU here and is cheap in numpy.

Slow channels (head, gaze, brows, lids) go on from the last past frame. Their noise begins there and is as wide as what
they do in so many frames (`reach`), and they are predicted in those units. Were the noise as wide as a channel's whole
range, nearly all of the flow would say nothing about a head that moves a tenth of it in a window. Without a past, slow
channels are treated as all others are.

Motion and audio are *normalised* here (`weights.py` holds means and scales), controls multiplied by CONTROL_GAIN.
numpy_net.py is the same network for the CPU.

Shape suffixes: B = windows, T = tokens (past, new, look-ahead), N = tokens to predict, D = 52, I = token inputs,
W = width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from avatar.motion.diffusion.layout import AHEAD, LAYER_INPUTS, MAX_PAST, PACE_GAIN, POSITIONS, SLOW_D
from avatar.motion.space import DIM


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Size of the network. heads must divide width."""

    width: int
    layers: int
    heads: int


SIZES: Final[dict[str, MotionConfig]] = {
    "tiny": MotionConfig(128, 3, 4),
    "small": MotionConfig(256, 6, 4),
    "base": MotionConfig(512, 9, 8),
}
"""tiny: tests and ablations; small: about 5 M parameters, one CPU core; base: about 30 M, GPU."""
TIME_WIDTH: Final = 128
"""Sinusoids of the flow time."""


def time_features(t_B: Tensor) -> Tensor:
    """Sinusoids of flow time 0..1, [B, TIME_WIDTH] (A. Vaswani et al. 2017, over 1000 t)."""
    half = TIME_WIDTH // 2
    rate = torch.exp(-math.log(10_000.0) * torch.arange(half, dtype=torch.float32, device=t_B.device) / half)
    angle = 1000.0 * t_B[:, None].float() * rate
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)


class Block(nn.Module):
    """Self-attention and a perceptron, both modulated by the flow time."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        w = config.width
        self.heads = config.heads
        self.qkv = nn.Linear(w, 3 * w)
        self.out = nn.Linear(w, w)
        self.up = nn.Linear(w, 4 * w)
        self.down = nn.Linear(4 * w, w)
        self.table = nn.Parameter(torch.zeros(6, w))

    def forward(self, x_BTW: Tensor, modulation_B6W: Tensor, mask_B11T: Tensor | None) -> Tensor:
        batch, tokens, width = x_BTW.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation_B6W + self.table)[:, :, None].unbind(1)
        normed = nn.functional.layer_norm(x_BTW, (width,)) * (1.0 + scale1) + shift1
        q, k, v = self.qkv(normed).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_B11T)
        x_BTW = x_BTW + gate1 * self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        normed = nn.functional.layer_norm(x_BTW, (width,)) * (1.0 + scale2) + shift2
        out_BTW: Tensor = x_BTW + gate2 * self.down(torch.relu(self.up(normed)).square())
        return out_BTW


class MotionNet(nn.Module):
    """Clean motion of the tokens to predict, from their noisy motion, the past and the conditions."""

    def __init__(self, config: MotionConfig, reach_ND: Tensor | None = None) -> None:
        """reach_ND: `norm.reach` of the weights, [AHEAD, 52]; None: ones."""
        super().__init__()
        w = config.width
        self.config = config
        self.token = nn.Linear(LAYER_INPUTS, w)
        self.mix = nn.Linear(w, w)
        self.position = nn.Parameter(0.02 * torch.randn(POSITIONS, w))
        self.time1 = nn.Linear(TIME_WIDTH, w)
        self.time2 = nn.Linear(w, w)
        self.modulate = nn.Linear(w, 6 * w)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_table = nn.Parameter(torch.zeros(2, w))
        self.head = nn.Linear(w, DIM)
        self.slow: Tensor
        self.register_buffer("slow", torch.tensor(SLOW_D.tolist(), dtype=torch.float32), persistent=False)
        self.reach_ND: Tensor
        self.register_buffer("reach_ND", torch.ones(AHEAD, DIM) if reach_ND is None else reach_ND, persistent=False)
        for block in self.blocks:
            assert isinstance(block, Block)
            with torch.no_grad():  # every block begins as a small step
                block.table[2] = block.table[5] = 0.3
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_BTI: Tensor, t_B: Tensor, past: int, mask_BT: Tensor | None = None) -> Tensor:
        """Clean motion [B, T - past, 52].

        input_BTI: token inputs in the order of layout.py (motion, audio, controls, ear, role); motion is clean for
        the `past` first tokens and x_t for the others. t_B: flow time 0 (noise) .. 1. mask_BT: which tokens exist,
        None: all.
        """
        tokens = input_BTI.shape[1]
        last_BD, pace_BPD = self._continue(input_BTI[:, :past, :DIM], mask_BT)
        reach_BND = self.reach(past, tokens - past, mask_BT)
        gone_BND = (input_BTI[:, past:, :DIM] - last_BD[:, None]) / reach_BND * self.slow
        x = self.mix(torch.relu(self.token(torch.cat([input_BTI, torch.cat([pace_BPD, gone_BND], 1)], dim=2))))
        x = x + self.position[MAX_PAST - past : MAX_PAST - past + tokens]
        time_BW = self.time2(nn.functional.silu(self.time1(time_features(t_B))))
        modulation_B6W = self.modulate(nn.functional.silu(time_BW)).view(len(t_B), 6, -1)
        mask = mask_BT[:, None, None, :] if mask_BT is not None else None
        for block in self.blocks:
            x = block(x, modulation_B6W, mask)
        shift_BW, scale_BW = (time_BW[:, None] + self.final_table).unbind(1)
        x = nn.functional.layer_norm(x[:, past:], x.shape[2:]) * (1.0 + scale_BW[:, None]) + shift_BW[:, None]
        out_BND: Tensor = last_BD[:, None] + reach_BND * self.head(x)
        return out_BND

    def start(self, noise_BND: Tensor, past_BPD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Where the flow begins, [B, N, 52]: standard normal noise, laid around the last past frame."""
        last_BD, _ = self._continue(past_BPD, mask_BT)
        return last_BD[:, None] + self.reach(past_BPD.shape[1], noise_BND.shape[1], mask_BT) * noise_BND

    def reach(self, past: int, ahead: int, mask_BT: Tensor | None = None) -> Tensor:
        """How far channels go in 1, 2, .. `ahead` frames from the last past one, [B or 1, N, 52]; ones for lips, and
        for all in windows that have no past."""
        reach_1ND = self.reach_ND[None, :ahead]
        if past == 0:
            return torch.ones_like(reach_1ND)
        if mask_BT is None:
            return reach_1ND
        return torch.where(mask_BT[:, past - 1, None, None], reach_1ND, torch.ones_like(reach_1ND))

    def _continue(self, past_BPD: Tensor, mask_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where slow channels were last, [B, 52] (zeros for lips, and without a past), and the past's changes."""
        past = past_BPD.shape[1]
        pace = torch.zeros_like(past_BPD)
        if past == 0:
            return past_BPD.new_zeros(len(past_BPD), DIM), pace
        if mask_BT is None:
            pace[:, 1:] = PACE_GAIN * (past_BPD[:, 1:] - past_BPD[:, :-1])
            return past_BPD[:, -1] * self.slow, pace
        there = mask_BT[:, :past, None].to(past_BPD.dtype)
        before = torch.where(mask_BT[:, :past, None], past_BPD, torch.zeros_like(past_BPD))
        pace[:, 1:] = PACE_GAIN * (before[:, 1:] - before[:, :-1]) * there[:, 1:] * there[:, :-1]
        return before[:, -1] * self.slow, pace


def parameters_of(net: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in net.parameters())
