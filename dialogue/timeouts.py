"""Bounds the time a stream of text may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from dialogue.protocol import DialogueError


async def bounded(pieces: AsyncIterator[str], *, first_s: float, total_s: float) -> AsyncGenerator[str, None]:
    """Pass `pieces` on; raise DialogueError when the first takes longer than `first_s` seconds, or all than `total_s`.

    Closing this iterator closes `pieces`.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    first = True
    try:
        while True:
            deadline = start + (min(first_s, total_s) if first else total_s)
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                what = f"no text within {first_s:g} s" if first else f"the reply took longer than {total_s:g} s"
                raise DialogueError(f"The dialogue backend is too slow: {what}.") from None
            first = False
            yield piece
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
