"""The faulty server's side of one connection, and what it shares with the others.

Runs in the venue's process. A link obeys the faults in `active`; it decides nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import cast

from .faults import Options
from .halfopen import drop_inbound, restore_inbound
from .rfc6455 import (
    Frame,
    FrameReader,
    HeadReader,
    Opcode,
    Violation,
    acceptance,
    close_code,
    close_payload,
    frame,
    parse_request,
    refusal,
)

_ABORT_BY_RST = struct.pack("ii", 1, 0)
_REMEMBERED = 1000
_CLOSE_TIMEOUT = 5.0
"""Seconds for the client's half of a closing handshake, then the link is aborted."""


@dataclass(slots=True)
class House:
    """What all links of one venue share."""

    answers: Mapping[str, str]
    buffer_limit_bytes: int
    counts: Counter[str] = field(default_factory=Counter[str])
    following: dict[str, Options] = field(default_factory=dict[str, Options])
    links: set[FaultyLink] = field(default_factory=lambda: set[FaultyLink]())
    received: deque[Options] = field(
        default_factory=lambda: deque[Options](maxlen=_REMEMBERED)
    )
    requests: deque[Options] = field(
        default_factory=lambda: deque[Options](maxlen=_REMEMBERED)
    )


class State(Enum):
    UPGRADING = "the request is not complete"
    SILENT = "we read, and say nothing any more"
    OPEN = "upgraded"
    CLOSING = "our close frame is out"
    ENDING = "so is the client's"
    GONE = "there is no connection"


class FaultyLink(asyncio.Protocol):
    def __init__(self, house: House) -> None:
        self.state = State.UPGRADING
        self.active: dict[str, Options] = {}
        self._house = house
        self._head = HeadReader()
        self._reader = FrameReader()
        self._dripping: bytearray | None = None
        self._held = bytearray()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- the loop calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Not when it was made: an order that comes between the two would miss it.
        self.active.update(self._house.following)
        self._house.counts["connections"] += 1
        self._house.links.add(self)
        if "drop_filter" in self.active:
            drop_inbound(self._socket())

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = State.GONE
        for timer in self._timers.values():
            timer.cancel()
        self._house.links.discard(self)

    def data_received(self, data: bytes) -> None:
        self._house.counts["bytes_received"] += len(data)
        try:
            if self.state is State.UPGRADING:
                self._upgrade(data)
            elif self.state in (State.OPEN, State.CLOSING):
                for one in self._reader.feed(data):
                    self._take(one)
        except Violation as violation:
            self._house.counts["violations"] += 1
            self._punish(violation)

    # --- the venue calls ----------------------------------------------------------

    @property
    def takes_data(self) -> bool:
        return self.state is State.OPEN and "mute" not in self.active

    def send(self, data: bytes, *, messages: int = 0) -> None:
        """Write whole frames; shed them if the client has let too much pile up."""
        if self.state is not State.OPEN:
            return
        waiting = len(self._held) + self._transport.get_write_buffer_size()
        if waiting + len(data) > self._house.buffer_limit_bytes:
            self._house.counts["shed"] += messages
        elif self._dripping is not None or "cork" in self.active:
            self._held += data
        elif "trickle" in self.active:
            self._dripping = bytearray(data)
            self._drip()
        else:
            self._transport.write(data)

    def begin(self, fault: str, options: Options) -> None:
        """Begin a lasting fault, or do a momentary one."""
        match fault:
            case "close" | "reset" | "eof":
                self._later(fault, options["after"], partial(self._end, fault, options))
                return
            case "deaf":
                self._transport.pause_reading()
            case "drop_filter":
                drop_inbound(self._socket())
            case _:
                pass
        self.active[fault] = options
        if fault == "unsolicited":
            self._stray()

    def stop(self, fault: str) -> None:
        """End a lasting fault; nothing happens if it is not active."""
        if self.active.pop(fault, None) is None or self.state is State.GONE:
            return
        match fault:
            case "deaf":
                self._transport.resume_reading()
            case "drop_filter":
                restore_inbound(self._socket())
            case "trickle":
                self._release()
            case "cork" if self._dripping is None:
                self._release()
            case _:
                pass

    # --- upgrade ------------------------------------------------------------------

    def _upgrade(self, data: bytes) -> None:
        whole = self._head.feed(data)
        if whole is None:
            return
        head, rest = whole
        request = parse_request(head)
        self._house.requests.append(
            {"path": request.path, "headers": dict(request.headers)}
        )
        if "hang" in self.active:
            self.state = State.SILENT
            return
        refuse = self.active.get("refuse")
        if refuse is not None:
            self._house.counts["refused"] += 1
            answer = refusal(refuse["status"], refuse["headers"], refuse["body"])
            self._dismiss(answer)
            return
        self._house.counts["handshakes"] += 1
        self.state = State.OPEN
        self._transport.write(acceptance(request))
        self._apply_following()
        if rest:
            self.data_received(rest)

    def _apply_following(self) -> None:
        """Begin what was ordered before this connection came."""
        for fault, options in tuple(self.active.items()):
            if fault == "flap":
                self._later(fault, options["after"], partial(self._bye, options))
            elif fault in ("close", "reset", "eof"):
                del self.active[fault]
                self.begin(fault, options)
            elif fault in ("deaf", "unsolicited"):
                self.begin(fault, options)

    # --- frames in ----------------------------------------------------------------

    def _take(self, one: Frame) -> None:
        counts = self._house.counts
        match one.opcode:
            case Opcode.PING:
                counts["pings"] += 1
                self._pong(one.payload)
            case Opcode.PONG:
                counts["pongs"] += 1
            case Opcode.CLOSE:
                counts["closes"] += 1
                self._closed(one.payload)
            case _:
                counts["messages"] += 1
                self._message(one)

    def _message(self, one: Frame) -> None:
        text = one.payload.decode() if one.opcode is Opcode.TEXT else None
        self._house.received.append(
            {"text": text} if text is not None else {"hex": one.payload.hex()}
        )
        if "echo" in self.active:
            self.send(frame(one.opcode, one.payload))
        answer = None if text is None else self._house.answers.get(text)
        if answer is not None and "no_answer" not in self.active:
            self.send(frame(Opcode.TEXT, answer.encode()))

    def _pong(self, payload: bytes) -> None:
        if "no_pong" in self.active:
            return
        answer = frame(Opcode.PONG, payload)
        if "unsolicited" in self.active:
            answer += answer
        late = self.active.get("late_pong")
        if late is None:
            self.send(answer)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(late["delay"], self.send, answer)

    def _stray(self) -> None:
        options = self.active.get("unsolicited")
        if options is None or self.state is not State.OPEN:
            return
        self.send(frame(Opcode.PONG, os.urandom(8)))
        self._later("unsolicited", max(options["every"], 0.001), self._stray)

    # --- bytes held back ----------------------------------------------------------

    def _drip(self) -> None:
        options = self.active.get("trickle")
        if self._dripping is None or options is None:
            return
        self._transport.write(bytes(self._dripping[:1]))
        del self._dripping[:1]
        if self._dripping:
            self._later("trickle", options["every"], self._drip)
        else:
            self._release()

    def _release(self) -> None:
        """Let go of what was held; what is inside a frame goes first."""
        first, self._dripping = self._dripping, None
        if first:
            self._transport.write(bytes(first))
        if "cork" in self.active:
            return
        held, self._held = bytes(self._held), bytearray()
        self._transport.write(held)
        if self.state is State.ENDING:
            self._transport.close()

    # --- ends ---------------------------------------------------------------------

    def _closed(self, payload: bytes) -> None:
        code, _ = close_code(payload)
        self.send(frame(Opcode.CLOSE, close_payload(code)))
        self.state = State.ENDING
        if not self._held:
            self._transport.close()

    def _bye(self, options: Options) -> None:
        if self.state is not State.OPEN:
            return
        payload = close_payload(options["code"], options["reason"])
        self.send(frame(Opcode.CLOSE, payload))
        self.state = State.CLOSING
        self._later("close", _CLOSE_TIMEOUT, self._transport.abort)

    def _end(self, fault: str, options: Options) -> None:
        match fault:
            case "reset":
                self._socket().setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_BY_RST
                )
                self._transport.abort()
            case "eof":
                self._release()
                self.state = State.SILENT
                self._transport.write_eof()
            case _:
                self._bye(options)

    def _punish(self, violation: Violation) -> None:
        if self.state is State.UPGRADING:
            self._dismiss(refusal(400, {}, violation.reason))
        else:
            self._bye({"code": violation.code, "reason": violation.reason[:120]})
            self._transport.close()

    def _dismiss(self, answer: bytes) -> None:
        self._transport.write(answer)
        self.state = State.SILENT
        self._transport.close()

    def _socket(self) -> socket.socket:
        return cast(socket.socket, self._transport.get_extra_info("socket"))

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        """Call it after `delay` seconds, at once if that is none, never when gone."""
        if delay <= 0:
            call()
            return
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay, call)
