"""MP4 files: H.264 pictures and AAC sound, in step by the sample."""

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

CRF: Final = "18"
"""Visually lossless for a face of this size."""
AUDIO_BIT_RATE: Final = 96_000
_BT709: Final = 1


class Mp4Writer:
    """Writes one frame of 40 ms at a time: `with Mp4Writer(path, size=512) as out: out.write(image, pcm)`.

    Leaving the block by an exception leaves a file that cannot be played; the caller removes it.
    """

    def __init__(self, path: Path, *, size: int, preset: str = "veryfast") -> None:
        """size: width and height of the pictures, even. preset: x264's, from ultrafast to veryslow.

        Raises Unavailable when the file cannot be written.
        """
        self._size = size
        self._frames = 0
        self._last: av.VideoFrame | None = None
        try:
            path.open("wb").close()  # PyAV itself would say so only with the first frame
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror or error}.") from None
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._video = self._container.add_stream("libx264", rate=FPS, options={"crf": CRF, "preset": preset})
        self._video.width = self._video.height = size
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.time_base = Fraction(1, FPS)
        # Without these tags players guess the colours by the picture's size.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = 1
        self._audio = self._container.add_stream("aac", rate=STREAM_RATE, layout="mono", bit_rate=AUDIO_BIT_RATE)

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self._frames

    def write(self, image: NDArray[np.uint8] | None, pcm_S: NDArray[np.int16]) -> None:
        """The next 40 ms: [size, size, 3] RGB, None for the picture before, and int16 [960] at 24 kHz.

        Raises ValueError for other shapes.
        """
        if image is not None:
            if image.shape != (self._size, self._size, 3):
                raise ValueError(f"a picture is {self._size} x {self._size} pixels, not {image.shape}.")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            self._last = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
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

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._container.close()
