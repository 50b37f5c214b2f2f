"""The way out to one client: at once while it reads, through its backlog while not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from picows import WSMsgType

from heartline.core.inbox import Inbox, Overflow
from heartline.wire.resume import GapFrame, encode

from .backlog import Backlog, Missing
from .outgoing import Outgoing

Send = Callable[[WSMsgType, bytes], None]

MOST_SAID = 1 << 16
"""Bytes of answers that may wait in a transport which has enough already."""

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY


class Audience(Protocol):
    """Who gets what is published, as one of them sees it."""

    def slowed(self, outlet: Outlet) -> None: ...

    def quickened(self, outlet: Outlet) -> None: ...

    def discard(self, outlet: Outlet) -> None: ...


class Outlet:
    """What is sent to one client. Nothing here waits, and all is bounded."""

    __slots__ = (
        "_paused",
        "_said",
        "_sent",
        "_slow",
        "audiences",
        "backlog",
        "send",
        "speaks",
    )

    def __init__(self, send: Send, *, speaks: bool, slow: Inbox) -> None:
        self.send: Send | None = send
        """Sends at once, whatever waits; None once nothing is to be sent any more."""
        self.speaks = speaks
        self.audiences: list[Audience] = []
        self.backlog: Backlog | None = None
        self._slow = slow
        self._paused = False
        self._said = self._sent = 0

    @property
    def sender(self) -> Send | None:
        """What sends to it at once; None while messages wait for it, and at its end."""
        return None if self._paused or self.backlog is not None else self.send

    @property
    def waiting(self) -> int:
        return 0 if self.backlog is None else self.backlog.waiting

    def number(self) -> int:
        """The next number of the messages to this client alone."""
        self._sent += 1
        return self._sent

    def say(self, frame: bytes) -> bool:
        """Send a frame of the sub-protocol ahead of all that waits.

        False if that is too much for a transport that has enough.
        """
        if self._paused:
            self._said += len(frame)
        if self.send is not None:
            self.send(_TEXT, frame)
        return self._said <= MOST_SAID

    def deliver(self, message: Outgoing, *, now: float) -> bool:
        """Send a message at once, or let it wait; False if that is one too many."""
        send = self.sender
        if send is not None:
            self._write(send, message)
            return True
        if self.send is None:
            return True
        if self.backlog is None:
            self.backlog = Backlog(self._slow, now=now)
        size = len(message.text if self.speaks else message.plain)
        self.backlog.put(message, size)
        return not (self.backlog.full and self._slow.policy is Overflow.DISCONNECT)

    def pause(self) -> None:
        """The transport has enough: from now on messages wait."""
        self._paused = True
        for audience in self.audiences:
            audience.slowed(self)

    def resume(self, *, now: float) -> None:
        """Write what waits, until the transport has enough again."""
        self._paused = False
        self._said = 0
        backlog = self.backlog
        # Writing can pause it again, and can end the connection.
        while backlog is not None and not self._paused and self.send is not None:
            for item in backlog.take(now=now):
                if isinstance(item, Outgoing):
                    self._write(self.send, item)
                elif self.speaks:
                    self.send(_TEXT, encode(_gap(item)))
            if backlog.empty:
                self.backlog = backlog = None
        if self.backlog is None and not self._paused:
            for audience in self.audiences:
                audience.quickened(self)

    def shut(self) -> int:
        """Send nothing any more; how many messages that leaves unsent."""
        unsent = self.waiting
        self.send = self.backlog = None
        audiences, self.audiences = self.audiences, []
        for audience in audiences:
            audience.discard(self)
        return unsent

    def _write(self, send: Send, message: Outgoing) -> None:
        if self.speaks:
            send(_TEXT, message.text)
        else:
            send(_BINARY if message.binary else _TEXT, message.plain)


def _gap(missing: Missing) -> GapFrame:
    if missing.channel is None:
        return GapFrame(reason=missing.reason, missing=missing.count)
    return GapFrame(
        reason=missing.reason,
        channel=missing.channel,
        first=missing.first,
        last=missing.last,
        missing=missing.count,
    )
