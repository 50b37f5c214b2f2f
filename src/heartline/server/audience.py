"""Channels: who gets what is published, and the message that is encoded once for all.

Everybody who reads along is written to in one bare loop; whoever does not is kept
apart, so that a publish costs the same as a loop over transports.
"""

from __future__ import annotations

from collections.abc import Callable

from picows import WSMsgType

from heartline.wire.resume import History, Missed, Resume

from .client import Client
from .outgoing import Outgoing, outgoing
from .outlet import Outlet, Send

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY


class Audience:
    """Some clients, split by what has to be written to them."""

    __slots__ = ("_emptied", "_members", "_senders", "_slow", "_speakers")

    def __init__(self, emptied: Callable[[], None] | None = None) -> None:
        """`emptied` is called when the last of them has left."""
        self._emptied = emptied
        self._members: dict[Outlet, Client] = {}
        self._slow: set[Outlet] = set()
        self._senders: tuple[list[Send], list[Send]] | None = None
        self._speakers = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def speakers(self) -> int:
        """How many of them speak the sub-protocol."""
        return self._speakers

    def __contains__(self, client: Client) -> bool:
        return client.outlet in self._members

    def add(self, client: Client) -> None:
        outlet = client.outlet
        if outlet is None or outlet.send is None or outlet in self._members:
            return
        self._members[outlet] = client
        outlet.audiences.append(self)
        self._speakers += outlet.speaks
        self._senders = None
        if outlet.sender is None:
            self._slow.add(outlet)

    def remove(self, client: Client) -> None:
        outlet = client.outlet
        if outlet is not None and outlet in self._members:
            if self in outlet.audiences:
                outlet.audiences.remove(self)
            self.discard(outlet)

    def publish(self, message: Outgoing) -> None:
        """Write `message` to all of them, now or when they can take it."""
        # Whoever slows down at this message has got it.
        slow = tuple(self._slow)
        speakers, others = self._senders or self._sort()
        text = message.text
        for send in speakers:
            send(_TEXT, text)
        if others:
            kind, plain = _BINARY if message.binary else _TEXT, message.plain
            for send in others:
                send(kind, plain)
        for outlet in slow:
            client = self._members.get(outlet)
            if client is not None:
                client.deliver(message)

    # --- what its outlets tell ----------------------------------------------------

    def slowed(self, outlet: Outlet) -> None:
        self._slow.add(outlet)
        self._senders = None

    def quickened(self, outlet: Outlet) -> None:
        self._slow.discard(outlet)
        self._senders = None

    def discard(self, outlet: Outlet) -> None:
        if self._members.pop(outlet, None) is not None:
            self._speakers -= outlet.speaks
        self._slow.discard(outlet)
        self._senders = None
        if not self._members and self._emptied is not None:
            self._emptied()

    def _sort(self) -> tuple[list[Send], list[Send]]:
        speakers: list[Send] = []
        others: list[Send] = []
        for outlet in self._members:
            if outlet.send is not None and outlet not in self._slow:
                (speakers if outlet.speaks else others).append(outlet.send)
        self._senders = speakers, others
        return self._senders


class Channel:
    """A named stream of numbered messages, and who reads it."""

    __slots__ = ("audience", "history", "name")

    def __init__(
        self, name: str, resume: Resume, *, left: Callable[[Channel], None]
    ) -> None:
        """`left` is called when its last reader has left."""
        self.name = name
        self.audience = Audience(lambda: left(self))
        self.history: History[Outgoing] = History(resume)

    @property
    def unused(self) -> bool:
        """Nobody reads it and nothing was ever published: it can be forgotten."""
        return not self.audience and self.history.head == 0

    def publish(self, data: object, *, now: float) -> int:
        """Number, keep and send a message; its offset."""
        message = outgoing(self.name, self.history.head + 1, data, now=now)
        self.history.append(message, len(message.text), now=now)
        self.audience.publish(message)
        return message.offset

    def missed(self, offset: int, *, now: float) -> Missed[Outgoing]:
        return self.history.after(offset, now=now)
