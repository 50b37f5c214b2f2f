"""Sockets around the pure venue: each connection a `Link`, one timer for all.

It runs in the simulator's own process; the orders come from `VenueServer`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from errno import EINVAL
from typing import Any, Final, cast

import msgspec

from heartline.errors import UsageError
from heartline.venue.profile import Endpoint

from .capture import read_capture
from .orders import Handler
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
from .venue_side import Cut, Link, Options, Venue
from .venue_side.http import answered
from .venue_side.link import NO_FRAME
from .venue_side.recording import recorded

BACKLOG_BYTES: Final = 64 << 20
"""A client that lets more than this pile up is cut."""
CLOSE_TIMEOUT: Final = 1.0
SHORTEST_WAIT: Final = 0.001


class House:
    """All connections to one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.connections: dict[Link, Connection] = {}
        self.refusing: int | None = None
        """The HTTP status that connections are refused with; None takes them."""
        self.refusing_calls: int | None = None
        """The same for calls beside the socket."""
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        return time.monotonic()

    def settle(self) -> None:
        """Send what the venue has to say, and wake when it has more."""
        self.venue.tick(now=self.now())
        for link, connection in tuple(self.connections.items()):
            connection.send(link.drain())
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.venue.deadline
        if deadline is not None:
            delay = max(deadline - self.now(), SHORTEST_WAIT)
            self._timer = asyncio.get_running_loop().call_later(delay, self.settle)


class Connection(asyncio.Protocol):
    """One client: an HTTP call, or an upgrade and what follows."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._head = HeadReader()
        self._reader: FrameReader | None = None
        self._link: Link | None = None
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if self._link is not None:
            self._house.connections.pop(self._link, None)
            self._house.venue.gone(self._link)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        try:
            if self._reader is None:
                self._begin(data)
            else:
                self._take(self._reader.feed(data))
        except Violation as violation:
            self._punish(violation)

    def send(self, out: list[Frame | Cut]) -> None:
        """Write frames, all in one; a cut ends it."""
        blob = b"".join(
            frame(each.opcode, each.payload) for each in out if isinstance(each, Frame)
        )
        if blob and not self._is_over:
            self._transport.write(blob)
        if out and isinstance(out[-1], Cut):
            self._end(out[-1])
        elif self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            self._house.venue.counts["too slow"] += 1
            self._transport.abort()

    # --- the beginning ------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        whole = self._head.feed(data)
        if whole is None:
            return
        head, rest = whole
        if b"\nupgrade:" not in head.lower():
            self._call(head)
            return
        request = parse_request(head)
        house = self._house
        if house.refusing is not None:
            house.venue.counts["refused"] += 1
            self._dismiss(house.refusing, b"")
            return
        self._transport.write(acceptance(request))
        self._reader = FrameReader()
        self._link = house.venue.connect(now=house.now())
        house.connections[self._link] = self
        self._take(self._reader.feed(rest))

    def _call(self, head: bytes) -> None:
        """Answer a call beside the socket; a body it may have is not looked at."""
        line = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(line) != 3:
            raise Violation(400, f"request: wanted a method and a path, got {line!r}")
        house = self._house
        if house.refusing_calls is not None:
            house.venue.counts["calls refused"] += 1
            self._dismiss(house.refusing_calls, b"")
            return
        status, body = answered(house.venue, line[0], line[1])
        self._dismiss(status, body)

    def _dismiss(self, status: int, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        self._transport.write(refusal(status, headers, body.decode()))
        self._is_over = True
        self._transport.close()

    # --- frames -------------------------------------------------------------------

    def _take(self, frames: list[Frame]) -> None:
        assert self._link is not None
        now = self._house.now()
        for one in frames:
            self._link.receive(one, now=now)
        self._house.settle()

    def _punish(self, violation: Violation) -> None:
        self._house.venue.counts[f"breach: {violation.reason}"] += 1
        if self._link is None:
            self._dismiss(400, b"")
        else:
            self._end(Cut(violation.code, violation.reason))

    def _end(self, cut: Cut) -> None:
        if self._is_over:
            return
        self._is_over = True
        if cut.code == NO_FRAME:
            self._transport.abort()
            return
        payload = close_payload(cut.code, cut.reason[:120])
        self._transport.write(frame(Opcode.CLOSE, payload))
        self._transport.close()
        loop = asyncio.get_running_loop()
        loop.call_later(CLOSE_TIMEOUT, self._transport.abort)


class Orders:
    """Carries out what `VenueServer` asks for."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        venue, now = self._house.venue, self._house.now()
        # What has fallen due came before the order.
        venue.tick(now=now)
        try:
            answer = self._obey(venue, order, options, now)
        except (UsageError, LookupError) as error:
            # The control channel knows one way to refuse.
            raise OSError(EINVAL, str(error)) from None
        self._house.settle()
        return answer

    def _obey(
        self, venue: Venue, order: str, options: Mapping[str, Any], now: float
    ) -> object:
        match order:
            case "accounts":
                return venue.market.accounts()
            case "book":
                return venue.market.named(options["name"]).book()
            case "counts":
                links = sum(link.cut is None for link in venue.links)
                return {**venue.counts, "open": links}
            case "burst":
                return venue.burst(options["name"], options["messages"], now=now)
            case "notice":
                return venue.notice(options["index"], now=now)
            case "written":
                return venue.written
            case "rate":
                venue.set_rate(options["rate"], now=now)
            case "refuse":
                self._house.refusing = options["status"]
            case "refuse_calls":
                self._house.refusing_calls = options["status"]
            case "subscribed":
                return [list(link.service.subscribed) for link in venue.links]
            case _:
                getattr(venue, order)(**options)
        return None


async def open_house(options: dict[str, Any]) -> tuple[object, Handler]:
    """Begin to listen; the answer tells the port."""
    endpoint = msgspec.json.decode(options["endpoint"], type=Endpoint)
    chosen = Options(**options["options"])
    venue = Venue(endpoint, chosen, now=time.monotonic(), unix=time.time())
    channels: list[str] = options["channels"]
    for name in channels:
        venue.market.named(name)
    if options["capture"] is not None:
        capture = read_capture(options["capture"])
        venue.play(recorded(capture, venue.contract))
    house = House(venue)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(house), "127.0.0.1", options["port"], backlog=128
    )
    port: int = server.sockets[0].getsockname()[1]
    venue.told.setdefault("endpoint", f"ws://127.0.0.1:{port}/")
    house.settle()
    return {"port": port}, Orders(house).obey
