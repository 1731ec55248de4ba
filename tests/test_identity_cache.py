"""The cache keeps its bound, loads once, and hands out identities that draw like any other."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avatar.errors import PortraitError
from avatar.identity_cache import MAX_BYTES, MAX_IDENTITIES, IdentityCache
from avatar.memory import held_bytes, identity_memory
from avatar.motion import space
from avatar.portrait.store import Identity
from avatar.render.decoder import Decoder
from tests import render_samples


def small(portrait: str | Path) -> Identity:
    """An identity of 1000 own bytes and 400 that all have in common."""
    own = np.full(1000, sum(str(portrait).encode()) % 256, np.uint8).reshape(1, 10, 100)
    return Identity({"own_HW3": own.copy(), "rig.triangles_T3": np.arange(100, dtype=np.int32)}, {"of": str(portrait)})


@example([0, 1, 0, 2, 0, 1], 2, 9)  # 0 is used, so 1 goes
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_never_more_than_the_bound_and_the_least_recent_goes_first(asked: list[int], most: int, room: int) -> None:
    loads: list[str] = []

    def load(portrait: str | Path) -> Identity:
        loads.append(str(portrait))
        return small(portrait)

    cache = IdentityCache(max_identities=most, max_bytes=400 + 1000 * room, load=load)
    expected: list[str] = []  # what a list-keeping librarian would have on the shelf
    for number in asked:
        name = f"/nowhere/{number}"
        before = len(loads)
        identity = cache.get(name)
        assert identity.meta["of"] == name
        assert (len(loads) == before) == (name in expected)
        expected = [*(n for n in expected if n != name), name][-min(most, room) :]
        counted = cache.statistics
        assert counted.identities == len(expected) <= most
        assert counted.bytes == 400 + 1000 * len(expected) <= cache.max_bytes
    assert cache.statistics.hits + cache.statistics.misses == len(asked)
    assert cache.statistics.evicted == len(loads) - len(expected)


def test_an_identity_larger_than_the_bound_is_given_but_not_kept() -> None:
    cache = IdentityCache(max_bytes=500, load=small)
    assert cache.get("/nowhere/a").arrays["own_HW3"].nbytes == 1000
    assert cache.statistics.identities == 0


def test_meshes_are_kept_once() -> None:
    cache = IdentityCache(load=small)
    first, second = cache.get("/nowhere/a"), cache.get("/nowhere/b")
    assert first.arrays["rig.triangles_T3"] is second.arrays["rig.triangles_T3"]
    assert cache.statistics.bytes == held_bytes([first, second]) == 2400


def test_many_who_ask_at_once_wait_for_one_load() -> None:
    begun, go_on = threading.Event(), threading.Event()
    loads: list[str] = []

    def load(portrait: str | Path) -> Identity:
        loads.append(str(portrait))
        begun.set()
        assert go_on.wait(10)
        return small(portrait)

    cache = IdentityCache(load=load)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get, "/nowhere/a") for _ in range(8)]
        assert begun.wait(10)
        while cache.statistics.joined < 7:
            time.sleep(0.001)
        go_on.set()
        given = {id(future.result(10)) for future in asked}
    assert len(loads) == len(given) == 1
    assert (cache.statistics.misses, cache.statistics.joined) == (1, 7)


def test_while_one_portrait_loads_others_are_served() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def load(portrait: str | Path) -> Identity:
        if str(portrait).endswith("slow"):
            begun.set()
            assert go_on.wait(10)
        return small(portrait)

    cache = IdentityCache(load=load)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(cache.get, "/nowhere/slow")
        assert begun.wait(10)
        assert pool.submit(cache.get, "/nowhere/quick").result(10).meta["of"] == "/nowhere/quick"
        assert not slow.done()
        go_on.set()
        slow.result(10)


def test_a_failure_reaches_the_one_who_asked_and_is_not_remembered(tmp_path: Path) -> None:
    missing = tmp_path / "one.safetensors"
    cache = IdentityCache()
    with pytest.raises(PortraitError) as error:
        cache.get(missing)
    assert error.value.code == "not_found"
    render_samples.identity().save(missing)
    assert cache.get(missing).meta == render_samples.identity().meta
    assert cache.statistics.failed == 1


def test_a_changed_file_is_loaded_anew(tmp_path: Path) -> None:
    identity = render_samples.identity()
    path = identity.save(tmp_path / "one.safetensors")
    cache = IdentityCache()
    first = cache.get(path)
    assert cache.get(path) is first
    Identity(identity.arrays, {**identity.meta, "source": "changed"}).save(path)
    os.utime(path, ns=(1, 1))
    assert cache.get(path).meta["source"] == "changed"


def test_what_is_kept_draws_the_same_picture_and_is_left_as_it_is(tmp_path: Path) -> None:
    path = render_samples.identity().save(tmp_path / "one.safetensors")
    kept = IdentityCache().get(path)
    before = {name: array.copy() for name, array in kept.arrays.items()}
    motion = space.neutral()
    motion[space.INDEX["jawOpen"]], motion[space.INDEX["headYaw"]] = 0.4, 0.1
    picture = Decoder(kept, size=256).render(motion)
    assert np.array_equal(picture, render_samples.decoder().render(motion))
    assert all(np.array_equal(array, before[name]) for name, array in kept.arrays.items())


def test_the_stated_bound_holds_two_hundred_real_identities() -> None:
    assert MAX_IDENTITIES == 200
    assert identity_memory(render_samples.identity())["drawing"] * MAX_IDENTITIES < MAX_BYTES


def test_a_bound_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="room for at least one"):
        IdentityCache(max_identities=0)
