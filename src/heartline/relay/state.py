"""What a late reader starts from: the last snapshot of a channel, and what followed.

Which messages are whole the venue's profile says (`snapshot_when`, `snapshot_only`);
channels of which it says nothing keep nothing. Pure.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from heartline.errors import UsageError
from heartline.venue.channels import Rule
from heartline.venue.classify import Classifier, Contract
from heartline.venue.decode import Undecodable
from heartline.venue.field import find
from heartline.venue.payload import NOT_JSON
from heartline.venue.reading import Acked, Beacon, Update

MOST_MESSAGES = 1000
MOST_BYTES = 512 << 10
"""Kept for one channel. It fits what may wait for a slow reader, and as one message
what other libraries take by default (1 MiB)."""


class _Kind(Enum):
    NONE = "the profile marks no snapshots"
    WHOLE = "every message is whole"
    CHANGES = "snapshots, and changes to them"


class _Kept:
    """One channel's messages since its snapshot; None while there is nothing whole."""

    __slots__ = ("fetched", "kind", "messages", "size_bytes")

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.fetched = False
        """Whether the first of them did not come on the stream."""
        self.messages: list[str | bytes] | None = None
        self.size_bytes = 0


class Reader:
    """What messages say of channels that are known already.

    The stream has heard which channels were wanted, and what the venue calls them from
    its acknowledgements on. Here both are learned from the channel of each message.
    """

    def __init__(self, contract: Contract) -> None:
        self._classifier = Classifier(contract)
        self._contract = contract
        self._bound = [e.bound for e in contract.entries.all if e.bound is not None]
        self._known: dict[str, str] = {}
        """By name, the keys of channels that were seen."""

    def update(self, channel: str, data: str | bytes) -> Update | None:
        """The data of `channel` in a message of it; None if there is none."""
        if channel not in self._known and not self._want(channel):
            return None
        update = self._read(data)
        if update is None or update.channel != channel:
            update = self._read(data) if self._bind(channel, data) else update
        return update if update is not None and update.channel == channel else None

    def _read(self, data: str | bytes) -> Update | None:
        reading = self._classifier.read(data)
        held = reading.update if isinstance(reading, Acked | Beacon) else reading
        return held if isinstance(held, Update) else None

    def _want(self, channel: str) -> bool:
        try:
            self._known[channel] = self._contract.names.read(channel).key
            self._classifier.want([channel])
        except UsageError:
            # What nobody asked for, or came outside any channel.
            return False
        return True

    def _bind(self, channel: str, data: str | bytes) -> bool:
        """Learn from this message what the venue calls the channel, if it does."""
        if not self._bound:
            return False
        try:
            document = msgspec.json.decode(self._contract.envelope(data))
        except (Undecodable, *NOT_JSON):
            return False
        for steps in self._bound:
            value = find(document, steps)
            if isinstance(value, str | int):
                self._classifier.book.bind(value, self._known[channel])
        # What was read by the name it had before is read anew.
        self._classifier.want([channel])
        return True


class States:
    """The states of all channels of one upstream; without a contract there are none."""

    def __init__(self, contract: Contract | None) -> None:
        self._reader = None if contract is None else Reader(contract)
        sequence = None if contract is None else contract.endpoint.sequence
        self._rules: tuple[Rule, ...] = sequence.rules if sequence else ()
        self._kept: dict[str, _Kept] = {}

    def take(self, channel: str, data: str | bytes, *, is_whole: bool = False) -> None:
        """Keep one message of a channel, if it is or follows something whole.

        `is_whole`: a snapshot that was fetched; the profile's words are not for it.
        """
        kept = self._kept.get(channel)
        if self._reader is None:
            return
        if is_whole:
            kept = self._kept[channel] = _Kept(_Kind.CHANGES)
            kept.messages, kept.size_bytes, kept.fetched = [data], len(data), True
            return
        if kept is not None and kept.kind is _Kind.NONE:
            return
        if kept is not None and kept.kind is _Kind.WHOLE:
            kept.messages = [data]
            return
        reading = self._reader.update(channel, data)
        if reading is None:
            return
        if kept is None:
            kept = self._kept[channel] = _Kept(self._kind(reading))
        if kept.kind is _Kind.WHOLE or reading.restarts:
            kept.messages, kept.size_bytes, kept.fetched = [data], len(data), False
        elif kept.messages is not None:
            kept.messages.append(data)
            kept.size_bytes += len(data)
            if len(kept.messages) > MOST_MESSAGES or kept.size_bytes > MOST_BYTES:
                kept.messages = None

    def breach(self, channel: str) -> None:
        """Something is missing: changes that follow no longer fit the snapshot."""
        kept = self._kept.get(channel)
        if kept is not None and kept.kind is _Kind.CHANGES:
            kept.messages = None

    def of(self, channel: str) -> tuple[str | bytes, ...] | None:
        """The snapshot and what followed; empty if it is not whole, None if there is
        no such thing in this channel, or nothing of it came yet."""
        kept = self._kept.get(channel)
        if kept is None or kept.kind is _Kind.NONE:
            return None
        return tuple(kept.messages or ())

    def is_fetched(self, channel: str) -> bool:
        """Whether its state begins with a snapshot that did not come on the stream."""
        kept = self._kept.get(channel)
        return kept is not None and bool(kept.messages) and kept.fetched

    def _kind(self, reading: Update) -> _Kind:
        place = reading.source.rule
        rule = None if place is None else self._rules[place]
        if rule is not None and rule.rule == "snapshot_only":
            return _Kind.WHOLE
        marked = rule is not None and rule.snapshot_when is not None
        return _Kind.CHANGES if marked else _Kind.NONE
