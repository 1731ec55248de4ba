"""What the motion's time goes to: a stopwatch around the stages of a `DiffusionMotion`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from avatar.audio.features import StreamingLogMel
from avatar.audio.phones import TimedPhone
from avatar.motion.diffusion.features import SpeechFeatures
from avatar.motion.diffusion.stream import DiffusionMotion, WindowNet
from avatar.motion.viseme_net import VisemeNet

Floats = NDArray[np.float32]
Samples = NDArray[np.int16]

STAGES = ("log_mel", "viseme_net", "features", "network", "events_guard_seam")


class Stopwatch:
    """Processor seconds per stage, each without the stages inside it."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as this stage."""
        self._switch(push=name)
        try:
            yield
        finally:
            self._switch()

    def _switch(self, push: str | None = None) -> None:
        now = time.process_time()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        if push is not None:
            self._stack.append(push)
        else:
            self._stack.pop()
        self._since = now


class _TimedMel(StreamingLogMel):
    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch

    def push(self, pcm_S: Samples) -> Floats:
        with self._watch.stage("log_mel"):
            return super().push(pcm_S)


class _TimedVisemes(VisemeNet):
    def __init__(self, watch: Stopwatch) -> None:
        super().__init__()
        self._watch = watch
        self._mel = _TimedMel(watch)

    def push_hidden(self, pcm_S: Samples) -> tuple[Floats, Floats]:
        with self._watch.stage("viseme_net"):
            return super().push_hidden(pcm_S)

    def flush_hidden(self) -> tuple[Floats, Floats]:
        with self._watch.stage("viseme_net"):
            return super().flush_hidden()


class _TimedFeatures(SpeechFeatures):
    def __init__(self, watch: Stopwatch) -> None:
        super().__init__(_TimedVisemes(watch))
        self._watch = watch

    def push(self, pcm_S: Samples, phones: Sequence[TimedPhone] | None) -> None:
        with self._watch.stage("features"):
            super().push(pcm_S, phones)

    def end_segment(self) -> None:
        with self._watch.stage("features"):
            super().end_segment()

    def rows(self, first: int, last: int, *, heard: int, known: int) -> Floats:
        with self._watch.stage("features"):
            return super().rows(first, last, heard=heard, known=known)


class _TimedNet:
    def __init__(self, net: WindowNet, watch: Stopwatch) -> None:
        self._net, self._watch = net, watch
        self.past = net.past

    def sample(self, past_PD: Floats, audio_TA: Floats, control_TC: Floats, ear_TU: Floats, noise_ND: Floats) -> Floats:
        with self._watch.stage("network"):
            return self._net.sample(past_PD, audio_TA, control_TC, ear_TU, noise_ND)


class TimedMotion(DiffusionMotion):
    """A `DiffusionMotion` with a stopwatch; what no other stage takes is `events_guard_seam`."""

    def __init__(self, net: WindowNet, seed: int = 0) -> None:
        self.watch = Stopwatch()
        super().__init__(_TimedNet(net, self.watch), seed, features=_TimedFeatures(self.watch))

    def push_audio(self, pcm_S: Samples, phones: Sequence[TimedPhone] | None = None) -> None:
        with self.watch.stage("events_guard_seam"):
            super().push_audio(pcm_S, phones)

    def end_segment(self) -> None:
        with self.watch.stage("events_guard_seam"):
            super().end_segment()

    def next_motion(self, *, hold: bool = False) -> Floats:
        with self.watch.stage("events_guard_seam"):
            return super().next_motion(hold=hold)
