"""Sound files of any kind as the avatar's speech: int16 mono at 24 kHz, in one-second chunks.

A file is opened and its first chunk decoded before `load_audio` returns, so that a refusal comes at once;
the rest is decoded while it is read, so that an eight-hour file costs no more memory than a short one.

A *truncated* file is decoded as far as it goes, with a warning: a recording cut short is still speech, and
whoever renders it wants what is there. It is refused only when nothing at all can be decoded.
A *silent* file is allowed with a warning: the avatar simply keeps its mouth closed.
"""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from avatar.clock import STREAM_RATE
from avatar.errors import AudioError

_CHUNK: Final = STREAM_RATE
_SILENT_PEAK: Final = 33  # -60 dB full scale
_DECLARES_LENGTH: Final = {"wav", "flac", "mp3", "mov", "matroska", "aiff", "w64", "caf"}
_NOT_SOUND: Final = {"tty", "image2", "gif", "apng"}
_MAGIC: Final = ((0, b"RIFF"), (0, b"fLaC"), (0, b"OggS"), (4, b"ftyp"), (0, b"ID3"))
_FORMATS: Final = "Use a WAV, FLAC, MP3, Ogg, M4A or any other file that ffmpeg plays."


class AudioFile:
    """An open sound file; iterate once for int16 chunks [up to 24000] at 24 kHz.

    warnings: sentences for the user (truncated, silent); complete when the iteration has ended.
    duration_s: what the file declares, None when it does not. seconds: decoded so far.
    """

    def __init__(self, path: Path, container: Any, duration_s: float | None) -> None:
        self.path = path
        self.duration_s = duration_s
        self.warnings: list[str] = []
        self.seconds = 0.0
        self._container = container
        self._peak = 0
        self._declares = bool(_DECLARES_LENGTH & set(container.format.name.split(",")))
        self._chunks = self._decode()
        self._first = next(self._chunks, None)
        if self._first is None:
            self.close()
            raise self._nothing()

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        if self._first is not None:
            first_S, self._first = self._first, None
            yield first_S
        yield from self._chunks

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; iteration ends."""
        self._chunks.close()
        self._container.close()

    def _decode(self) -> Generator[NDArray[np.int16], None, None]:
        parts: list[NDArray[np.int16]] = []
        waiting = 0
        self._broken = "the header promises more" if _cut_riff(self.path) else ""
        for part_S in self._pieces():
            parts.append(part_S)
            waiting += len(part_S)
            if waiting >= _CHUNK:
                joined_S = np.concatenate(parts)
                whole = waiting // _CHUNK * _CHUNK
                for start in range(0, whole, _CHUNK):
                    yield self._count(joined_S[start : start + _CHUNK])
                parts, waiting = [joined_S[whole:]], waiting - whole
        if waiting:
            yield self._count(np.concatenate(parts))
        if self.seconds == 0.0:
            return
        short = self._declares and self.duration_s is not None and self.seconds < 0.98 * self.duration_s - 0.25
        if self._broken or short:
            declared = f" of {self.duration_s:.1f} s" if short and self.duration_s is not None else ""
            self.warnings.append(
                f"{self.path.name} is truncated or damaged: {self.seconds:.1f} s{declared} could be read and are used."
            )
        if self._peak < _SILENT_PEAK:
            self.warnings.append(f"{self.path.name} is silent: the mouth will stay closed.")
        self._container.close()

    def _count(self, chunk_S: NDArray[np.int16]) -> NDArray[np.int16]:
        self.seconds += len(chunk_S) / STREAM_RATE
        self._peak = max(self._peak, int(np.abs(chunk_S.astype(np.int32)).max()))
        return chunk_S

    def _pieces(self) -> Iterator[NDArray[np.int16]]:
        """Decoded and resampled pieces; ends quietly where the file breaks, after noting it."""
        stream = self._container.streams.audio[0]
        resampler: Any = None
        kind: tuple[Any, ...] = ()
        try:
            for frame in self._container.decode(stream):
                found = (frame.format.name, frame.layout.name, frame.sample_rate)
                if found != kind:  # the first frame, or a file that changes its format on the way
                    if resampler is not None:
                        yield from (out.to_ndarray()[0] for out in resampler.resample(None))
                    resampler, kind = av.AudioResampler("s16", "mono", STREAM_RATE), found
                frame.pts = None
                yield from (out.to_ndarray()[0] for out in resampler.resample(frame))
        except (av.FFmpegError, EOFError) as error:
            self._broken = str(error)
        if resampler is not None:
            yield from (out.to_ndarray()[0] for out in resampler.resample(None))

    def _nothing(self) -> AudioError:
        if self._broken:
            return AudioError("truncated", f"Nothing could be decoded from {self.path.name}.", "Export it again.")
        return AudioError("empty", f"{self.path.name} holds no sound.", "Record or export it again.")


def _cut_riff(path: Path) -> bool:
    """Whether a RIFF file is shorter than it says (ffmpeg trusts the file's size and does not tell)."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = int.from_bytes(head[4:8], "little")
    streamed = declared in {0, 0xFFFFFFFF, 0x7FFFFFFF}  # written to a pipe: the length was not known
    return head[:4] == b"RIFF" and not streamed and declared + 8 > path.stat().st_size + 1


def _begins_like_sound(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)


def load_audio(path: str | Path) -> AudioFile:
    """Open a sound file of any format, rate and channel count.

    Returns an AudioFile; iterate it for mono int16 chunks at 24 kHz.
    Raises AudioError with code not_found, not_audio, no_audio_stream, empty or truncated (nothing decodable).
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError("not_found", f"There is no file {path}.", "Check the path.")
    if path.stat().st_size == 0:
        raise AudioError("empty", f"{path.name} is an empty file.", "Record or export it again.")
    try:
        container: Any = av.open(str(path))
    except PermissionError as error:
        raise AudioError("not_found", f"{path} may not be read.", "Check the file's permissions.") from error
    except (av.FFmpegError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOENT:
            raise AudioError("not_found", f"There is no file {path}.", "Check the path.") from error
        if _begins_like_sound(path):
            raise AudioError(
                "truncated", f"{path.name} is cut short: its index is missing.", "Record or export it again."
            ) from error
        raise AudioError("not_audio", f"{path.name} is not a sound file.", _FORMATS) from error
    name = container.format.name
    if not container.streams.audio:
        container.close()
        if name in _NOT_SOUND or name.endswith("_pipe"):
            raise AudioError("not_audio", f"{path.name} is not a sound file.", _FORMATS)
        raise AudioError("no_audio_stream", f"{path.name} has no sound track.", "Use a file that has one.")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        container.close()
        raise AudioError("not_audio", f"The sound in {path.name} has an unknown coding.", _FORMATS)
    duration_s = container.duration / 1e6 if container.duration else None
    return AudioFile(path, container, duration_s)
