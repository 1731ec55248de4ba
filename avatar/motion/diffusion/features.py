"""What the motion network hears of the avatar's own speech: one row per frame, streamed.

A row becomes *complete* when LOOK frames of speech lie beyond its frame, or its segment has ended; complete rows never
change and do not depend on how the audio was cut. Rows further ahead carry what may be used of them so far
(layout.py says what `heard` and `known` mean).

Shape suffixes: A = audio features, B = 10 ms bins, E = 20 ms steps, V = 15 visemes, S = samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from avatar.audio.loudness import FLOOR_DB, Loudness
from avatar.audio.phones import PHONE_TO_VISEME, VISEMES, TimedPhone
from avatar.audio.pitch import pitch
from avatar.audio.rows import Rows
from avatar.clock import FRAME_SAMPLES
from avatar.motion.articulation import (
    AHEAD_BINS,
    BIN_SAMPLES,
    BINS_PER_FRAME,
    FIRST_VISEME_UNIT,
    PAST_BINS,
    SIL_UNIT,
    UNITS,
    UnitTrack,
    blend,
)
from avatar.motion.diffusion.layout import (
    AUDIO,
    AUDIO_COLUMNS,
    HEARD_LOOK,
    HIDDEN,
    NET_AHEAD_BINS,
    PHONE_AHEAD_BINS,
)
from avatar.motion.heard import lips_heard
from avatar.motion.viseme_net import STACK, VisemeNet

Floats = NDArray[np.float32]

_LEVEL_DB: Final = 20.0
_PITCH_MEMORY: Final = 0.03
"""Share of a voiced frame in the running pitch: about 1.3 s of voice."""
_UNIT_TO_VISEME: Final = np.array(
    [[v == (PHONE_TO_VISEME[u] if i < FIRST_VISEME_UNIT else u.removeprefix("viseme:")) for v in VISEMES]
     for i, u in enumerate(UNITS)],
    dtype=np.float32,
)  # fmt: skip


def silent_row() -> Floats:
    """The row of a frame without speech, float32 [AUDIO]: everything is known, and nothing is said."""
    row_A = np.zeros(AUDIO, dtype=np.float32)
    for flag in ("flag_heard", "flag_artic", "flag_known"):
        row_A[AUDIO_COLUMNS[flag]] = 1.0
    row_A[AUDIO_COLUMNS["level"]] = FLOOR_DB / _LEVEL_DB
    return row_A


@dataclass(slots=True)
class _Span:
    """A segment on the timeline: its first frame, whether phone times are given, and its end once known."""

    start: int
    phones: bool
    end: int | None = None


class Hearing(Protocol):
    """What listens to the speech: a `VisemeNet`, or a seat at a batch of them (shared.py)."""

    def reset(self) -> None:
        """Forget the past and the speaker."""

    def push_hidden(self, pcm_S: NDArray[np.int16]) -> tuple[Floats, Floats]:
        """See VisemeNet.push_hidden."""

    def flush_hidden(self) -> tuple[Floats, Floats]:
        """See VisemeNet.flush_hidden."""


class SpeechFeatures:
    """Features of one speech timeline (frames of 960 samples at 24 kHz, segments one after the other)."""

    def __init__(self, net: Hearing | None = None) -> None:
        """net: the viseme network to listen with; None makes one with the shipped weights."""
        self._net: Hearing = net if net is not None else VisemeNet()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next push starts a new timeline at frame 0."""
        self._net.reset()
        self._by_phone = UnitTrack()
        self._by_ear = UnitTrack()
        self._loudness = Loudness()
        self._hidden = Rows(HIDDEN // 2)
        self._posterior = Rows(len(VISEMES))
        self._pitch = Rows(2)
        self._running_octave: float | None = None
        self._rest_S = np.zeros(0, dtype=np.int16)
        self._pushed = 0
        self._heard_bins = 0
        self._spans: list[_Span] = []
        self._rows = Rows(AUDIO)

    @property
    def frames(self) -> int:
        """Whole frames pushed."""
        return self._pushed // FRAME_SAMPLES

    def push(self, pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None) -> None:
        """Append int16 speech at 24 kHz; phones are relative to its first sample. None on a segment's first push:
        the whole segment is driven by what the network hears."""
        if not self._spans or self._spans[-1].end is not None:
            self._spans.append(_Span(self.frames, phones is not None))
        if phones and self._spans[-1].phones:
            self._by_phone.add_phones(phones, self._pushed)
        self._loudness.push(pcm_S)
        self._pushed += len(pcm_S)
        self._add_pitch(pcm_S)
        self._add_heard(*self._net.push_hidden(pcm_S))

    def end_segment(self) -> None:
        """The speech so far is complete; it must have been padded to whole frames."""
        assert self._pushed % FRAME_SAMPLES == 0
        if self._spans and self._spans[-1].end is None:
            self._add_heard(*self._net.flush_hidden())
            self._spans[-1].end = self.frames

    def rows(self, first: int, last: int, *, heard: int, known: int) -> Floats:
        """Rows of frames [first, last) for a block of new frames ending at heard - HEARD_LOOK, float32 [.., AUDIO].

        heard: the network's features are given for frames below it; known: level, pitch and phones for frames below it.
        Before frame 0, and after the end of the block's own segment, rows are silent: what comes next is not looked at.
        """
        block_end = heard - HEARD_LOOK
        end = self._span(block_end - 1).end
        limit = last if end is None else min(last, end)
        self._complete_to(min(block_end, limit))
        out_TA = np.empty((last - first, AUDIO), dtype=np.float32)
        for frame in range(first, last):
            if frame < 0 or frame >= limit:
                out_TA[frame - first] = silent_row()
            elif frame < block_end:
                out_TA[frame - first] = self._rows.view(frame, frame + 1)[0]
            else:
                row_A = self._make(frame)
                hide(row_A, heard=frame >= heard, artic=frame >= heard or not self._span(frame).phones)
                if frame >= known:
                    row_A[:] = 0.0
                    row_A[AUDIO_COLUMNS["flag_speech"]] = 1.0
                out_TA[frame - first] = row_A
        return out_TA

    def forget(self, before: int) -> None:
        """Drop what no row from frame `before` on needs."""
        bins = before * BINS_PER_FRAME - PAST_BINS - 16
        for rows in (self._by_phone.rows, self._by_ear.rows, self._posterior, self._loudness.rows):
            rows.forget(bins)
        self._hidden.forget(bins // STACK)
        self._pitch.forget(before - 2)
        self._rows.forget(before - 2)
        while len(self._spans) > 1 and self._spans[1].start <= before - 2:
            self._spans.pop(0)

    def _span(self, frame: int) -> _Span:
        return next((span for span in reversed(self._spans) if span.start <= frame), self._spans[0])

    def _add_pitch(self, pcm_S: NDArray[np.int16]) -> None:
        pcm_S = np.concatenate([self._rest_S, pcm_S])
        count = len(pcm_S) // FRAME_SAMPLES
        self._rest_S = pcm_S[count * FRAME_SAMPLES :].copy()
        rows_T2 = np.zeros((count, 2), dtype=np.float32)
        for row_2, frame_S in zip(rows_T2, pcm_S[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES), strict=True):
            hz = pitch(frame_S)
            if hz > 0.0:
                octave = float(np.log2(hz))
                running = self._running_octave if self._running_octave is not None else octave
                self._running_octave = running + _PITCH_MEMORY * (octave - running)
                row_2[:] = np.clip(octave - running, -1.5, 1.5), 1.0
        self._pitch.append(rows_T2)

    def _add_heard(self, posterior_BV: Floats, hidden_EW: Floats) -> None:
        self._hidden.append(hidden_EW)
        self._posterior.append(posterior_BV)
        if len(posterior_BV):
            lips_BV = lips_heard(posterior_BV, self._loudness, self._heard_bins)
            self._by_ear.add_visemes(lips_BV, self._heard_bins)
            self._heard_bins += len(posterior_BV)

    def _complete_to(self, stop: int) -> None:
        while self._rows.stop < stop:
            self._rows.append(self._make(self._rows.stop)[None])

    def _make(self, frame: int) -> Floats:
        """The row of a frame from all that may be used of it."""
        row_A = np.zeros(AUDIO, dtype=np.float32)
        first, last = frame * BINS_PER_FRAME, (frame + 1) * BINS_PER_FRAME
        span = self._span(frame)
        track, ahead = (self._by_phone, PHONE_AHEAD_BINS) if span.phones else (self._by_ear, NET_AHEAD_BINS)
        stop = self._pushed // BIN_SAMPLES if span.end is None else span.end * BINS_PER_FRAME
        window_BU = track.window(
            first - PAST_BINS, last + AHEAD_BINS, known=min(last + ahead, stop), silent_after=False
        )
        # Silence follows the segment, even if another one has been pushed already; but only an end as near as what is
        # known of the phones counts: whether one further off has been told yet depends on when this is asked.
        if span.end is not None and stop < last + ahead:
            after_B = np.arange(first - PAST_BINS, last + AHEAD_BINS) >= stop
            window_BU[after_B] = np.eye(len(UNITS), dtype=np.float32)[SIL_UNIT]
        row_A[AUDIO_COLUMNS["artic"]] = blend(window_BU)
        if span.phones:
            share_V = window_BU[PAST_BINS : PAST_BINS + BINS_PER_FRAME].sum(0) @ _UNIT_TO_VISEME / BINS_PER_FRAME
            row_A[AUDIO_COLUMNS["share"]] = share_V
            row_A[AUDIO_COLUMNS["flag_phones"]] = 1.0
        row_A[AUDIO_COLUMNS["hidden"]] = self._hidden.window(first // STACK, last // STACK).ravel()
        row_A[AUDIO_COLUMNS["posterior"]] = self._posterior.window(first, last).mean(0)
        db_B2 = self._loudness.rows.window(first, last)
        level_B = np.where(db_B2[:, 1] != 0.0, db_B2[:, 0] - db_B2[:, 1], FLOOR_DB) / _LEVEL_DB
        row_A[AUDIO_COLUMNS["level"]] = level_B.mean(), level_B.max()
        row_A[AUDIO_COLUMNS["pitch"]] = self._pitch.window(frame, frame + 1)[0]
        for flag in ("flag_speech", "flag_heard", "flag_artic", "flag_known"):
            row_A[AUDIO_COLUMNS[flag]] = 1.0
        return row_A


def hide(row_A: Floats, *, heard: bool, artic: bool) -> None:
    """Take out of a row [..., AUDIO], in place, what is not known yet: the network's features, the articulators."""
    for part in (
        *(("hidden", "posterior", "flag_heard") if heard else ()),
        *(("artic", "flag_artic") if artic else ()),
    ):
        row_A[..., AUDIO_COLUMNS[part]] = 0.0


def rows_of(pcm_S: NDArray[np.int16], phones: Sequence[TimedPhone] | None) -> tuple[Floats, Floats]:
    """Complete rows [T, AUDIO] of a whole segment, and its articulators by the network alone [T, 9] (training)."""
    features = SpeechFeatures()
    padded_S = np.concatenate([pcm_S, np.zeros(-len(pcm_S) % FRAME_SAMPLES, np.int16)])
    features.push(padded_S, phones)
    features.end_segment()
    frames = features.frames
    rows_TA = features.rows(0, frames, heard=frames + HEARD_LOOK, known=frames + HEARD_LOOK)
    features._spans[0].phones = False
    by_ear_TA = np.stack([features._make(frame) for frame in range(frames)])
    return rows_TA, by_ear_TA[:, AUDIO_COLUMNS["artic"]]
