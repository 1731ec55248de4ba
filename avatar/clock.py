"""The one clock: time is counted in audio samples.

Frame k of every stream shows the samples [k * FRAME_SAMPLES, (k + 1) * FRAME_SAMPLES).
"""

STREAM_RATE = 24_000
"""Samples per second of the avatar's voice, mono, 16 bit."""

FPS = 25
"""Video frames per second."""

FRAME_SAMPLES = STREAM_RATE // FPS
"""Samples that belong to one video frame (960 = 40 ms)."""

MIC_RATE = 16_000
"""Samples per second on the listening side (voice activity, recognition, audio features)."""
