"""LiveKit's audio output over our runner: what the agent says goes to the avatar."""

from __future__ import annotations

import time

import numpy as np
from livekit import rtc
from livekit.agents.voice import io

from agent.playout import Finished
from agent.runner import AvatarRunner
from agent.speech.tts import CHANGES_KEY, PHONES_KEY, TEXT_KEY
from avatar.clock import STREAM_RATE


class AvatarOutput(io.AudioOutput):
    """Takes 24 kHz mono frames, with phones and words in their userdata when the voice knows them.

    LiveKit counts the segments that it captures and waits for as many playback-finished events; the runner reports
    each of its segments exactly once, and here a segment of the one is a segment of the other. Whoever owns both passes
    the runner's events on to `started` and `finished`.
    """

    def __init__(self, runner: AvatarRunner) -> None:
        super().__init__(
            label="visavis avatar",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=STREAM_RATE,
        )
        self._runner = runner
        self._open = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Say a frame after those before it; waits while too much is queued."""
        if frame.sample_rate != STREAM_RATE or frame.num_channels != 1:
            raise ValueError(f"the avatar speaks {STREAM_RATE} Hz mono, not {frame.sample_rate} x {frame.num_channels}")
        await super().capture_frame(frame)
        self._open = True
        await self._runner.room()
        pcm_S = np.frombuffer(frame.data, np.int16)
        self._runner.push(
            pcm_S, frame.userdata.get(PHONES_KEY), frame.userdata.get(TEXT_KEY, ""), frame.userdata.get(CHANGES_KEY, ())
        )

    def flush(self) -> None:
        """The reply is complete."""
        super().flush()
        if self._open:
            self._open = False
            self._runner.end_segment()

    def clear_buffer(self) -> None:
        """Stop talking."""
        if self._open:
            # Counted by LiveKit, perhaps before any sound came: it is waited for all the same.
            self._open = False
            self._runner.end_segment()
        self._runner.clear()

    def pause(self) -> None:
        """Perhaps an interruption: hold the speech."""
        super().pause()
        self._runner.pause()

    def resume(self) -> None:
        """It was none."""
        super().resume()
        self._runner.resume()

    def started(self) -> None:
        """The runner gives out the first sound of a segment."""
        self.on_playback_started(created_at=time.time())

    def finished(self, finished: Finished) -> None:
        """The runner has given out a whole segment, or cleared it."""
        self.on_playback_finished(
            playback_position=finished.played / STREAM_RATE,
            interrupted=finished.interrupted,
            synchronized_transcript=finished.heard if finished.interrupted else None,
        )
