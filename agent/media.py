"""Clips: MP4 (H.264, AAC) or WebM (VP9, Opus; the one with opacity), pictures and sound in step by the sample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from agent.errors import Unavailable
from avatar.clock import FPS, FRAME_SAMPLES, STREAM_RATE
from avatar.render.output import FrameFormat
from config import ConfigError

CRF: Final = "18"
"""Visually lossless for a face of this size."""
VP9_CRF: Final = "24"
"""The same for VP9."""
AUDIO_BIT_RATE: Final = 96_000
_BT709: Final = 1


def check_clip(path: Path, shape: FrameFormat) -> FrameFormat:
    """The shape again when a file of this name can hold such frames; ConfigError says which name could."""
    suffix = path.suffix.lower()
    if suffix not in (".mp4", ".webm"):
        raise ConfigError(f"--out must end in .mp4 or .webm, not '{path.suffix}'.")
    if shape.transparent and suffix == ".mp4":
        raise ConfigError("MP4 has no transparency. Let --out end in .webm, or choose another avatar.background.")
    return shape


class ClipWriter:
    """Writes one frame of 40 ms at a time: `with ClipWriter(path, decoder.format) as out: out.write(image, pcm)`.

    Leaving the block by an exception leaves a file that cannot be played; the caller removes it.
    """

    def __init__(self, path: Path, shape: FrameFormat, *, fast: bool = False) -> None:
        """path: *.mp4 or *.webm (see `check_clip`). fast: a larger file that costs less time to write.

        Raises Unavailable when the file cannot be written.
        """
        self._shape = shape.shape
        self._frames = 0
        self._last: av.VideoFrame | None = None
        try:
            path.open("wb").close()  # PyAV itself would say so only with the first frame
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror or error}.") from None
        if path.suffix.lower() == ".webm":
            self._container = av.open(str(path), "w", format="webm")
            # opacity and invisible reference frames exclude each other in VP9
            choices = {"crf": VP9_CRF, "b": "0", "deadline": "realtime", "cpu-used": "8" if fast else "5",
                       "row-mt": "1", "auto-alt-ref": "0"}  # fmt: skip
            self._video = self._container.add_stream("libvpx-vp9", rate=FPS, options=choices)
            self._audio = self._container.add_stream("libopus", rate=STREAM_RATE, layout="mono")
        else:
            self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
            choices = {"crf": CRF, "preset": "ultrafast" if fast else "veryfast"}
            self._video = self._container.add_stream("libx264", rate=FPS, options=choices)
            self._audio = self._container.add_stream("aac", rate=STREAM_RATE, layout="mono")
        self._audio.bit_rate = AUDIO_BIT_RATE
        self._video.height, self._video.width = shape.size, shape.width
        self._video.pix_fmt = "yuva420p" if shape.transparent else "yuv420p"
        context = self._video.codec_context
        context.time_base = Fraction(1, FPS)
        # Without these tags players guess the colours by the picture's size.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self._frames

    def write(self, image: NDArray[np.uint8] | None, pcm_S: NDArray[np.int16]) -> None:
        """The next 40 ms: a picture of the clip's shape, None for the one before, and int16 [960] at 24 kHz.

        Raises ValueError for other shapes.
        """
        if image is not None:
            if image.shape != self._shape:
                raise ValueError(f"a picture is {self._shape}, not {image.shape}.")
            layout = "rgba" if image.shape[2] == 4 else "rgb24"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)
            self._last = picture.reformat(format=self._video.pix_fmt, dst_colorspace="ITU709")
        if self._last is None:
            raise ValueError("the first frame needs a picture.")
        if pcm_S.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a frame has {FRAME_SAMPLES} samples, not {pcm_S.shape}.")
        self._last.pts, self._last.time_base = self._frames, Fraction(1, FPS)
        sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm_S[None]), format="s16", layout="mono")
        sound.sample_rate = STREAM_RATE
        sound.pts, sound.time_base = self._frames * FRAME_SAMPLES, Fraction(1, STREAM_RATE)
        self._frames += 1
        self._container.mux(self._video.encode(self._last))
        self._container.mux(self._audio.encode(sound))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._video.encode(None))
        self._container.mux(self._audio.encode(None))
        self._container.close()

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._container.close()
