"""What a recording holds, and what it lacks: each channel's messages, gaps and delays.

    contract = Contract(load("deribit").endpoint())
    report = audit_capture(read_capture("monday.jsonl.gz"), contract)
    report.whole, report.totals.missing, report.channels[0].gaps

It judges by the profile and the rules by which a live stream judges. Channels are those
that the recording itself asks for; what it did not ask for is told by its key. Pings,
pongs and closes of RFC 6455 are not in a recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from heartline.core.proving import Proof
from heartline.core.rules import tracker_of
from heartline.core.sequence import Rule as Follows
from heartline.core.tracker import Tracker
from heartline.venue.channels import Rule, Stamp
from heartline.venue.classify import Classifier, Contract
from heartline.venue.levels import Books
from heartline.venue.numbering_terms import numbering_of
from heartline.venue.pending import Beat, Kind, Pending, Request
from heartline.venue.reading import (
    Acked,
    Answer,
    Beacon,
    Malformed,
    Reading,
    Unknown,
    Update,
)

from .audit_ages import Ages, Clocks, VenueClock
from .audit_asking import Asking
from .audit_channel import ChannelAudit, ChannelBook, NumberBook, Totals
from .capture import Capture, CapturedFrame
from .venue_side.hearing import Asked

NO_CHANNEL = "(no channel)"
"""Data that does not say whose it is."""
MOST_PLACES = 5
"""Frames that are named where they could not be read."""

_NO_NUMBERS = (Follows.NONE, Follows.SNAPSHOT_ONLY)
_KINDS: dict[str, Kind] = {"ping": "msg_out", "step": "on_open", "reply": "msg_in"}


class Outage(Struct, frozen=True, kw_only=True):
    """From the last frame of one connection to the first of the next."""

    from_at: float
    until_at: float


class Dropped(Struct, frozen=True, kw_only=True):
    """Messages that were not recorded, as the recording says itself."""

    from_at: float
    until_at: float
    channel: str | None
    missing: int | None


class Odd(Struct, frozen=True, kw_only=True):
    """Messages that could not be read as the profile has it; `frames` are the places
    of the first few in the recording, from 1."""

    count: int = 0
    frames: tuple[int, ...] = ()
    reasons: dict[str, int] = {}


class Audit(Struct, frozen=True, kw_only=True):
    """A whole recording. Every inbound frame is counted once: it is data, control (by
    kind), unknown or malformed; an acknowledgement or beacon that holds data is counted
    as control, and again by its channel.

    `totals` are those of the channels. What counts over the whole connection stands
    apart, in `link`. `silent` were asked for and said nothing at all. `dropped` is what
    whoever recorded it knows to be missing.
    """

    endpoint: str
    seconds: float
    connections: int
    inbound: int
    outbound: int
    data: int
    control: dict[str, int]
    unknown: Odd
    malformed: Odd
    totals: Totals
    link: tuple[ChannelAudit, ...]
    channels: tuple[ChannelAudit, ...]
    silent: tuple[str, ...]
    outages: tuple[Outage, ...]
    dropped: tuple[Dropped, ...]
    clocks: Clocks

    @property
    def whole(self) -> bool:
        """Whether nothing is known to be missing."""
        numbered = (self.totals, *(each.totals for each in self.link))
        told = self.outages or self.dropped
        return not told and all(totals.whole for totals in numbered)


def audit_capture(capture: Capture, contract: Contract) -> Audit:
    """Read a recording whole; nothing in it makes this raise."""
    auditor = _Auditor(contract)
    for place, frame in enumerate(capture.frames, 1):
        auditor.take(frame, place)
    return auditor.summary(capture)


class _Oddities:
    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.frames: list[int] = []

    def add(self, place: int, reason: str = "") -> None:
        self.reasons[reason] += 1
        if len(self.frames) < MOST_PLACES:
            self.frames.append(place)

    def summary(self) -> Odd:
        return Odd(
            count=self.reasons.total(),
            frames=tuple(self.frames),
            reasons={reason: n for reason, n in self.reasons.items() if reason},
        )


class _Auditor:
    """Reads frame after frame; a new dial begins a new link."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        endpoint = contract.endpoint
        sequence, stamps = endpoint.sequence, endpoint.timestamps
        self._rules: tuple[Rule, ...] = sequence.rules if sequence else ()
        self._stamps: tuple[Stamp, ...] = stamps.stamps if stamps else ()
        self._trackers = [_tracker(rule) for rule in self._rules]
        self._books = Books(contract)
        self._asking = Asking(contract)
        self._clock = VenueClock()
        self._channels: dict[str, ChannelBook] = {}
        self._links: dict[int, ChannelBook] = {}
        self._wanted: dict[str, None] = {}
        """In the order in which they were asked for."""
        self._outages: list[Outage] = []
        self._kinds: Counter[str] = Counter()
        self._unknown, self._malformed = _Oddities(), _Oddities()
        self._epoch = 0
        """Each turn of a link; `_links_met` are those that had one."""
        self._connections = 0
        self._links_met = {0}
        self._link = 0
        self._number = 0
        self._heard_at: float | None = None
        self._lost_at: float | None = None
        self._begin()

    def _begin(self) -> None:
        self._classifier = Classifier(self.contract, pending=Pending())
        self._sent_at: dict[int, float] = {}
        self._ids: set[object] = set()
        for tracker in self._trackers:
            if tracker is not None:
                tracker.begin()
        for book in self._channels.values():
            if book.proof is not None:
                book.proof.forget()

    def take(self, frame: CapturedFrame, place: int) -> None:
        match frame.direction:
            case "open":
                self._open()
            case "out":
                self._out(frame)
            case "in":
                self._in(frame, place)

    def summary(self, capture: Capture) -> Audit:
        self._end_silences()
        channels = tuple(book.summary() for book in self._channels.values())
        totals = Totals()
        for channel in channels:
            totals = totals.plus(channel.totals)
        inbound = len(capture.inbound)
        control = {k: n for k, n in self._kinds.items() if k != "update"}
        unknown, malformed = self._unknown.summary(), self._malformed.summary()
        return Audit(
            endpoint=self.contract.endpoint.name,
            seconds=capture.duration,
            connections=max(1, self._connections),
            inbound=inbound,
            outbound=sum(frame.direction == "out" for frame in capture.frames),
            data=self._kinds["update"],
            control=dict(sorted(control.items())),
            unknown=unknown,
            malformed=malformed,
            totals=totals,
            link=tuple(book.summary() for book in self._links.values()),
            channels=channels,
            silent=tuple(self._silent()),
            outages=tuple(self._outages),
            dropped=tuple(
                Dropped(
                    from_at=gap.from_at,
                    until_at=gap.until_at,
                    channel=gap.channel,
                    missing=gap.missing,
                )
                for gap in capture.unrecorded
            ),
            clocks=self._clock.summary(),
        )

    # --- links ----------------------------------------------------------------------

    def _open(self) -> None:
        self._epoch += 1
        self._connections += 1
        self._link = 0
        if self._heard_at is not None:
            self._end_silences()
            self._lost_at, self._heard_at = self._heard_at, None
        self._begin()

    def _turn(self, link: int) -> None:
        """Another link brings the next message, and nothing lies between the two."""
        if link not in self._links_met:
            self._links_met.add(link)
            self._connections += self._link != 0
        if self._link:
            self._epoch += 1
            self._begin()
        self._link = link

    def _end_silences(self) -> None:
        if self._heard_at is not None:
            for book in self._channels.values():
                book.pause(now=self._heard_at)

    def _silent(self) -> Iterator[str]:
        # Some venues spell a channel in other letters than they were asked in.
        heard = {name.casefold() for name in self._channels}
        return (name for name in self._wanted if name.casefold() not in heard)

    # --- what was sent --------------------------------------------------------------

    def _out(self, frame: CapturedFrame) -> None:
        """Note what may be answered: answers then tell of what, and how fast."""
        if not isinstance(frame.data, str):
            return
        heard, with_id = self._asking.hear(frame.data)
        pending = self._classifier.pending
        for said in heard.said:
            kind = _KINDS.get(said.kind)
            if kind is not None:
                self._number += 1
                self._sent_at[self._number] = frame.at
                pending.beat(kind, said.index, Beat(self._number, said.values))
        if heard.asked is not None and heard.asked.channels:
            self._asked(heard.asked, frame.at, with_id=with_id)

    def _asked(self, asked: Asked, at: float, *, with_id: bool) -> None:
        self._number += 1
        request = Request(self._number, asked.of, asked.channels)
        self._classifier.pending.asked(request, asked.values if with_id else {})
        names = [channel.name for channel in asked.channels]
        if asked.of == "subscribe":
            self._classifier.want(names)
            self._wanted |= dict.fromkeys(names)
        else:
            for name in names:
                if name in self._channels:
                    self._channels[name].pause(now=at)
        if not with_id or not isinstance(asked.id, int | str):
            return
        # An id that is used again does not tell which request was answered.
        if asked.id not in self._ids:
            self._ids.add(asked.id)
            self._sent_at[self._number] = at

    # --- what came ------------------------------------------------------------------

    def _in(self, frame: CapturedFrame, place: int) -> None:
        now = frame.at
        if frame.link != self._link:
            self._turn(frame.link)
        if self._lost_at is not None:
            self._outages.append(Outage(from_at=self._lost_at, until_at=now))
            self._lost_at = None
        self._heard_at = now
        reading = self._classifier.read(frame.data)
        match reading:
            case Unknown():
                self._unknown.add(place)
            case Malformed():
                self._malformed.add(place, reading.reason)
            case _:
                self._kinds[type(reading).__name__.lower()] += 1
        if isinstance(reading, Update):
            self._data(reading, frame.data, now)
            return
        for row in getattr(reading, "links", ()):
            self._count_link(row, now)
        if isinstance(reading, Acked | Beacon) and reading.update is not None:
            self._data(reading.update, frame.data, now)
        if isinstance(reading, Acked | Answer):
            self._time(reading, now)

    def _time(self, reading: Reading, now: float) -> None:
        number = reading.number if isinstance(reading, Acked | Answer) else None
        sent_at = None if number is None else self._sent_at.pop(number, None)
        if sent_at is None or sent_at > now:
            return
        if isinstance(reading, Answer) and reading.unix is not None:
            self._clock.answered(sent_at=sent_at, received_at=now, unix=reading.unix)
        else:
            self._clock.travelled(now - sent_at, now=now)

    def _data(self, update: Update, data: str | bytes, now: float) -> None:
        for row in update.links:
            self._count_link(row, now)
        told: set[str] = set()
        for row in (update, *update.rest):
            name = row.channel if row.channel is not None else NO_CHANNEL
            book = self._channels.get(name)
            if book is None:
                book = self._channels[name] = self._book(name, row.source.rule)
            if name not in told:
                told.add(name)
                book.message(now=now)
                self._stamped(book, row, now)
            book.numbers(row, epoch=self._epoch, now=now, anew=row.restarts)
        self._prove(update, data, now)

    def _prove(self, update: Update, data: str | bytes, now: float) -> None:
        """Verify the book of the channel, as a live stream does."""
        rule = update.source.rule
        reader = None if rule is None else self._books.readers.get(rule)
        if reader is not None and update.channel is not None:
            changes = reader.read(data)
            book = self._channels[update.channel]
            book.prove(changes, epoch=self._epoch, now=now)

    def _stamped(self, book: ChannelBook, update: Update, now: float) -> None:
        unix, stamp = update.unix, update.source.stamp
        if unix is None or stamp is None:
            return
        if book.ages is None:
            book.ages = Ages(self._stamps[stamp], self._clock)
        book.ages.add(unix, received_at=now)

    def _count_link(self, row: Update, now: float) -> None:
        rule = row.source.rule
        if rule is None:
            return
        book = self._links.get(rule)
        if book is None:
            book = self._links[rule] = self._book(None, rule)
        book.message(now=now)
        # A snapshot of one channel says nothing about numbers over the whole link.
        book.numbers(row, epoch=self._epoch, now=now, anew=False)

    def _book(self, name: str | None, rule: int | None) -> ChannelBook:
        tracker = None if rule is None else self._trackers[rule]
        proof = self._proof(name, rule)
        if rule is None or tracker is None or self._rules[rule].certain:
            sure = NumberBook(name, tracker, proof=proof)
            return ChannelBook(name, sure=sure, unsure=None)
        unsure = NumberBook(name, tracker)
        sure = NumberBook(name, None, proof=proof)
        return ChannelBook(name, sure=sure, unsure=unsure)

    def _proof(self, name: str | None, rule: int | None) -> Proof | None:
        """What shows whether a channel's book is right, where a checksum does."""
        # How deep a book is stands in the request for it.
        if name is None or rule is None or name not in self._wanted:
            return None
        book = self._books.book(name, rule)
        return None if book is None else Proof(name, book)


def _tracker(rule: Rule) -> Tracker | None:
    numbering = numbering_of(rule)
    return None if numbering.rule in _NO_NUMBERS else tracker_of(numbering)
