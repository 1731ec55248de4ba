"""Prepared identities in memory, within a bound: one copy for all sessions that show the same portrait.

A server that shows many portraits asks here. A portrait is loaded once however many ask for it at the same moment;
the one not asked for longest goes first when the bound is reached. Sessions that still draw an identity which went
keep it alive themselves: the bound is on what waits here.

What is kept of an identity is what a decoder reads. The framed picture and the matte are there to prepare it again;
they stay in its file. Arrays that all identities have in common (the meshes) are kept once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.identity import DEFAULT, FRAME_SIZE, load_identity
from avatar.portrait.store import SHAPES, Identity
from avatar.render.layers import PREFIX
from config.settings import AvatarSettings

MAX_IDENTITIES: Final = 200
MAX_BYTES: Final = 640 * 2**20
"""Room for 200 identities of 512 px (about 2.7 MB each) with some to spare."""

Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Counted since the cache was made."""

    identities: int
    """Kept now."""
    bytes: int
    """Kept now; common arrays counted once."""
    hits: int
    misses: int
    """Loads begun."""
    joined: int
    """Asked for while another was loading it."""
    evicted: int
    """Let go to stay within the bound."""
    failed: int


class IdentityCache:
    """Least recently used identities, bounded by number and by bytes. All methods may be called from any thread."""

    def __init__(
        self,
        settings: AvatarSettings | None = None,
        *,
        size: int = FRAME_SIZE,
        max_identities: int = MAX_IDENTITIES,
        max_bytes: int = MAX_BYTES,
        load: Callable[[str | Path], Identity] | None = None,
    ) -> None:
        """size: side at which portraits are prepared, px. load: how an identity is made; default `load_identity`.

        ValueError for a bound that leaves no room.
        """
        if max_identities < 1 or max_bytes < 1:
            raise ValueError("An identity cache needs room for at least one identity.")
        self.max_identities: Final = max_identities
        self.max_bytes: Final = max_bytes
        self._load = load or (lambda portrait: load_identity(portrait, settings, size=size))
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[Identity, int]] = OrderedDict()
        self._loading: dict[Key, Future[Identity]] = {}
        self._common: dict[str, NDArray[Any]] = {}
        self._common_bytes = 0
        self._own_bytes = 0
        self._counts = CacheStatistics(0, 0, 0, 0, 0, 0, 0)

    def get(self, portrait: str | Path = DEFAULT) -> Identity:
        """The prepared identity of 'default', an image file or a .safetensors file; shared, never to be written to.

        A file that has changed since is loaded anew. Waits while another thread loads the same one. Raises what loading
        raises (PortraitError), to everyone who waited; the next one to ask tries again.
        """
        key = _key(portrait)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self._count(hits=1)
                return self._kept[key][0]
            loading = self._loading.get(key)
            mine = loading is None
            if loading is None:
                loading = self._loading[key] = Future()
                self._count(misses=1)
            else:
                self._count(joined=1)
        return self._fetch(portrait, key, loading) if mine else loading.result()

    @property
    def statistics(self) -> CacheStatistics:
        """A consistent snapshot."""
        with self._lock:
            return replace(self._counts, identities=len(self._kept), bytes=self._bytes)

    def clear(self) -> None:
        """Let everything go; the counts stay."""
        with self._lock:
            self._kept.clear()
            self._common.clear()
            self._common_bytes = self._own_bytes = 0

    def _fetch(self, portrait: str | Path, key: Key, loading: Future[Identity]) -> Identity:
        try:
            identity = for_drawing(self._load(portrait))
        except BaseException as error:
            with self._lock:
                del self._loading[key]
                self._count(failed=1)
            loading.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            identity = self._keep(key, identity)
        loading.set_result(identity)
        return identity

    def _keep(self, key: Key, identity: Identity) -> Identity:
        """Take an identity in, its common arrays replaced by the kept ones; let others go until all is in bounds."""
        arrays, own = {}, 0
        for name, array in identity.arrays.items():
            common = self._common.setdefault(name, array) if array.dtype.kind in "iu" and array.ndim < 3 else None
            if common is array:
                self._common_bytes += array.nbytes
            if common is not None and common.dtype == array.dtype and np.array_equal(common, array):
                arrays[name] = common
            else:
                arrays[name], own = array, own + array.nbytes
        identity = Identity(arrays, identity.meta)
        self._kept[key] = (identity, own)
        self._own_bytes += own
        while self._kept and (len(self._kept) > self.max_identities or self._bytes > self.max_bytes):
            _, (_, gone) = self._kept.popitem(last=False)
            self._own_bytes -= gone
            self._count(evicted=1)
        return identity

    @property
    def _bytes(self) -> int:
        return self._own_bytes + self._common_bytes

    def _count(self, **more: int) -> None:
        self._counts = replace(self._counts, **{name: getattr(self._counts, name) + n for name, n in more.items()})


def for_drawing(identity: Identity) -> Identity:
    """The identity without what only its preparation needs: too little to be saved or prepared again."""
    drawable = any(name.startswith(PREFIX) for name in identity.arrays)
    arrays = {name: array for name, array in identity.arrays.items() if not drawable or name not in SHAPES}
    # a view would keep all of what it looks at
    return Identity({n: a if a.base is None else a.copy() for n, a in arrays.items()}, identity.meta)


def _key(portrait: str | Path) -> Key:
    """Name, time of change and size of the file; 'default' and files that are not there have none of the latter."""
    if str(portrait) == DEFAULT:
        return DEFAULT, 0, 0
    path = Path(portrait).expanduser().resolve()
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size
