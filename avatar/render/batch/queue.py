"""Work queues of fixed length: how a batch whose items need different amounts of work keeps static shapes.

Every item asks for `count` places; a running sum says where its places begin; a binary search tells each place whose
it is. Nothing is read back by the host, so a CUDA graph can hold it. What does not fit in a slot's part of the queue
is left out; slots never take each other's places.

Shape suffixes: B slots, I items per slot, Q places per slot.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Who works at each of the B * Q places."""

    item: Tensor
    """int32 [B * Q], number of the item among all B * I."""
    nth: Tensor
    """int32 [B * Q], how many places of the same item lie before; not below the item's count where idle."""


def hand_out(count_BI: Tensor, places_BQ: Tensor) -> Places:
    """Give each item its places. count_BI: int32; places_BQ: int32, 0 .. B * Q - 1 in order."""
    slots, length = places_BQ.shape
    count = count_BI.reshape(-1)
    # one flat running sum: a device-wide scan, whatever the number of slots
    before_BI = (torch.cumsum(count, 0, dtype=torch.int32) - count).view(slots, -1)
    own_BI = (before_BI - before_BI[:, :1]).clamp(max=length)
    start = (own_BI + places_BQ[:, :1]).view(-1)
    item = torch.searchsorted(start, places_BQ.view(-1), right=True, out_int32=True) - 1
    return Places(item, places_BQ.view(-1) - start.index_select(0, item))
