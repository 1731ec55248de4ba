"""Memory is counted as it is held: every buffer once, views whole, shared memory to nobody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from avatar.identity_cache import for_drawing
from avatar.memory import gpu_slot_bytes, held_bytes, identity_memory, memory_figures
from avatar.motion import space
from avatar.render.decoder import Decoder
from tests import render_samples


@dataclass
class Holder:
    array: np.ndarray
    more: object = None


class Slotted:
    __slots__ = ("inside",)

    def __init__(self, inside: object) -> None:
        self.inside = inside


def test_every_buffer_counts_once_however_it_is_reached() -> None:
    big = np.zeros(1000, np.uint8)
    tensor = torch.zeros(10)
    held = {
        "a": Holder(big, [big[5:10], (big.reshape(10, 100), None)]),
        "b": Slotted([tensor, tensor[:2]]),
        "c": "text",
    }
    held["self"] = held  # a circle ends
    assert held_bytes(held) == 1000 + 40
    assert held_bytes(Holder(big[:1])) == 1000  # a view keeps all of what it looks at
    assert held_bytes(held, without=Holder(big)) == 40
    assert held_bytes(torch.from_numpy(big), without=big) == 0


def test_one_more_session_costs_its_buffers_and_not_the_identity() -> None:
    identity = for_drawing(render_samples.identity())
    first, second = (Decoder(identity, size=256) for _ in range(2))
    for decoder in (first, second):
        decoder.render(space.neutral())
    one = held_bytes(first, without=identity)
    both = held_bytes([first, second], without=identity)
    frame = 256 * 256
    assert one > frame * (4 + 8 + 4)  # depth, map, warped: at least these are its own
    assert abs(both - 2 * one) < 0.02 * one
    assert one < 4e6, "a session at 256 px should stay small"


def test_identity_figures_add_up_to_the_file(tmp_path: Path) -> None:
    identity = render_samples.identity()
    file = identity.save(tmp_path / "one.safetensors")
    sizes = identity_memory(identity, file)
    held = sum(array.nbytes for array in identity.arrays.values())
    assert sizes["drawing"] + sizes["analysis"] == held
    assert 0 < sizes["file"] - held < 20_000
    assert sizes["drawing"] < 3.0e6, "200 of them have to fit into the cache's bound"


def test_figures_for_the_bench() -> None:
    decoder = render_samples.decoder()
    figures = memory_figures(render_samples.identity(), decoder)
    assert all(value > 0.1 for value in figures.values()), figures
    assert figures["memory_gpu_slot_mb"] == gpu_slot_bytes(decoder) / 1e6
    assert figures["memory_identity_drawing_mb"] < figures["memory_identity_file_mb"]
