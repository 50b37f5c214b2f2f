"""Which number of the venue's identifies a message, where one does. Pure.

Two relays have two links. A number is the same on both only if the venue counts what
happens in a channel, or to a symbol in it, and promises to: not if it counts what it
sent on a link, not if a jump proves nothing, not if several messages may share it. Nor
is a digest of the bytes an identity: a venue may well say the same thing twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from heartline.venue.channels import Rule
from heartline.venue.classify import Classifier, Contract
from heartline.venue.reading import Update

CHAINED = frozenset({"chain", "range", "step"})


class Place(Struct, frozen=True, gc=False):
    """A message's place in the order of its subject.

    It brings all above `low` up to `last`, its own number. `counted`: each message has
    one number, so a difference is a count of messages. `run` is set where the relay
    counts by itself; else it is the venue's business.
    """

    low: int
    last: int
    whole: bool = False
    counted: bool = False
    run: int | None = None
    symbol: str | None = None


class Places:
    """Reads the places of one upstream's messages."""

    def __init__(self, contract: Contract | None) -> None:
        self._read = None if contract is None else Classifier(contract).read
        sequence = None if contract is None else contract.endpoint.sequence
        rules = sequence.rules if sequence else ()
        self._rules: Mapping[int, Rule] = {
            at: rule for at, rule in enumerate(rules) if identifies(rule)
        }

    def of(self, data: str | bytes) -> Place | None:
        """None where no number says which message it is."""
        if self._read is None or not self._rules:
            return None
        update = self._read(data)
        # Rows that do not continue one another have no one place.
        if not isinstance(update, Update) or update.rest:
            return None
        at = update.source.rule
        rule = None if at is None else self._rules.get(at)
        return None if rule is None else _place(update, rule)


def identifies(rule: Rule) -> bool:
    """Whether its numbers are the same on every link, and mean one message each."""
    if rule.scope not in ("channel", "symbol") or rule.starts_at is not None:
        return False
    return rule.certain and (rule.rule in CHAINED or rule.rule == "snapshot_only")


def _place(update: Update, rule: Rule) -> Place | None:
    last = update.last
    # A chain of texts is numbered, but has no order.
    if not isinstance(last, int):
        return None
    low = _low(update, rule, last)
    if low is None:
        return None
    return Place(
        low=low,
        last=last,
        whole=update.restarts or rule.rule == "snapshot_only",
        counted=rule.rule == "step",
        symbol=_symbol(update),
    )


def _low(update: Update, rule: Rule, last: int) -> int | None:
    """The number that a message follows: `last` itself for a snapshot, which follows
    nothing and stands in for others; -1 where each message stands for itself."""
    prev, first = update.prev, update.first
    if rule.rule == "snapshot_only":
        return -1
    if rule.rule == "chain":
        if isinstance(prev, int):
            return prev
        return last if update.restarts else None
    if rule.rule == "range" and update.restarts and first == last:
        return last
    return first - 1 if isinstance(first, int) else None


def _symbol(update: Update) -> str | None:
    """What its numbers are counted under beside its channel."""
    track = update.track
    if not isinstance(track, tuple):
        return None
    return ",".join(str(part) for part in track[1:])
