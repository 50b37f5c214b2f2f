"""A supervised stream: what the user iterates, asks and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from heartline.core.events import Stop
from heartline.core.items import Item, Phase, Status
from heartline.core.latency import Latency
from heartline.core.subscribing import Standing
from heartline.errors import NotOpen, UsageError
from heartline.wire.kernel import SocketLike

from .desk import Desk
from .driver import Driver
from .opening import turn


class Stream:
    """One supervised stream. Made by `heartline.connect`, used as `async with`.

    Iterating yields `Message | Gap | Status` in the order they happened, beginning
    with a Status. It ends when the stream is closed, and raises `GaveUp` when the
    stream has ended for good by itself. One consumer at a time. All of it belongs to
    the thread of its loop; only the `metrics` given to `connect` are for any thread.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __repr__(self) -> str:
        """Its name, phase and verdict: never the URL, which may hold a token."""
        status = self._driver.snapshot()
        stands = f"{status.phase.value} {status.verdict.value}"
        return f"<heartline.Stream {self._driver.name} {stands}>"

    async def __aenter__(self) -> Self:
        await turn()
        if self._driver.pump is not None:
            raise UsageError("stream", wanted="one use of `async with`", got="another")
        self._driver.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._driver.reader.items()

    def batches(self) -> AsyncIterator[list[Item]]:
        """Yield what waits, several items at a time: the cheapest way to read."""
        return self._driver.reader.batches()

    def send(self, data: str | bytes) -> None:
        """Queue one message; never waits.

        Raises `NotOpen` while there is no OPEN link and `OutboxFull` over the limit;
        then nothing was taken. What is still queued when a link is lost is counted in
        `status.counts.unsent` and told by the `Lost` event; it is not sent again.
        """
        phase, carrier = self._driver.session.phase, self._driver.carrier
        if phase is not Phase.OPEN or carrier is None:
            raise NotOpen(phase=phase.value)
        carrier.send(data)
        self._driver.sent += 1
        self._driver.said.note(carrier.epoch, data)

    @property
    def status(self) -> Status:
        """What is known of the stream now. Cheap enough to ask on every order."""
        return self._driver.snapshot()

    @property
    def latency(self) -> Latency:
        """The age of the venue's data, the round trip, the wait in our inbox and the
        lateness of our loop: of the recent past, and never to be added up.

        Ages are told on a stream of a venue that stamps its messages. Percentiles are
        taken when it is asked for: not for every order.
        """
        return self._driver.ages.delays.summary()

    @property
    def socket(self) -> SocketLike | None:
        """The present link's socket, for options of your own and for fault tests.

        None without a link. Every link has another; do not read, write or close it.
        """
        return None if self._driver.carrier is None else self._driver.carrier.socket

    def subscribe(self, *channels: str) -> None:
        """Ask for more channels of the venue; they are kept across links.

        Raises `UsageError` without a venue, and over a name that is none of its.
        """
        self._desk.want(channels)

    def unsubscribe(self, *channels: str) -> None:
        """Ask for these channels no more; one that is not wanted is passed over.

        Raises `UsageError` without a venue, and over what cannot be a name; then none
        of them is let go.
        """
        for channel in channels:
            if not isinstance(channel, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                got = type(channel).__name__
                raise UsageError("channel", wanted="a text", got=got)
        self._desk.unwant(channels)
        now, epoch = self._driver.ages.clock(), self._driver.session.epoch
        self._driver.ages.forget(channels, now=now, epoch=epoch)

    def standing(self, channel: str) -> Standing | None:
        """How a channel stands with the venue; None if it is not wanted."""
        return self._desk.feed.standing(channel)

    @property
    def _desk(self) -> Desk:
        desk = self._driver.desk
        if desk is None:
            wanted = "a stream of a venue, inside `async with`"
            raise UsageError("channel", wanted=wanted, got="none")
        return desk

    def is_fresh(self, channel: str | None = None, *, max_age: float) -> bool:
        """Whether data arrived within the last `max_age` seconds, and the link lives.

        With `channel` (of a venue) its own data is meant. What a venue says beside its
        channels, such as an acknowledgement or a beat, is no data.

        False while not OPEN, once the link is DEAD, and after a stall or a suspend of
        our own until data arrives that did not wait it out; and while the channel, or
        without one any channel, is LATE by the limit given to `connect`. Expires by
        itself: the age counts time in which the machine was asleep.
        """
        link, pump = self._driver.session.link, self._driver.pump
        if link is None or pump is None or self._driver.session.phase is not Phase.OPEN:
            return False
        pump.flush()
        fresh_at = link.channel.fresh_at
        if fresh_at is None or link.found is not None:
            return False
        late = self._driver.ages.late
        if late and (channel is None or channel in late):
            return False
        if self._driver.desk is not None:
            # Answers and beats of a venue are frames like its data, and are not data.
            fresh_at = min(fresh_at, self._driver.intake.data_at)
        if channel is not None:
            now = pump.clock() + pump.suspended
            if not self._desk.feed.is_fresh(channel, max_age=max_age, now=now):
                return False
        return pump.clock() - fresh_at + pump.suspended <= max_age

    async def wait_live(self, timeout: float | None = None) -> Status:  # noqa: ASYNC109
        """Wait until the stream is live; its status then.

        Raises `TimeoutError` after `timeout` seconds, with what stands in the way, and
        `GaveUp` or `NotOpen` if the stream has ended and will not be live again.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._live()
        except TimeoutError:
            now = self._driver.snapshot()
            why = now.cause.value if now.cause else now.phase.value
            said = f": {now.evidence}" if now.evidence else ""
            reason = f"not live within {timeout} s: {why}{said}"
            raise TimeoutError(reason) from None

    async def _live(self) -> Status:
        while not (status := self._driver.snapshot()).live:
            if (end := self._driver.end) is not None:
                raise end
            if status.phase is Phase.CLOSED:
                raise NotOpen(phase=status.phase.value, asked="wait_live")
            if self._driver.changed is None:
                self._driver.changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._driver.changed)
        return status

    async def aclose(self) -> None:
        """End the stream; returns within `Dialling.close` and a turn of the loop.

        Tries the closing handshake for that long, then drops the connection, also if
        the peer is dead and the write buffer full. Items that still wait can be read.
        """
        pump, closed = self._driver.pump, self._driver.closed
        if pump is None or closed is None:
            return
        try:
            pump.feed(Stop())
            await asyncio.shield(closed)
        finally:
            await self._driver.drop()
