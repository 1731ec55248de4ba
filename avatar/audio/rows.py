"""Rows of numbers on an absolute index, growing at the back and forgotten from the front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Rows:
    """float32 rows [start, stop) of a fixed width; rows outside read as zeros.

    One streaming quantity per object (a feature per 10 ms bin, a number per frame). Indices never
    change when old rows are forgotten, so readers need no bookkeeping.
    """

    def __init__(self, width: int) -> None:
        self._data = np.zeros((64, width), dtype=np.float32)
        self._count = 0
        self.start = 0

    @property
    def stop(self) -> int:
        """One past the last row."""
        return self.start + self._count

    def extend_to(self, stop: int) -> None:
        """Append zero rows until `stop`; does nothing when the rows already reach that far."""
        needed = stop - self.start
        if needed <= self._count:
            return
        if needed > len(self._data):
            grown = np.zeros((max(needed, 2 * len(self._data)), self._data.shape[1]), dtype=np.float32)
            grown[: self._count] = self._data[: self._count]
            self._data = grown
        self._data[self._count : needed] = 0.0
        self._count = needed

    def append(self, rows_TW: NDArray[np.float32]) -> None:
        """Append rows [T, width]."""
        first = self._count
        self.extend_to(self.stop + len(rows_TW))
        self._data[first : self._count] = rows_TW

    def view(self, first: int, last: int) -> NDArray[np.float32]:
        """A writable view of rows [first, last), which must exist."""
        assert self.start <= first <= last <= self.stop
        return self._data[first - self.start : last - self.start]

    def window(self, first: int, last: int) -> NDArray[np.float32]:
        """A copy of rows [first, last), zeros where there are none."""
        out_TW = np.zeros((last - first, self._data.shape[1]), dtype=np.float32)
        low, high = max(first, self.start), min(last, self.stop)
        if low < high:
            out_TW[low - first : high - first] = self._data[low - self.start : high - self.start]
        return out_TW

    def forget(self, before: int) -> None:
        """Drop rows below `before` (rows may be kept a little longer, to move memory seldom)."""
        gone = min(before - self.start, self._count)
        if gone < 512:
            return
        kept = self._count - gone
        self._data[:kept] = self._data[gone : self._count].copy()
        self._count = kept
        self.start += gone
