"""The motion network on the CPU: numpy only, one window at a time.

The same arithmetic as net.py (see there for the sources); float32 throughout. What depends on the flow time alone is
computed once per step, when the weights are opened.

Shape suffixes: T = tokens, P = past, N = tokens to predict, D = 52, A = audio, C = controls, U = ear, W = width,
H = heads.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from avatar.motion.diffusion.layout import CONTROL_GAIN, LOOK, MAX_PAST, PACE_GAIN, PAST, ROLES, SLOW_D, TOKEN_INPUTS
from avatar.motion.diffusion.weights import MotionWeights
from avatar.motion.space import DIM

Floats = NDArray[np.float32]
_EPSILON = 1e-5
_TIME_WIDTH = 128


def flow_times(steps: int) -> list[float]:
    """Where each of `steps` equal Euler steps begins: 0 is noise, 1 is motion."""
    return [i / steps for i in range(steps)]


def _silu(x: Floats) -> Floats:
    out: Floats = (x / (1.0 + np.exp(-x))).astype(np.float32)
    return out


def _normed(x_TW: Floats) -> Floats:
    centred_TW: Floats = x_TW - x_TW.mean(1, keepdims=True)
    power_T1 = np.einsum("tw,tw->t", centred_TW, centred_TW)[:, None]
    out_TW: Floats = centred_TW / np.sqrt(power_T1 / np.float32(x_TW.shape[1]) + np.float32(_EPSILON))
    return out_TW


class NumpyNet:
    """Samples windows of motion."""

    def __init__(self, weights: MotionWeights, steps: int | None = None, past: int = PAST) -> None:
        """steps: flow steps per window, 1 or more; None takes what the weights are meant for.
        past: most past frames it is given, 0..MAX_PAST."""
        self.steps = steps if steps is not None else weights.steps
        if not 1 <= self.steps <= 100:
            raise ValueError(f"{self.steps} flow steps: use 1 to 100.")
        if not 0 <= past <= MAX_PAST:
            raise ValueError(f"{past} past frames: the network knows 0 to {MAX_PAST}.")
        self.past = past
        w = weights.tensors
        self._mean_D, self._scale_D = weights.mean_D, weights.scale_D
        self._audio_mean_A, self._audio_scale_A = w["norm.audio_mean"], w["norm.audio_scale"]
        self._reach_ND = w["norm.reach"]
        self._heads = weights.heads
        self._token = np.ascontiguousarray(w["token.weight"].T), w["token.bias"]
        self._mix = np.ascontiguousarray(w["mix.weight"].T), w["mix.bias"]
        self._position = w["position"]
        self._head = np.ascontiguousarray(w["head.weight"].T), w["head.bias"]
        self._blocks = [
            tuple(
                np.ascontiguousarray(w[f"blocks.{i}.{name}.weight"].T) if part == 0 else w[f"blocks.{i}.{name}.bias"]
                for name in ("qkv", "out", "up", "down")
                for part in (0, 1)
            )
            for i in range(weights.layers)
        ]
        self._modulations = [self._modulation(w, t, weights.layers) for t in flow_times(self.steps)]

    def _modulation(self, w: dict[str, Floats], t: float, layers: int) -> tuple[list[Floats], Floats]:
        half = _TIME_WIDTH // 2
        rate = np.exp(-math.log(10_000.0) * np.arange(half, dtype=np.float32) / half).astype(np.float32)
        angle = np.float32(1000.0 * t) * rate
        features = np.concatenate([np.cos(angle), np.sin(angle)])
        time_W = w["time2.weight"] @ _silu(w["time1.weight"] @ features + w["time1.bias"]) + w["time2.bias"]
        shared_6W = (w["modulate.weight"] @ _silu(time_W) + w["modulate.bias"]).reshape(6, -1)
        blocks = [(shared_6W + w[f"blocks.{i}.table"]).astype(np.float32) for i in range(layers)]
        return blocks, (time_W + w["final_table"]).astype(np.float32)

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        """Motion of the new and the look-ahead frames, float32 [N, 52], not clamped.

        past_PD: the frames before, float32 [P, 52], P <= past. audio_TA, control_TC, ear_TU: conditions of all
        T = P + N tokens. noise_ND: standard normal; the last LOOK of the N frames are the look-ahead's.
        """
        past, count = len(past_PD), len(noise_ND)
        assert past <= self.past and len(audio_TA) == len(control_TC) == len(ear_TU) == past + count
        role_TR = np.zeros((past + count, ROLES), np.float32)
        role_TR[:past, 0] = role_TR[past : past + count - LOOK, 1] = role_TR[past + count - LOOK :, 2] = 1.0
        audio_TA = (audio_TA - self._audio_mean_A) / self._audio_scale_A
        fixed_TI = np.concatenate([audio_TA, control_TC * CONTROL_GAIN, ear_TU, role_TR], axis=1)
        motion_TD = np.concatenate([(past_PD - self._mean_D) / self._scale_D, noise_ND]).astype(np.float32)
        last_D = np.where(SLOW_D, motion_TD[past - 1], np.float32(0.0)) if past else np.zeros(DIM, np.float32)
        reach_ND = self._reach_ND[:count] if past else np.ones((count, DIM), np.float32)
        motion_TD[past:] = last_D + reach_ND * noise_ND
        # The conditions' part of the first layer is the same in every step.
        weight_IW, bias_W = self._token
        fixed_TW = fixed_TI @ weight_IW[DIM:TOKEN_INPUTS] + bias_W
        if past > 1:
            fixed_TW[1:past] += PACE_GAIN * np.diff(motion_TD[:past], axis=0) @ weight_IW[TOKEN_INPUTS:]
        position_TW = self._position[MAX_PAST - past : MAX_PAST + count]
        for step, modulation in enumerate(self._modulations):
            gone_ND = (motion_TD[past:] - last_D) / reach_ND * SLOW_D
            given_TW = fixed_TW.copy()
            given_TW[past:] += gone_ND @ weight_IW[TOKEN_INPUTS:]
            clean_ND = last_D + reach_ND * self._predict(motion_TD, given_TW, position_TW, past, modulation)
            left = self.steps - step  # Euler: x += (x1 - x) / (1 - t) / steps
            motion_TD[past:] += (clean_ND - motion_TD[past:]) / left
        out_ND: Floats = motion_TD[past:] * self._scale_D + self._mean_D
        return out_ND

    def _predict(
        self,
        motion_TD: Floats,
        fixed_TW: Floats,
        position_TW: Floats,
        past: int,
        modulation: tuple[list[Floats], Floats],
    ) -> Floats:
        tokens, width = fixed_TW.shape
        size = width // self._heads
        x_TW = np.maximum(motion_TD @ self._token[0][:DIM] + fixed_TW, 0.0) @ self._mix[0] + self._mix[1] + position_TW
        blocks, (final_shift_W, final_scale_W) = modulation
        for (qkv, qkv_b, out, out_b, up, up_b, down, down_b), m_6W in zip(self._blocks, blocks, strict=True):
            shift1, scale1, gate1, shift2, scale2, gate2 = m_6W
            joined = (_normed(x_TW) * (1.0 + scale1) + shift1) @ qkv + qkv_b
            q, k, v = joined.reshape(tokens, 3, self._heads, size).transpose(1, 2, 0, 3)
            score_HTT = q @ k.transpose(0, 2, 1) * np.float32(size**-0.5)
            score_HTT = np.exp(score_HTT - score_HTT.max(2, keepdims=True))
            score_HTT /= score_HTT.sum(2, keepdims=True)
            mixed_TW = (score_HTT @ v).transpose(1, 0, 2).reshape(tokens, width)
            x_TW = x_TW + gate1 * (mixed_TW @ out + out_b)
            wide_TV = np.maximum((_normed(x_TW) * (1.0 + scale2) + shift2) @ up + up_b, 0.0)
            x_TW = x_TW + gate2 * (wide_TV * wide_TV @ down + down_b)
        x_NW = _normed(x_TW[past:]) * (1.0 + final_scale_W) + final_shift_W
        clean_ND: Floats = x_NW @ self._head[0] + self._head[1]
        return clean_ND
