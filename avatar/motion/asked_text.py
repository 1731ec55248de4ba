"""What can be asked of face and head (`Asked`), written as text: one grammar for settings, options, tags and the page.

emotion      warm | warm:0.6 | happy:0.5+surprised:0.3 | neutral | valence=0.4,arousal=0.2
liveliness   0..1, or composed (0), usual (0.5), animated (1)
gaze         AZIMUTH,ELEVATION in degrees: positive looks towards the picture's right, and up; 0,0 is the visitor
distance     near, usual, far, or a multiple of the portrait's own distance, 0.78..1.28; below 1 is nearer

Names are read in either case, spaces around the parts are ignored, and what is out of range is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import emotion
from avatar.motion.controls import EMOTIONS, Asked
from config import ConfigError
from config.settings import AvatarSettings

KEYS: Final = ("emotion", "liveliness", "gaze", "distance")
"""What can be asked for by name, in settings (`avatar.emotion`) and in tags (`{emotion=warm}`)."""
LIVELINESS_WORDS: Final = {"composed": 0.0, "usual": 0.5, "animated": 1.0}
DISTANCE_WORDS: Final = {"near": 0.88, "usual": 1.0, "far": 1.14}
AZIMUTH_DEG: Final = 20.0
ELEVATION_DEG: Final = 12.0
NEAREST: Final = 0.78
FARTHEST: Final = 1.28

_AFFECT: Final = re.compile(r"valence\s*=\s*(?P<valence>[^,;\s]+)\s*[,;\s]\s*arousal\s*=\s*(?P<arousal>[^,;\s]+)")


@dataclass(frozen=True, slots=True)
class AskedChange:
    """What a tag changes; None leaves a thing as it is.

    emotion: the six weights 0..1 in the order of EMOTIONS (all zero is neutral). gaze_deg: azimuth, elevation.
    liveliness 0..1; distance a multiple of the portrait's own.
    """

    emotion: tuple[float, ...] | None = None
    liveliness: float | None = None
    gaze_deg: tuple[float, float] | None = None
    distance: float | None = None

    def over(self, asked: Asked) -> Asked:
        """`asked` with the change made."""
        changed: dict[str, float] = {}
        if self.emotion is not None:
            changed |= dict(zip(EMOTIONS, self.emotion, strict=True))
        if self.liveliness is not None:
            changed["liveliness"] = self.liveliness
        if self.gaze_deg is not None:
            changed["gaze_azimuth_deg"], changed["gaze_elevation_deg"] = self.gaze_deg
        if self.distance is not None:
            changed["distance"] = self.distance
        return replace(asked, **changed)

    def then(self, later: AskedChange) -> AskedChange:
        """This change and a later one, which wins where both say something."""
        said = {field.name: value for field in fields(later) if (value := getattr(later, field.name)) is not None}
        return replace(self, **said)


def parse_change(values: Mapping[str, str]) -> AskedChange:
    """A change from texts by key (see KEYS). Raises ValueError with a sentence for the person who wrote it."""
    for key in values:
        if key not in KEYS:
            raise ValueError(f"'{key}' cannot be asked for: use {', '.join(KEYS)}.")
    return AskedChange(
        emotion=parse_emotion(values["emotion"]) if "emotion" in values else None,
        liveliness=parse_liveliness(values["liveliness"]) if "liveliness" in values else None,
        gaze_deg=parse_gaze(values["gaze"]) if "gaze" in values else None,
        distance=parse_distance(values["distance"]) if "distance" in values else None,
    )


def asked_of(settings: AvatarSettings, sources: Mapping[str, str] | None = None) -> Asked:
    """What the settings ask for. `sources`: where each setting came from, for the message.

    Raises ConfigError, which names the setting.
    """
    asked = Asked()
    for key in KEYS:
        try:
            asked = parse_change({key: getattr(settings, key)}).over(asked)
        except ValueError as error:
            name = f"avatar.{key}"
            origin = f" ({sources[name]})" if sources and name in sources else ""
            raise ConfigError(f"Setting '{name}'{origin}: {error}") from None
    return asked


def parse_emotion(text: str) -> tuple[float, ...]:
    """Weights of the named emotions in the order of EMOTIONS, each 0..1. Raises ValueError."""
    affect = _AFFECT.fullmatch(text.strip().lower())
    if affect is not None:
        valence, arousal = (_number(affect[name], name) for name in ("valence", "arousal"))
        return _rounded(emotion.from_affect(valence, arousal))
    mixture: dict[str, float] = {}
    for part in text.split("+"):
        name, colon, intensity = part.partition(":")
        name = emotion.check_emotion(name)
        if name in mixture:
            raise ValueError(f"'{name}' is named twice.")
        mixture[name] = _number(intensity, "an emotion's intensity") if colon else 1.0
    return _rounded(emotion.weights(mixture))


def parse_liveliness(text: str) -> float:
    """0 (composed) .. 1 (animated). Raises ValueError."""
    return _within(text, "liveliness", 0.0, 1.0, LIVELINESS_WORDS)


def parse_distance(text: str) -> float:
    """A multiple of the portrait's own distance. Raises ValueError."""
    return _within(text, "distance", NEAREST, FARTHEST, DISTANCE_WORDS)


def parse_gaze(text: str) -> tuple[float, float]:
    """Azimuth and elevation in degrees. Raises ValueError."""
    parts = text.replace(";", ",").split(",")
    if len(parts) != 2:
        raise ValueError(f"a gaze is AZIMUTH,ELEVATION in degrees, such as 10,0; '{_shown(text)}' is not.")
    azimuth, elevation = (_number(part, "a gaze") for part in parts)
    if abs(azimuth) > AZIMUTH_DEG or abs(elevation) > ELEVATION_DEG:
        raise ValueError(
            f"a gaze goes at most {AZIMUTH_DEG:g} degrees to a side and {ELEVATION_DEG:g} up or down, "
            f"not {azimuth:g},{elevation:g}."
        )
    return azimuth, elevation


def emotion_text(asked: Asked) -> str:
    """The emotions of `asked` as `parse_emotion` reads them, to two digits."""
    weights = [(name, round(getattr(asked, name), 2)) for name in EMOTIONS]
    return "+".join(f"{name}:{weight:g}" for name, weight in weights if weight > 0.0) or emotion.NEUTRAL


def asked_text(asked: Asked) -> str:
    """All that is asked, on one line, in the form of a tag's inside."""
    return (
        f"emotion={emotion_text(asked)} liveliness={asked.liveliness:.2g} "
        f"gaze={asked.gaze_azimuth_deg:g},{asked.gaze_elevation_deg:g} distance={asked.distance:.3g}"
    )


def _within(text: str, what: str, low: float, high: float, words: Mapping[str, float]) -> float:
    word = text.strip().lower()
    if word in words:
        return words[word]
    *others, last = words
    choice = f"{', '.join(others)} or {last}, or a number from {low:g} to {high:g}"
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{what} is {choice}; '{_shown(text)}' is not.") from None
    if not low <= value <= high:  # NaN fails too
        raise ValueError(f"{what} is {choice}, not {_shown(text)}.")
    return value


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is a number, not '{_shown(text)}'.")
    return value


def _rounded(weights_E: NDArray[np.float32]) -> tuple[float, ...]:
    """Without the dust of 32 bits, so that 0.3 stays 0.3."""
    return tuple(round(float(weight), 6) for weight in weights_E)


def _shown(text: str) -> str:
    """Somebody else's text in a message: short and on one line."""
    return " ".join(text.split())[:40]
