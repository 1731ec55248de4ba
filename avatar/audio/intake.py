"""Sound from any producer, as it comes, in the avatar's own form: mono int16 at 24 kHz.

    intake = Intake()
    stream.push_audio(intake.push(chunk, 48_000))     # float or integer, [S] or [S, channels], any length
    ...
    stream.push_audio(intake.flush())                 # what the filters still hold; then a new segment may begin
    stream.end_segment()

What comes out depends on the samples alone, not on how they were cut, and nothing is lost or added: a stretch of n
samples at rate r gives exactly round(n * 24000 / r). int16 mono at 24 kHz passes untouched.

Resampling is soxr's (linear phase, HQ); it holds back about 40 ms of sound, 75 ms at 8 kHz (`pending`). When the rate
changes in mid-stream, the old filter is run out over the last samples mirrored through the last value, and the new one
is primed with the past, so that the seam does not click.

A constant offset (DC) would look like loudness to everything behind. It is measured by two first-order low passes at
1 Hz, and what is measured is subtracted where it exceeds -50 dB (fully from -44 dB): the offset fades within a second.
Nothing above a few hertz changes, in level or in phase, and speech without an offset stays as it is: in nine of ten
files of LibriSpeech and LJSpeech the measure never leaves -56 dB.

Shape suffixes: S = samples, C = channels.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import lfilter

from avatar.clock import STREAM_RATE

Doubles = NDArray[np.float64]
Pcm = NDArray[np.int16]

LOWEST_RATE: Final = 8_000
HIGHEST_RATE: Final = 192_000
MAX_CHANNELS: Final = 32
MAX_FLOAT: Final = 8.0
"""Floats beyond this are no sound in -1..1: someone forgot to divide by 32768."""
CLIPPED_RUN: Final = 3
"""So many full-scale samples in a row are clipping; fewer are a peak."""
_FULL: Final = 1.0 - 1.0 / 32768.0
_QUALITY: Final = "HQ"
_MARGIN_S: Final = 0.1
"""Sound on either side of a change of rate that the filters see."""
_DC_LEAST: Final = 0.003
_DC_POLE: Final = float(np.exp(-2.0 * np.pi * 1.0 / STREAM_RATE))


class Intake:
    """One producer's sound on its way in. Counts what it meets; `warnings()` says it in sentences.

    repair: put silence where a sample is NaN, infinite or absurdly large, and count it, instead of refusing the chunk.
    """

    def __init__(self, *, repair: bool = False) -> None:
        self.repair = repair
        self.samples_in = 0
        """Samples pushed, at whatever rates."""
        self.samples_out = 0
        """Samples given at 24 kHz."""
        self.rate_changes = 0
        self.repaired = 0
        """Samples replaced by silence."""
        self.over_range = 0
        """Samples beyond -1..1, which were held at the edge."""
        self.clipped = 0
        """Samples that came in clipped: at full scale, three or more in a row."""
        self.offset_samples = 0
        """Samples at 24 kHz from which an offset was taken."""
        self._reset()

    def _reset(self) -> None:
        self._stretch: _Stretch | None = None
        self._past_S = np.zeros(0)
        self._low_pass = [np.zeros(1), np.zeros(1)]
        self._full_before_S = np.zeros(CLIPPED_RUN, bool)

    @property
    def pending(self) -> int:
        """Samples at 24 kHz that the resampler still holds; `flush` gives them."""
        return self._stretch.pending if self._stretch is not None else 0

    def push(self, pcm_SC: NDArray[Any], rate: float) -> Pcm:
        """Feed sound; returns int16 [samples] mono at 24 kHz, as far as it is final.

        pcm_SC: [S] or [S, C], float32 or float64 in -1..1, int16 or int32 full scale; channels are averaged.
        rate: whole Hz, 8000 to 192000; it may differ from the last push's.
        Raises ValueError for anything else, for NaN and infinity (unless `repair`); the stream is then as before.
        """
        if not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
            raise ValueError(f"a rate of {rate} Hz is not among the whole numbers {LOWEST_RATE} to {HIGHEST_RATE}.")
        value_SC = self._values(pcm_SC)
        if len(value_SC) == 0:
            return np.zeros(0, np.int16)
        self._count(value_SC)
        signal_S = np.clip(value_SC, -1.0, 1.0).mean(axis=1)
        self.samples_in += len(signal_S)
        out_S = self._turn_to(int(rate))
        assert self._stretch is not None
        out_S = np.concatenate([out_S, self._stretch.push(signal_S)])
        self._past_S = np.concatenate([self._past_S, signal_S])[-int(_MARGIN_S * rate) :]
        return self._finish(out_S)

    def flush(self) -> Pcm:
        """The rest, as if silence followed; then a new stretch may begin at any rate. The counts go on."""
        rest_S = self._stretch.end(np.zeros(0)) if self._stretch is not None else np.zeros(0)
        pcm_S = self._finish(rest_S)
        self._reset()
        return pcm_S

    def warnings(self) -> list[str]:
        """What the producer should know, in sentences."""
        said = []
        if self.clipped:
            said.append(f"The sound came in clipped ({self.clipped} samples): turn the producer's level down.")
        if self.over_range:
            said.append(f"{self.over_range} samples were beyond -1..1 and were held there: scale the sound down.")
        if self.repaired:
            said.append(f"{self.repaired} samples were no numbers and became silence.")
        if self.offset_samples > STREAM_RATE // 2:
            said.append(f"The sound has an offset (DC); it was taken out of {self.offset_samples / STREAM_RATE:.1f} s.")
        return said

    def _values(self, pcm_SC: NDArray[Any]) -> Doubles:
        """The chunk as float64 [S, C], full scale 1; refused or repaired where it holds no sound."""
        pcm_SC = np.asarray(pcm_SC)
        if pcm_SC.ndim not in (1, 2) or (pcm_SC.ndim == 2 and not 1 <= pcm_SC.shape[1] <= MAX_CHANNELS):
            raise ValueError(
                f"sound must be [samples] or [samples, channels] with 1 to {MAX_CHANNELS} channels, "
                f"not {list(pcm_SC.shape)}: transpose it if the channels come first."
            )
        pcm_SC = pcm_SC[:, None] if pcm_SC.ndim == 1 else pcm_SC
        if pcm_SC.dtype in (np.int16, np.int32):
            return np.asarray(pcm_SC / -float(np.iinfo(pcm_SC.dtype).min))
        if pcm_SC.dtype not in (np.float32, np.float64):
            raise ValueError(f"sound must be float32, float64, int16 or int32, not {pcm_SC.dtype}: convert it first.")
        bad_SC = ~(np.abs(pcm_SC) <= MAX_FLOAT)
        if not bad_SC.any():
            return pcm_SC.astype(np.float64)
        first, channel = (int(i) for i in np.argwhere(bad_SC)[0])
        found = float(pcm_SC[first, channel])
        if not self.repair:
            todo = "divide 16 bit values by 32768" if np.isfinite(found) else "mend the producer"
            raise ValueError(
                f"sample {self.samples_in + first} (number {first} of this chunk) is {found:g}, and sound lies in "
                f"-1..1: {todo}, or let Intake(repair=True) put silence there."
            )
        self.repaired += int(bad_SC.any(axis=1).sum())
        return np.where(bad_SC, 0.0, pcm_SC.astype(np.float64))

    def _count(self, value_SC: Doubles) -> None:
        """Samples out of range, and those at full scale in runs of at least CLIPPED_RUN, across chunks."""
        loudest_S = np.abs(value_SC).max(axis=1)
        self.over_range += int(np.count_nonzero(loudest_S > 1.0))
        full_S = np.concatenate([self._full_before_S, loudest_S >= _FULL])
        window_SR = np.lib.stride_tricks.sliding_window_view(full_S, CLIPPED_RUN)
        run_S: NDArray[np.bool_] = np.logical_and.reduce(window_SR, axis=1)  # the first was counted with the last chunk
        begun = int(np.count_nonzero(run_S[1:] & ~run_S[:-1]))
        self.clipped += int(np.count_nonzero(run_S[1:])) + (CLIPPED_RUN - 1) * begun
        self._full_before_S = full_S[-CLIPPED_RUN:]

    def _turn_to(self, rate: int) -> Doubles:
        """Make `rate` the current one; gives what the old rate's filter still held."""
        old = self._stretch
        if old is not None and old.rate == rate:
            return np.zeros(0)
        rest_S = np.zeros(0)
        if old is not None:
            self.rate_changes += 1
            mirror_S = _mirrored(self._past_S)
            rest_S = old.end(mirror_S)
            kept = len(self._past_S) * rate // old.rate
            self._past_S = soxr.resample(np.concatenate([self._past_S, mirror_S]), old.rate, rate, _QUALITY)[:kept]
        self._stretch = _Stretch(rate, self._past_S)
        return rest_S

    def _finish(self, value_S: Doubles) -> Pcm:
        """-1..1 at 24 kHz as int16, without its offset."""
        if len(value_S):
            offset_S = value_S
            for i, state in enumerate(self._low_pass):
                offset_S, self._low_pass[i] = lfilter([1.0 - _DC_POLE], [1.0, -_DC_POLE], offset_S, zi=state)
            share_S = np.clip(np.abs(offset_S) / _DC_LEAST - 1.0, 0.0, 1.0)
            self.offset_samples += int(np.count_nonzero(share_S))
            value_S = value_S - share_S * offset_S
        self.samples_out += len(value_S)
        return np.clip(np.rint(value_S * 32768.0), -32768, 32767).astype(np.int16)


class _Stretch:
    """Sound at one rate through one resampler; gives exactly round(samples * 24000 / rate)."""

    def __init__(self, rate: int, past_S: Doubles) -> None:
        """past_S: the sound before it, at `rate`."""
        self.rate = rate
        self._taken = self._given = self._skip = 0
        self._resampler: Any = None
        if rate != STREAM_RATE:
            self._resampler = soxr.ResampleStream(rate, STREAM_RATE, 1, dtype="float64", quality=_QUALITY)
            per_whole = Fraction(rate, STREAM_RATE).numerator  # samples in that make a whole number out
            lead_S = np.zeros(-(-len(past_S) // per_whole) * per_whole)
            lead_S[len(lead_S) - len(past_S) :] = past_S
            self._skip = len(lead_S) * STREAM_RATE // rate
            if len(lead_S):
                self._drop(self._resampler.resample_chunk(lead_S))

    @property
    def pending(self) -> int:
        """Samples taken, in those of 24 kHz, less samples given."""
        return (2 * self._taken * STREAM_RATE + self.rate) // (2 * self.rate) - self._given

    def push(self, signal_S: Doubles) -> Doubles:
        self._taken += len(signal_S)
        out_S = self._drop(self._resampler.resample_chunk(signal_S)) if self._resampler is not None else signal_S
        self._given += len(out_S)
        return out_S

    def end(self, after_S: Doubles) -> Doubles:
        """What is still held, given what the filter is to see behind the last sample."""
        if self._resampler is None:
            return np.zeros(0)
        ran_out = [self._drop(self._resampler.resample_chunk(part_S, last=last))
                   for part_S, last in ((after_S, False), (np.zeros(0), True))]  # fmt: skip
        out_S = np.concatenate([*ran_out, np.zeros(self.pending)])[: self.pending]
        self._given += len(out_S)
        return out_S

    def _drop(self, out_S: Doubles) -> Doubles:
        """Without what belongs to the lead."""
        kept_S = out_S[self._skip :]
        self._skip -= len(out_S) - len(kept_S)
        return kept_S


def _mirrored(past_S: Doubles) -> Doubles:
    """A continuation of the sound: its past, mirrored in time and about its last value."""
    return 2.0 * past_S[-1] - past_S[-2::-1] if len(past_S) > 1 else past_S
