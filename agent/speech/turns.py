"""When the visitor speaks and when the turn is over: LiveKit's embedded models, set by our settings.

Both models are inside livekit-agents' packages (no download, no network); their licence allows use with LiveKit Agents.
"""

from __future__ import annotations

from livekit.agents import TurnHandlingOptions, inference

from config.settings import SpeechSettings

VAD_SILENCE_S = 0.25
"""Pause after which voice activity is said to have ended. A pause inside a sentence may be longer: whether the turn is
over is for the turn detector to say, which listens to the last seconds when voice activity ends."""

VAD_PREFIX_S = 0.4
"""Sound kept from before voice activity: the first consonant is quieter than the threshold."""

END_OF_TURN_THRESHOLD = 0.25
"""Below this probability the turn is held open for the longest delay. LiveKit's own 0.36 holds every third finished
question of our trials (synthetic voices and LJSpeech) open, this one in ten (docs/speech.md). LiveKit warns once
that it is not its default."""


def make_vad(settings: SpeechSettings) -> inference.VAD:
    """Voice activity detection (silero; 0.7 ms of one core for each second of sound)."""
    silence_s = min(VAD_SILENCE_S, settings.end_of_turn_min_s)
    return inference.VAD(min_silence_duration=silence_s, prefix_padding_duration=VAD_PREFIX_S)


def turn_handling(settings: SpeechSettings) -> TurnHandlingOptions:
    """`turn_handling=` of an AgentSession. Everything that could call LiveKit's cloud is chosen away."""
    return TurnHandlingOptions(
        # "v1-mini" is the embedded model; the default may be a cloud one.
        turn_detection=inference.TurnDetector(version="v1-mini", unlikely_threshold=END_OF_TURN_THRESHOLD),
        endpointing={
            "mode": "fixed",
            "min_delay": settings.end_of_turn_min_s,
            "max_delay": max(settings.end_of_turn_min_s, settings.end_of_turn_max_s),
        },
        interruption={
            "enabled": settings.barge_in,
            # "adaptive" asks LiveKit's cloud.
            "mode": "vad",
            "min_duration": settings.barge_in_min_s,
            "min_words": 0,
            # A cough stops the avatar; when no words follow it goes on where it was.
            "resume_false_interruption": True,
            "false_interruption_timeout": 1.5,
        },
        # The reply is prepared as soon as words are final, while the end of the turn is still being judged.
        preemptive_generation={"enabled": True},
    )
