"""`heartline.v1` on a stream: channels by name, each resumed from its place.

`Resuming` stands where a venue's contract does: it says how channels are asked for, and
keeps their places across links. `Resumed` is what is said on one of them. Offsets make
an outage exact: what it cost is told by number, or was nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import structs

from heartline.core.channel_events import GapClosed, Subscribe, Unsubscribe
from heartline.core.demands import demand_text
from heartline.core.events import GapFound
from heartline.core.feed import Feed, FeedOutput, Line
from heartline.core.feed_terms import FeedTerms
from heartline.core.items import Cause, Gap, Message
from heartline.core.rhythm import Rhythm
from heartline.core.sequence import Missing
from heartline.core.subscribing import Standing, Subscribing
from heartline.errors import UsageError, WireError
from heartline.venue.writer import Outgoing
from heartline.wire.address import read_stream_url, redirected
from heartline.wire.resume import (
    BEAT,
    LONGEST_NAME,
    SUBPROTOCOL,
    BeatFrame,
    RefusedFrame,
    SubscribedFrame,
    decode_server,
    encode,
)
from heartline.wire.resume import Unsubscribe as UnsubscribeFrame

from .answers import Answers
from .resume import Notice, Numbered, Refused, Resumption

OFFER = "Sec-WebSocket-Protocol"
BEATS = (BEAT.decode(), BEAT)
SERVICE_RESTART = 1012
"""The close code of a server that goes (IANA's registry of RFC 6455)."""
REFUSED_AGAIN = 0.25
"""Seconds before what was refused is asked for once more, then twice that."""
MOST_BEAT = 64
"""Characters of a beat, however it is written."""


class Resuming:
    """The channels of one stream whose server speaks the sub-protocol."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = _checked(channels)
        self.places = Resumption(self.channels)
        self.go: str | None = None
        """Where the server has sent us, for the next dial."""

    def feed_terms(self) -> FeedTerms:
        return FeedTerms(subscribing=Subscribing(retry_after=REFUSED_AGAIN))

    def offering(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The user's headers, and the offer of the sub-protocol beside his own."""
        offers, rest = [SUBPROTOCOL], dict[str, str]()
        for name, value in headers.items():
            if name.lower() == OFFER.lower():
                offers.insert(0, value)
            else:
                rest[name] = value
        return {**rest, OFFER: ", ".join(offers)}

    def moved(self, url: str, *, carries_headers: bool) -> str:
        """Where to dial this once: where the server has sent us, if it may.

        Raises `WireError` REFUSED as for a redirect; then the next dial is to `url`.
        """
        go, self.go = self.go, None
        if go is None:
            return url
        origin = read_stream_url(url)
        return redirected(
            origin, go, status=SERVICE_RESTART, carries_headers=carries_headers
        ).url

    def check(self, agreed: Sequence[str]) -> None:
        """Whether the server that answered the upgrade speaks it.

        Raises `UsageError` if none ever did, and `WireError` PROTOCOL if one of the
        links before was better: it may be about to be replaced.
        """
        if SUBPROTOCOL in agreed:
            return
        if self.places.terms is not None:
            reason = f"the server does not speak {SUBPROTOCOL} any more"
            raise WireError(Cause.PROTOCOL, reason)
        wanted = f"a venue, or a server that speaks {SUBPROTOCOL}"
        got = agreed[0] if agreed else "a server that does not"
        raise UsageError("channels", wanted=wanted, got=got)


class Speaker(Protocol):
    """Who holds the channels of the stream."""

    def obey(
        self, outputs: Iterable[FeedOutput], items: list[Message | Gap] | None = None
    ) -> None: ...
    def post(self, epoch: int, said: Outgoing, *, first: bool = False) -> None: ...
    def clean(self, text: str) -> str: ...


class Resumed:
    """What is said on one link, `epoch`."""

    def __init__(
        self, resuming: Resuming, feed: Feed, owner: Speaker, *, epoch: int
    ) -> None:
        self.epoch = epoch
        self.heard_at = 0.0
        self.rhythms: list[tuple[int, Rhythm]] = []
        self.answers = Answers()
        self.asked = 0
        self.feed = feed
        self._resuming = resuming
        self._places = resuming.places
        self._owner = owner
        self._began = self._places.begin()
        self._lines: dict[str, Line] = {}
        self._gapped: set[str] = set()
        """Channels of which something is known to be missing since the link began."""
        self._now = 0.0
        self._requests = 0

    @property
    def settled(self) -> bool:
        """Whether every channel was answered, and what was missed has come."""
        return self.feed.settled and not self._places.behind

    def lose(self) -> None:
        """The link ended before it was OPEN: the consumer had nothing of it."""
        self._places.back_to(self._began)

    # --- what is said -------------------------------------------------------------

    async def greet(self, *, now: float) -> int:
        """Nothing: the server speaks first, and is not waited for."""
        self._now = now
        return 0

    def request(self, wanted: Subscribe | Unsubscribe) -> None:
        """Ask for channels from where we were, or for no more of them."""
        leaves = isinstance(wanted, Unsubscribe)
        for channel in wanted.channels:
            if leaves:
                text = encode(UnsubscribeFrame(channel=channel)).decode()
            else:
                self._places.want(channel)
                text = self._places.request(channel)
            self._requests += 1
            self._owner.post(self.epoch, Outgoing(text=text, number=self._requests))
        self.asked += len(wanted.channels)
        if leaves:
            # It is not answered: it holds as soon as it is read.
            out = self.feed.acked(
                None, wanted.channels, of="unsubscribe", now=self._now
            )
            self._owner.obey(out)

    def beat(self, index: int) -> None:
        """The server has no such wish."""

    def want(self, names: list[str]) -> None:
        for name in _checked(names):
            self._places.want(name)

    def unwant(self, names: list[str]) -> None:
        for name in names:
            self._places.forget(name)
            self._lines.pop(name, None)

    # --- what comes ---------------------------------------------------------------

    def read(
        self, data: list[str | bytes], *, age: float, now: float
    ) -> list[Message | Gap]:
        """The messages of one read for the consumer, gaps at their places."""
        items: list[Message | Gap] = []
        self._now = now
        for each in data:
            message = Message(each, now, None, self.epoch, age)
            try:
                self._heed(message, items)
            except WireError as error:
                self._owner.obey(self.feed.take_malformed(error.reason, now=now), items)
                items.append(message)
        return items

    def _heed(self, message: Message, items: list[Message | Gap]) -> None:
        now, frame = message.received_at, decode_server(message.data)
        for news in self._places.heed(frame, message):
            match news:
                case Numbered(channel=str(channel)):
                    told = self.feed.take(
                        self._line(channel), None, None, None, None, False, now
                    )
                    self._owner.obey(told or (), items)
                    items.append(news)
                case Gap():
                    self._owner.obey([self._entered(news, now)], items)
                case Notice():
                    self._resuming.go = news.go
                case Refused():
                    pass
                case _:
                    items.append(news)
        if isinstance(frame, SubscribedFrame):
            out = self.feed.acked(None, (frame.channel,), of="subscribe", now=now)
            self._owner.obey(out, items)
        elif isinstance(frame, RefusedFrame) and frame.channel is not None:
            reason = self._owner.clean(frame.reason) or "refused"
            out = self.feed.refused(None, (frame.channel,), reason=reason, now=now)
            self._owner.obey(out, items)
        elif self.answers.awaits("settled"):
            self._owner.obey(())

    def _line(self, channel: str) -> Line:
        line = self._lines.get(channel)
        if line is None:
            line = self._lines[channel] = self.feed.line(channel, None, now=self._now)
        return line

    def _entered(self, gap: Gap, now: float) -> GapFound:
        """Enter a gap that the server told of, or its numbers; told as it is."""
        channel = gap.channel
        if channel is None:
            self.feed.ledger.overflow(gap.missing or 0, gaps=1)
            return GapFound(at=now, epoch=self.epoch, gap=gap)
        from_at = self._line(channel).at
        first = None if gap.last is None else gap.first
        odd = Missing(None, first, gap.last, gap.missing)
        self.feed.ledger.note(channel, odd, from_at=from_at, now=now, epoch=self.epoch)
        self._gapped.add(channel)
        return GapFound(at=now, epoch=self.epoch, gap=gap)

    # --- outages ------------------------------------------------------------------

    def made_good(self, gap: Gap, *, now: float) -> tuple[list[GapClosed], list[Gap]]:
        """What an outage cost, which is known by offsets: closed for each channel that
        resumed without a gap of its own, left for those that did not resume."""
        closed: list[GapClosed] = []
        left: list[Gap] = []
        for name in self.feed.subscriptions.wanted:
            own = structs.replace(gap, channel=name)
            match self.feed.standing(name):
                case Standing.CONFIRMED | Standing.LIVE if name not in self._gapped:
                    self.feed.ledger.account(name).whole_at = now
                    closed.append(
                        GapClosed(at=now, epoch=self.epoch, gap=own, by="replay")
                    )
                case Standing.FAILED:
                    left.append(own)
                case _:
                    pass  # told by its numbers, now or once it is answered
        return closed, left


def is_beat(data: str | bytes) -> bool:
    """Whether a message is a sign of life of the server's, and no more."""
    if data in BEATS:
        return True
    if len(data) > MOST_BEAT:
        return False
    try:
        return isinstance(decode_server(data), BeatFrame)
    except WireError:
        return False


def _checked(channels: Sequence[str]) -> list[str]:
    if isinstance(channels, str):
        raise UsageError("channels", wanted="a sequence of names", got="one text")
    for name in channels:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:  # pyright: ignore[reportUnnecessaryIsInstance]
            wanted = f"names of 1 to {LONGEST_NAME} characters"
            raise UsageError("channels", wanted=wanted, got=name)
        demand_text("channels", name)
    return list(dict.fromkeys(channels))
