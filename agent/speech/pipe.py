"""Messages between us and a helper process: little-endian (json length, payload length), json, payload.

Standard library only: helpers import nothing else of ours, so that they start fast and stay at arm's length.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

HEADER = struct.Struct("<II")

MAX_BYTES = 16 * 1024 * 1024
"""Neither part of a message is longer; about three minutes of 24 kHz sound is 8 MiB."""

Message = dict[str, Any]


def pack(message: Message, payload: bytes = b"") -> bytes:
    """One message as bytes."""
    head = json.dumps(message, separators=(",", ":")).encode()
    assert len(head) <= MAX_BYTES and len(payload) <= MAX_BYTES, "message too long"
    return HEADER.pack(len(head), len(payload)) + head + payload


def unpack_header(data: bytes) -> tuple[int, int]:
    """Lengths of the json and of the payload. Raises ValueError when they cannot be."""
    head_bytes, payload_bytes = HEADER.unpack(data)
    if head_bytes > MAX_BYTES or payload_bytes > MAX_BYTES:
        raise ValueError("The helper's message is too long; its output is broken.")
    return head_bytes, payload_bytes


def read(stream: BinaryIO) -> tuple[Message, bytes] | None:
    """The next message, or None when the other side has gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    head_bytes, payload_bytes = unpack_header(header)
    head, payload = stream.read(head_bytes), stream.read(payload_bytes)
    if len(head) < head_bytes or len(payload) < payload_bytes:
        return None
    message: Message = json.loads(head)
    return message, payload


def write(stream: BinaryIO, message: Message, payload: bytes = b"") -> None:
    """Send one message at once."""
    stream.write(pack(message, payload))
    stream.flush()
