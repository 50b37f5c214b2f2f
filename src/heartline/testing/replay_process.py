"""The replay's own process: one string of ready-made frames, a cursor a client.

Started by `serve_capture`; imports the standard library and the kit's own files only.
"""

from __future__ import annotations

import asyncio
import socket
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from typing import Any, cast

from .capture import Capture, read_capture
from .orders import Handler, run
from .rfc6455 import (
    Frame,
    FrameReader,
    HeadReader,
    Opcode,
    Violation,
    acceptance,
    close_payload,
    frame,
    parse_request,
    refusal,
)

_SLICE_BYTES = 128 << 10
_HIGH_WATER_BYTES = 128 << 10
_CONTROL_LIMIT_BYTES = 1 << 20
_LONELY_PERIOD = 1.0
"""Seconds for one round of a looped recording that has no duration of its own."""


class Tape:
    """The frames of a recording as bytes, and when each is due."""

    def __init__(self, capture: Capture, *, speed: float, loop: bool) -> None:
        inbound = capture.inbound
        encoded = [
            frame(Opcode.TEXT, one.data.encode())
            if isinstance(one.data, str)
            else frame(Opcode.BINARY, one.data)
            for one in inbound
        ]
        self.bytes = memoryview(b"".join(encoded))
        self.ends = list(accumulate(map(len, encoded), initial=0))
        # A clock set back while recording must not reorder the frames.
        instants = accumulate((one.at for one in inbound), max)
        self.due = [(at - inbound[0].at) / speed if speed else 0.0 for at in instants]
        self.loop = loop
        self.timed = speed > 0
        count = len(inbound)
        span = self.due[-1]
        self.period = span + span / (count - 1) if span else _LONELY_PERIOD


class Player(asyncio.Protocol):
    """One client: a cursor on the tape."""

    def __init__(self, tape: Tape, counts: Counter[str], lateness: list[float]) -> None:
        self._tape = tape
        self._counts = counts
        self._lateness = lateness
        self._head = HeadReader()
        self._reader: FrameReader | None = None
        self._next = 0
        self._started_at = 0.0
        self._paused = False
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._counts["connections"] += 1
        self._counts["open"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts["open"] -= 1
        self._stop()

    def pause_writing(self) -> None:
        self._paused = True
        self._stop()

    def resume_writing(self) -> None:
        self._paused = False
        # Not from inside the transport's own write.
        self._timer = asyncio.get_running_loop().call_soon(self._play)

    def data_received(self, data: bytes) -> None:
        try:
            if self._reader is None:
                self._upgrade(data)
            else:
                for one in self._reader.feed(data):
                    self._take(one)
        except Violation as violation:
            self._counts["violations"] += 1
            self._punish(violation)

    # --- out ----------------------------------------------------------------------

    def _play(self) -> None:
        """Write what is due, up to what the client takes; ask for the next turn."""
        tape, loop = self._tape, asyncio.get_running_loop()
        if self._transport.is_closing():
            return
        if self._next == len(tape.due):
            if not tape.loop:
                return
            self._next = 0
            self._started_at += tape.period
        now = loop.time() - self._started_at
        first, until = self._next, len(tape.due)
        if tape.timed:
            until = bisect_right(tape.due, now, lo=first)
        if until > first:
            start = tape.ends[first]
            # One slice holds at least one frame, however big.
            fits = bisect_right(tape.ends, start + _SLICE_BYTES) - 1
            until = max(first + 1, min(until, fits))
            self._next = until
            self._counts["frames"] += until - first
            self._counts["rounds"] += until == len(tape.due)
            if tape.timed:
                self._lateness[0] = max(self._lateness[0], now - tape.due[first])
            self._transport.write(tape.bytes[start : tape.ends[until]])
        if not self._paused:
            self._ask_for_next_turn()

    def _ask_for_next_turn(self) -> None:
        tape, loop = self._tape, asyncio.get_running_loop()
        if self._next < len(tape.due):
            due_at = self._started_at + tape.due[self._next]
        elif tape.loop:
            due_at = self._started_at + tape.period
        else:
            return
        if tape.timed and due_at > loop.time():
            self._timer = loop.call_at(due_at, self._play)
        else:
            self._timer = loop.call_soon(self._play)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # --- in -----------------------------------------------------------------------

    def _upgrade(self, data: bytes) -> None:
        whole = self._head.feed(data)
        if whole is None:
            return
        head, rest = whole
        self._transport.write(acceptance(parse_request(head)))
        self._reader = FrameReader()
        self._started_at = asyncio.get_running_loop().time()
        self._play()
        if rest:
            self.data_received(rest)

    def _take(self, one: Frame) -> None:
        match one.opcode:
            case Opcode.PING:
                self._counts["pings"] += 1
                # A client that pings and never reads must not fill our memory.
                if self._transport.get_write_buffer_size() < _CONTROL_LIMIT_BYTES:
                    self._transport.write(frame(Opcode.PONG, one.payload))
            case Opcode.CLOSE:
                self._transport.write(frame(Opcode.CLOSE, one.payload[:2]))
                self._transport.close()
            case Opcode.PONG:
                pass
            case _:
                self._counts["messages"] += 1

    def _punish(self, violation: Violation) -> None:
        if self._reader is None:
            self._transport.write(refusal(400, {}, violation.reason))
        else:
            payload = close_payload(violation.code, violation.reason[:120])
            self._transport.write(frame(Opcode.CLOSE, payload))
        self._transport.close()


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    capture = read_capture(options["path"])
    tape = Tape(capture, speed=options["speed"], loop=options["loop"])
    counts: Counter[str] = Counter()
    lateness = [0.0]
    server = await asyncio.get_running_loop().create_server(
        lambda: Player(tape, counts, lateness), options["host"], options["port"]
    )
    sock: socket.socket = server.sockets[0]

    async def obey(order: str, options: dict[str, Any]) -> object:
        assert order == "counts", order
        names = ("connections", "open", "rounds", "frames", "messages", "pings")
        return {
            **{name: counts[name] for name in (*names, "violations")},
            "latest": lateness[0],
        }

    return {"port": sock.getsockname()[1]}, obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
