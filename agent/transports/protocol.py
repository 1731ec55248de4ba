"""The kiosk's wire protocol: typed JSON control messages, and media behind a 16-byte header.

docs/kiosk-protocol.md explains it. The page checks the same schema on its side (web/src/transport/protocol.ts).

Array legend: S samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from avatar.clock import FPS, MIC_RATE, STREAM_RATE
from avatar.motion.asked_text import (
    AZIMUTH_DEG,
    ELEVATION_DEG,
    FARTHEST,
    NEAREST,
    AskedChange,
    emotion_text,
    parse_emotion,
)
from avatar.motion.controls import Asked
from avatar.motion.emotion import EMOTION_NAMES

HEADER: Final = struct.Struct("<BBHIQ")
"""u8 kind, u8 flags, u16 reserved, u32 epoch, u64 sample; little-endian."""
FLAG_SPEECH: Final = 1
MAX_TEXT: Final = 2000
"""Longest typed message in characters."""
MAX_EMOTION: Final = 120
CONTROLS_VERSION: Final = 1
"""Of what `controls` holds."""
MAX_MICROPHONE_SAMPLES: Final = MIC_RATE // 2
"""Longest microphone message: half a second."""
MAX_MESSAGE_BYTES: Final = HEADER.size + 2 * MAX_MICROPHONE_SAMPLES
"""Largest message a client may send, of either kind."""


class Kind(IntEnum):
    """What a binary message holds."""

    MICROPHONE = 1
    AUDIO = 2
    VIDEO = 3


class ProtocolError(ValueError):
    """A message that is not in the protocol; the text says what is wrong with it, without quoting it."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wish(_Message):
    """What is asked of face and head; see avatar/motion/asked_text.py for the form of `emotion`.

    gaze: degrees towards the picture's right, and up. distance: a multiple of the portrait's own, below 1 is nearer.
    """

    emotion: Annotated[str, Field(min_length=1, max_length=MAX_EMOTION)]
    liveliness: Annotated[float, Field(ge=0, le=1)]
    gaze: tuple[
        Annotated[float, Field(ge=-AZIMUTH_DEG, le=AZIMUTH_DEG)],
        Annotated[float, Field(ge=-ELEVATION_DEG, le=ELEVATION_DEG)],
    ]
    distance: Annotated[float, Field(ge=NEAREST, le=FARTHEST)]

    @field_validator("emotion")
    @classmethod
    def _is_emotion(cls, value: str) -> str:
        try:
            parse_emotion(value)
        except ValueError:
            raise PydanticCustomError("emotion", "is no emotion, such as warm:0.6 or happy:0.5+surprised:0.3") from None
        return value

    def change(self) -> AskedChange:
        """As the avatar understands it."""
        return AskedChange(parse_emotion(self.emotion), self.liveliness, self.gaze, self.distance)


class Offer(_Message):
    """The motion's controls, for a page that may move them: as they stand and as they were configured."""

    version: Literal[1] = CONTROLS_VERSION
    emotions: tuple[str, ...] = EMOTION_NAMES
    now: Wish
    configured: Wish

    @classmethod
    def of(cls, now: Asked, configured: Asked) -> Offer:
        """The offer for these two."""
        return cls(now=_wish(now), configured=_wish(configured))


def _wish(asked: Asked) -> Wish:
    return Wish(
        emotion=emotion_text(asked),
        liveliness=asked.liveliness,
        gaze=(asked.gaze_azimuth_deg, asked.gaze_elevation_deg),
        distance=min(max(asked.distance, NEAREST), FARTHEST),
    )


class Hello(_Message):
    """First message after the connection: what this is."""

    type: Literal["hello"] = "hello"
    session: str
    version: str
    profile: str
    title: str
    language: str
    sample_rate: int = STREAM_RATE
    fps: int = FPS
    width: int
    height: int
    alpha: bool
    disclosure: str
    debug: bool
    controls: Offer | None = None


class StateMessage(_Message):
    """What the avatar is doing."""

    type: Literal["state"] = "state"
    state: Literal["idle", "listening", "thinking", "speaking"]


class Transcript(_Message):
    """What the visitor says; `text` replaces what the segment said before."""

    type: Literal["transcript"] = "transcript"
    segment: str
    text: str
    final: bool


class Caption(_Message):
    """What the avatar says; `text` replaces what the segment said before."""

    type: Literal["caption"] = "caption"
    segment: str
    text: str
    final: bool
    start_sample: int | None


class ClearMessage(_Message):
    """Drop queued sound and pictures of epochs before this one, now."""

    type: Literal["clear"] = "clear"
    epoch: int


class LatencyMessage(_Message):
    """How long an answered turn took, in milliseconds since the visitor's last sound."""

    type: Literal["latency"] = "latency"
    turn: str
    marks_ms: dict[str, float]


class Stats(BaseModel):
    """Figures for the debug panel; the names may change."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: Literal["stats"] = "stats"


class ErrorMessage(_Message):
    """Something went wrong; after a fatal one the server closes."""

    type: Literal["error"] = "error"
    code: str
    message: str
    hint: str = ""
    fatal: bool = False


class Bye(_Message):
    """The server ends the conversation."""

    type: Literal["bye"] = "bye"
    reason: str


ServerMessage = Hello | StateMessage | Transcript | Caption | ClearMessage | LatencyMessage | Stats | ErrorMessage | Bye


class Start(_Message):
    """The visitor has pressed Start; `microphone` says whether sound will come."""

    type: Literal["start"]
    microphone: bool


class Text(_Message):
    """Typed instead of spoken."""

    type: Literal["text"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class Stop(_Message):
    """Stop talking."""

    type: Literal["stop"]


class Mute(_Message):
    """The microphone is muted or not; while muted no sound comes."""

    type: Literal["mute"]
    muted: bool


class Controls(Wish):
    """The motion's controls were moved; honoured with `session.debug` only."""

    type: Literal["controls"] = "controls"
    version: Literal[1]


class Played(_Message):
    """Which sample is being heard; av_offset_ms: (centre of the shown frame - sample being heard) / 24."""

    type: Literal["played"]
    sample: Annotated[int, Field(ge=0, lt=2**53)]
    av_offset_ms: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ClientBye(_Message):
    """The page is going away (it may be a reload)."""

    type: Literal["bye"]


AnyClient = Start | Text | Stop | Mute | Controls | Played | ClientBye
ClientMessage = Annotated[AnyClient, Field(discriminator="type")]
_CLIENT: Final[TypeAdapter[Any]] = TypeAdapter(ClientMessage)


@dataclass(frozen=True, slots=True)
class MicrophonePacket:
    """int16 [samples] mono at 16 kHz, from the client's sample number on."""

    sample: int
    pcm_S: NDArray[np.int16]


def parse_text(text: str) -> AnyClient:
    """A client's control message. Raises ProtocolError."""
    try:
        message: AnyClient = _CLIENT.validate_json(text)
    except ValidationError as error:
        raise _protocol_error(error) from None
    return message


def parse_controls(text: str) -> Controls:
    """A `controls` message that comes by itself (a room's RPC). Raises ProtocolError."""
    try:
        return Controls.model_validate_json(text)
    except ValidationError as error:
        raise _protocol_error(error) from None


def _protocol_error(error: ValidationError) -> ProtocolError:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return ProtocolError(f"{where + ': ' if where else ''}{first['msg']}")


def parse_media(data: bytes) -> MicrophonePacket:
    """A client's binary message. Raises ProtocolError."""
    if len(data) < HEADER.size:
        raise ProtocolError(f"a media message has a header of {HEADER.size} bytes, this one has {len(data)} in all")
    kind, _flags, _reserved, _epoch, sample = HEADER.unpack_from(data)
    if kind != Kind.MICROPHONE:
        raise ProtocolError(f"a client sends media of kind {Kind.MICROPHONE.value}, not {kind}")
    size = len(data) - HEADER.size
    if size == 0 or size % 2 or size // 2 > MAX_MICROPHONE_SAMPLES:
        raise ProtocolError(f"microphone sound is 1 to {MAX_MICROPHONE_SAMPLES} samples of 2 bytes, not {size} bytes")
    return MicrophonePacket(sample, np.frombuffer(data, "<i2", offset=HEADER.size).astype(np.int16))


def pack_audio(pcm_S: NDArray[np.int16], *, speech: bool, epoch: int, sample: int) -> bytes:
    """The avatar's sound, int16 at 24 kHz, as a message."""
    return HEADER.pack(Kind.AUDIO, FLAG_SPEECH if speech else 0, 0, epoch, sample) + pcm_S.astype("<i2").tobytes()


def pack_video(jpeg: bytes, *, speech: bool, epoch: int, sample: int) -> bytes:
    """The picture that belongs to the sound from `sample` on, as a message."""
    return HEADER.pack(Kind.VIDEO, FLAG_SPEECH if speech else 0, 0, epoch, sample) + jpeg
