"""The faulty server's own process: numbering, the clock, and the orders.

Started by `FaultyServer`; imports the standard library and the kit's own files only.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
import struct
import time
from typing import Any

from .faults import SHAPES, Kind, Options
from .faulty_link import FaultyLink, House, State
from .halfopen import drop_inbound, restore_inbound
from .orders import Handler, run
from .rfc6455 import Opcode, frame

PROGRESS = struct.Struct("@Qd")
"""Shared with the parent: messages numbered, and the instant (monotonic seconds) up
to which the clock's messages are among them. It survives our death by SIGKILL."""

_CHUNK = 500
_SHORTEST_TICK = 0.001


class Numbering:
    """How many messages there have been; driven by the clock, whoever listens."""

    def __init__(self, shared: mmap.mmap, *, rate: float) -> None:
        self._shared = shared
        sent, counted_until = PROGRESS.unpack_from(shared)
        self.sent: int = sent
        self._counted_until: float = counted_until
        self._rate = rate
        if not self._counted_until:
            self._counted_until = time.monotonic()

    def set_rate(self, rate: float, *, now: float) -> None:
        self._rate = rate
        self._counted_until = now

    def due(self, *, now: float) -> int:
        """How many messages of the clock have fallen due by now."""
        return int((now - self._counted_until) * self._rate)

    def next_due_at(self) -> float | None:
        return self._counted_until + 1 / self._rate if self._rate else None

    def take(self, messages: int, *, of_the_clock: bool) -> int:
        """Number so many messages; return the first number."""
        first = self.sent + 1
        self.sent += messages
        if of_the_clock:
            self._counted_until += messages / self._rate
        # Before they are written: a number may be lost by our death, never used twice.
        PROGRESS.pack_into(self._shared, 0, self.sent, self._counted_until)
        return first


class Venue:
    def __init__(self, options: Options, shared: mmap.mmap) -> None:
        self.house = House(options["answers"], options["buffer_limit_bytes"])
        self._numbering = Numbering(shared, rate=options["rate"])
        self._tail = b"," + options["text"].strip().encode()[1:]
        if self._tail.replace(b" ", b"") == b",}":
            self._tail = b"}"
        self._listener = _listen(options["port"])
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> int:
        """Begin to number and to listen; return the port."""
        loop = asyncio.get_running_loop()
        self._tick()
        await loop.create_server(
            lambda: FaultyLink(self.house), sock=self._listener, backlog=128
        )
        port: int = self._listener.getsockname()[1]
        return port

    async def obey(self, order: str, options: Options) -> object:
        match order:
            case "fault":
                self._fault(options["fault"], options)
            case "burst":
                return await self._burst(options["messages"])
            case "rate":
                self._tick()
                self._numbering.set_rate(options["rate"], now=time.monotonic())
                self._tick()
            case "counts":
                is_open = [link.state is State.OPEN for link in self.house.links]
                counts: dict[str, int] = dict(self.house.counts)
                return {**counts, "sent": self._numbering.sent, "open": sum(is_open)}
            case "received":
                return list(self.house.received)
            case "requests":
                return list(self.house.requests)
            case _:
                raise AssertionError(order)
        return None

    # --- messages -----------------------------------------------------------------

    def _tick(self) -> None:
        """Send what the clock has made due, after a freeze all of it at once."""
        if self._timer is not None:
            self._timer.cancel()
        while due := self._numbering.due(now=time.monotonic()):
            self._emit(due, of_the_clock=True)
        next_at = self._numbering.next_due_at()
        if next_at is not None:
            delay = max(next_at - time.monotonic(), _SHORTEST_TICK)
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    async def _burst(self, messages: int) -> tuple[int, int]:
        first = last = 0
        while messages:
            chunk = min(messages, _CHUNK)
            begin = self._emit(chunk, of_the_clock=False)
            first, last = first or begin, begin + chunk - 1
            messages -= chunk
            # Pings are answered, and the clock's messages go out, in between.
            await asyncio.sleep(0)
        return first, last

    def _emit(self, messages: int, *, of_the_clock: bool) -> int:
        first = self._numbering.take(messages, of_the_clock=of_the_clock)
        takers = [link for link in self.house.links if link.takes_data]
        end = first + messages
        for start in range(first, end, _CHUNK) if takers else ():
            stop = min(start + _CHUNK, end)
            tail = b',"sent_at":%.6f' % time.monotonic() + self._tail
            texts = [b'{"seq":%d' % n + tail for n in range(start, stop)]
            blob = b"".join([frame(Opcode.TEXT, text) for text in texts])
            for link in takers:
                link.send(blob, messages=stop - start)
        return first

    # --- faults -------------------------------------------------------------------

    def _fault(self, fault: str, options: Options) -> None:
        scope = options["scope"]
        if scope != "following":
            for link in tuple(self.house.links):
                self._apply_to_link(link, fault, options)
        if scope != "present":
            self._apply_to_following(fault, options)

    def _apply_to_link(self, link: FaultyLink, fault: str, options: Options) -> None:
        if fault == "restore":
            for active in tuple(link.active):
                link.stop(active)
        elif options["on"]:
            link.stop(fault)
            link.begin(fault, options)
        else:
            link.stop(fault)

    def _apply_to_following(self, fault: str, options: Options) -> None:
        following = self.house.following
        if fault == "restore":
            if "drop_filter" in following:
                restore_inbound(self._listener)
            following.clear()
        elif options["on"]:
            if fault == "drop_filter":
                drop_inbound(self._listener)
            if SHAPES[fault].kind is not Kind.LASTING:
                self._only_ending(fault)
            following[fault] = options
        elif following.pop(fault, None) is not None and fault == "drop_filter":
            restore_inbound(self._listener)

    def _only_ending(self, fault: str) -> None:
        """A connection to come can end in one way: the last one ordered."""
        for other in tuple(self.house.following):
            if SHAPES[other].kind is not Kind.LASTING and other != fault:
                del self.house.following[other]


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    # A restart must get the port back while old connections linger in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    venue = Venue(options, mmap.mmap(options["progress_fd"], PROGRESS.size))
    return {"port": await venue.open()}, venue.obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
