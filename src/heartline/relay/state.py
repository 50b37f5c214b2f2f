"""What a late reader starts from: the last snapshot of a channel, and what followed.

Which messages are whole the venue's profile says (`snapshot_when`, `snapshot_only`);
channels of which it says nothing keep nothing. Pure.
"""

from __future__ import annotations

from enum import Enum

from heartline.venue.channels import Rule
from heartline.venue.classify import Classifier, Contract
from heartline.venue.reading import Update

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

    __slots__ = ("kind", "messages", "size_bytes")

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.messages: list[str] | None = None
        self.size_bytes = 0


class States:
    """The states of all channels of one upstream; without a contract there are none."""

    def __init__(self, contract: Contract | None) -> None:
        self._read = None if contract is None else Classifier(contract).read
        sequence = None if contract is None else contract.endpoint.sequence
        self._rules: tuple[Rule, ...] = sequence.rules if sequence else ()
        self._kept: dict[str, _Kept] = {}

    def take(self, channel: str, data: str | bytes) -> None:
        """Keep one message of a channel, if it is or follows something whole."""
        kept = self._kept.get(channel)
        if kept is not None and kept.kind is _Kind.NONE:
            return
        if self._read is None or isinstance(data, bytes):
            return
        if kept is not None and kept.kind is _Kind.WHOLE:
            kept.messages = [data]
            return
        reading = self._read(data)
        if not isinstance(reading, Update):
            return
        if kept is None:
            kept = self._kept[channel] = _Kept(self._kind(reading))
        if kept.kind is _Kind.WHOLE or reading.restarts:
            kept.messages, kept.size_bytes = [data], len(data)
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

    def of(self, channel: str) -> tuple[str, ...] | None:
        """The snapshot and what followed; empty if it is not whole, None if there is
        no such thing in this channel, or nothing of it came yet."""
        kept = self._kept.get(channel)
        if kept is None or kept.kind is _Kind.NONE:
            return None
        return tuple(kept.messages or ())

    def _kind(self, reading: Update) -> _Kind:
        place = reading.source.rule
        rule = None if place is None else self._rules[place]
        if rule is not None and rule.rule == "snapshot_only":
            return _Kind.WHOLE
        marked = rule is not None and rule.snapshot_when is not None
        return _Kind.CHANGES if marked else _Kind.NONE
