"""Streams opened at once, each in a pass of the loop of its own."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


async def turn() -> None:
    """Wait for a pass of the running loop in which no other stream is opened.

    Whoever opens a thousand, in a row or at once, is not to hold up those that are
    open: all that stand still that long tell it, and ask their peers.
    """
    loop = asyncio.get_running_loop()
    turns = _TURNS.get(id(loop))
    if turns is None:
        turns = _TURNS[id(loop)] = asyncio.Lock()
    async with turns:
        await asyncio.sleep(0)


_TURNS: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
"""By the id of the loop, which is nobody else's while anybody waits for his turn."""
