"""A conversation in virtual time: how the motion's cost and memory behave, minute by minute."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.clock import FPS, FRAME_SAMPLES, MIC_RATE
from avatar.motion.protocol import Motion
from avatar.motion.state import State

Samples = NDArray[np.int16]

CHUNK_FRAMES = 10
"""Frames of speech per push."""
_SPEAK, _LISTEN, _THINK, _IDLE = 9 * FPS, 6 * FPS, 2 * FPS, 3 * FPS
"""One turn, 20 s."""


@dataclass
class Talk:
    """minute_s: processor seconds of each virtual minute; state_s and state_frames: of each state; memory_bytes:
    resident memory of the process at each minute's end, empty where the system does not tell."""

    minute_s: list[float] = field(default_factory=list)
    state_s: dict[State, float] = field(default_factory=lambda: dict.fromkeys(State, 0.0))
    state_frames: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    memory_bytes: list[int] = field(default_factory=list)

    def real_time_factor(self, state: State) -> float:
        """Processor seconds per second of this state."""
        return self.state_s[state] / max(1, self.state_frames[state]) * FPS


def talk(motion: Motion, speech_S: Samples, visitor_S: Samples, minutes: int) -> Talk:
    """Converse for so many virtual minutes: speak, listen, think, idle, over and over.

    speech_S: int16 at 24 kHz, at least a turn's; visitor_S: int16 at 16 kHz.
    """
    out, frames, spent = Talk(), 0, time.process_time()
    minute_from = spent
    while len(out.minute_s) < minutes:
        for state in (State.LISTENING, State.THINKING, State.SPEAKING, State.IDLE):
            for _ in _frames(motion, state, speech_S, visitor_S):
                frames += 1
                now = time.process_time()
                out.state_s[state] += now - spent
                out.state_frames[state] += 1
                spent = now
                if frames % (60 * FPS) == 0:
                    out.minute_s.append(now - minute_from)
                    minute_from = now
                    if (memory := resident_bytes()) is not None:
                        out.memory_bytes.append(memory)
    return out


def _frames(motion: Motion, state: State, speech_S: Samples, visitor_S: Samples) -> Iterator[None]:
    """Show the state's frames, one per step."""
    motion.set_state(state)
    if state is not State.SPEAKING:
        for frame in range({State.LISTENING: _LISTEN, State.THINKING: _THINK}.get(state, _IDLE)):
            if state is State.LISTENING:
                at = frame * MIC_RATE // FPS
                motion.hear(visitor_S[at : at + MIC_RATE // FPS])
            motion.next_motion()
            yield
        return
    for first in range(0, _SPEAK, CHUNK_FRAMES):
        motion.push_audio(speech_S[first * FRAME_SAMPLES : (first + CHUNK_FRAMES) * FRAME_SAMPLES])
        while motion.ready_frames():
            motion.next_motion()
            yield
    motion.end_segment()
    while motion.ready_frames():
        motion.next_motion()
        yield


def resident_bytes() -> int | None:
    """Memory of this process that is in use now; None where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None
