"""Signs of life have human statistics and never jump."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.clock import FPS, MIC_RATE
from avatar.motion import space
from avatar.motion.idle import Idle, State

DEG = 180 / np.pi
BLINK = space.INDEX["eyeBlinkLeft"]


def minutes(state: State, seconds: int = 600, seed: int = 1) -> NDArray[np.float32]:
    idle = Idle(seed)
    idle.set_state(state)
    return np.stack([idle.step() for _ in range(seconds * FPS)])


@pytest.mark.parametrize(
    ("state", "low", "high"), [(State.IDLE, 12, 24), (State.LISTENING, 10, 22), (State.SPEAKING, 18, 32)]
)
def test_blink_rate_and_shape(state: State, low: int, high: int) -> None:
    blink_T = minutes(state)[:, BLINK]
    starts = np.flatnonzero((blink_T[1:] > 0) & (blink_T[:-1] == 0)) + 1
    assert low < len(starts) / 10 < high
    gaps_s = np.diff(starts) / FPS
    assert gaps_s.min() > 0.3 and gaps_s.std() > 0.3 * gaps_s.mean()  # irregular, and never a flutter
    lengths, peaks = [], []
    for start in starts:
        end = start + int(np.argmin(blink_T[start:] > 0))
        lengths.append(end - start)
        peaks.append(blink_T[start:end].max())
    assert np.mean(np.array(peaks) > 0.99) > 0.98  # the lids meet, at 25 pictures a second too
    assert 4 <= np.mean(lengths) <= 7


def test_gaze_keeps_the_visitor() -> None:
    """Listeners look at the visitor most, thinkers look away and up."""

    def contact(state: State) -> float:
        gaze_T2 = minutes(state)[:, space.GAZE] * DEG
        return float((np.hypot(*gaze_T2.T) < 2.5).mean())

    assert contact(State.LISTENING) > 0.9 > contact(State.IDLE) > 0.7 > 0.5 > contact(State.THINKING)
    assert minutes(State.THINKING)[:, space.INDEX["gazeElevation"]].mean() * DEG > 1.0


def test_it_breathes_and_never_freezes_or_jumps() -> None:
    motion_TD = minutes(State.IDLE, 120)
    head_TD = motion_TD[:, space.HEAD]
    moved = np.abs(np.diff(head_TD, axis=0))
    assert (moved.sum(1) > 1e-6).all()
    assert moved[:, :3].max() * DEG < 1.0 and moved[:, 3:].max() < 0.004
    spectrum = np.abs(np.fft.rfft(head_TD[:, 4] - head_TD[:, 4].mean()))
    hz = np.fft.rfftfreq(len(head_TD), 1 / FPS)
    breath = (hz > 0.2) & (hz < 0.28)
    assert spectrum[breath].max() > 0.5 * spectrum[hz > 0.1].max()


def test_the_mouth_rests_closed() -> None:
    for state in State:
        motion_TD = minutes(state, 60)
        for name in ("jawOpen", "mouthLowerDownLeft", "mouthUpperUpLeft", "mouthFunnel", "mouthPucker"):
            assert not motion_TD[:, space.INDEX[name]].any()
        assert space.clamp(motion_TD)[1] == 0


def test_changing_state_glides() -> None:
    idle = Idle(2)
    path = []
    for state in (State.IDLE, State.LISTENING, State.THINKING, State.SPEAKING, State.IDLE):
        idle.set_state(state)
        path += [idle.step() for _ in range(60)]
    moved = np.abs(np.diff(np.stack(path), axis=0))
    moved[:, BLINK : BLINK + 2] = 0
    moved[:, space.GAZE] = 0
    assert moved[:, : space.EXPRESSION_DIM].max() < 0.05 and moved[:, space.HEAD].max() * DEG < 1.0


def test_nods_come_at_the_visitors_pauses() -> None:
    rng = np.random.default_rng(0)
    voice_S = (rng.normal(0, 3000, 2 * MIC_RATE)).astype(np.int16)
    quiet_S = (rng.normal(0, 20, MIC_RATE)).astype(np.int16)
    conversation_S = np.concatenate([quiet_S, *([voice_S, quiet_S] * 6)])

    def pitch(hear: bool) -> NDArray[np.float32]:
        idle = Idle(0)
        idle.set_state(State.LISTENING)
        out, step = [], MIC_RATE // FPS
        for k in range(len(conversation_S) // step):
            if hear:
                idle.hear(conversation_S[k * step : (k + 1) * step])
            out.append(idle.step()[space.INDEX["headPitch"]] * DEG)
        return np.array(out)

    dip_T = pitch(False) - pitch(True)
    assert dip_T.min() > -1e-5 and 1.5 < dip_T.max() < 5.0
    seconds = np.flatnonzero(dip_T > 0.5) / FPS
    in_pause = ((seconds - 3.0) % 3.0) < 1.0
    assert len(seconds) > 20 and in_pause.mean() > 0.75
    assert not dip_T[: 3 * FPS].any()


def test_deterministic_in_the_seed() -> None:
    assert np.array_equal(minutes(State.IDLE, 20, seed=5), minutes(State.IDLE, 20, seed=5))
    assert not np.array_equal(minutes(State.IDLE, 20, seed=5), minutes(State.IDLE, 20, seed=6))
