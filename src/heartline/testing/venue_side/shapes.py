"""How one channel's messages look: where its name, numbers and times stand.

A shape is found from what the profile says about reading: the first kind of data whose
conditions the channel's key and a snapshot's marks can fulfil together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from heartline.venue.channels import Unit
from heartline.venue.classify import Contract
from heartline.venue.entries import Entry, Key
from heartline.venue.field import Steps, find, parse_field
from heartline.venue.match import Alternative, Anything, Literal, Matcher
from heartline.venue.naming import Channel
from heartline.venue.numbering import RuleFields, StampFields
from heartline.venue.pattern import Parts

from .draft import Draft, complete, lay
from .sums import Sums, sums_of
from .templates import taken_apart
from .times import stamp

SYMBOLS: Final = (
    *("symbol", "instrument", "instId", "pair", "product", "market", "asset"),
    *("coin", "contract", "code", "stream"),
)
"""Parts of a name that are the symbol, as profiles call them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The numbers of one message."""

    prev: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message is to say, apart from whose it is."""

    row: Row
    unix: float
    book: dict[str, object]
    links: dict[int, int]
    """The numbers that count over the whole link, by the place of their rule."""
    bound: str | int | None = None
    """What the acknowledgement called the channel."""


class Shape:
    """One kind of message of one channel."""

    def __init__(
        self,
        contract: Contract,
        channel: Channel,
        *,
        snapshot: bool = False,
        beacon: int | None = None,
    ) -> None:
        """Raises LookupError if the profile describes no such message."""
        self.channel, self.snapshot, self.beacon = channel, snapshot, beacon
        numbering = contract.entries.numbering
        for entry, alternative, key in _ways(contract, channel):
            own = numbering.own(channel.key, entry.body)
            if snapshot and (own is None or not _has_marks(own)):
                continue
            draft = _begun(entry, alternative, key, channel)
            signs = _signs(contract, beacon)
            if draft is None or not _signed(draft, entry, signs):
                continue
            sums = sums_of(own)
            if not _marked(draft, own, sums, snapshot=snapshot):
                continue
            self.own, self.sums = own, sums
            self.entry, self._alternative, self._signs = entry, alternative, signs
            self.links = numbering.counts(channel.key, entry.body)
            self._stamps = numbering.stamps(entry.body, key=channel.key)
            self._draft = draft
            self._name_symbol()
            self._place = self._content_place(key)
            return
        wanted = "a snapshot" if snapshot else "data"
        raise LookupError(f"{channel.name}: the profile describes no {wanted} of it")

    @property
    def time_unit(self) -> Unit | None:
        """The unit, where the number is the time itself."""
        own = self.own
        if own is None or not own.numbered:
            return None
        units = zip(self._stamps.fields, self._stamps.units, strict=True)
        return next((unit for steps, unit in units if steps == own.fields[2]), None)

    def document(self, content: Content) -> object:
        """The message as JSON has it."""
        draft = self._draft.copy()
        if self.entry.bound is not None:
            draft.put(self.entry.bound, content.bound)
        for rule in self.links:
            steps = rule.fields[2]
            if steps is not None:
                draft.put(steps, content.links[rule.index])
        self._number(draft, content.row)
        if self.sums is not None:
            self.sums.put(draft, content.book, whole=self.snapshot)
        else:
            for name, value in content.book.items():
                draft.put((*self._place, name), value)
        put_stamps(draft, self._stamps, content.unix)
        complete(draft, self._alternative)
        if self._signs is not None:
            complete(draft, self._signs)
        return draft.document()

    def _number(self, draft: Draft, row: Row) -> None:
        own = self.own
        if own is None or not own.numbered:
            return
        prev, first, last = own.fields
        if last is not None:
            draft.put(last, row.last)
        if first is not None:
            draft.put(first, row.last if self.snapshot else row.first)
        if prev is not None and not self.snapshot:
            draft.put(prev, row.prev)

    def _name_symbol(self) -> None:
        own = self.own
        if own is None or own.rule.symbol is None:
            return
        steps = (*own.body, *parse_field(own.rule.symbol))
        if not self._draft.has(steps):
            self._draft.put(steps, symbol_of(self.channel, own))

    def _content_place(self, key: Key | None) -> Steps:
        """Beside the number, the symbol or what names the channel."""
        own, body = self.own, self.entry.body
        fields = [own.fields[2], own.who] if own is not None else []
        fields += [*(key.fields if key is not None else ()), body]
        for steps in fields:
            if steps is not None and len(steps) > 1 and isinstance(steps[-1], str):
                return steps[:-1]
        return (1,) if self._draft.is_list or self.entry.bound is not None else ()


def put_stamps(draft: Draft, stamps: StampFields, unix: float) -> None:
    """Stamp a message wherever the profile says and nothing else stands."""
    for steps, unit in zip(stamps.fields, stamps.units, strict=True):
        if not draft.has(steps):
            draft.put(steps, stamp(unix, unit))


def symbol_of(channel: Channel, own: RuleFields) -> str:
    """What of a channel's key is its symbol; the key itself where it has no parts."""
    fitting = (pattern.parts(channel.key) for pattern in own.patterns)
    found = next((parts for parts in fitting if parts is not None), Parts())
    parts = {name: value for name, value in found.items() if name != "_"}
    named = [parts[name] for name in SYMBOLS if name in parts]
    return str(next(iter([*named, *parts.values()]), channel.key))


def put_key(draft: Draft, key: Key, name: str, *, element: int = 0) -> bool:
    """Name a channel by its key; False if this template cannot spell it."""
    values = taken_apart(_source(key), name)
    return values is not None and all(
        draft.put(steps, values[variable], element=element)
        for variable, steps in zip(key.names, key.fields, strict=True)
    )


def _source(key: Key) -> str:
    """The template that was compiled, written again."""
    written = ""
    for part in key.text.parts:
        if isinstance(part, str):
            written += part
        else:
            case = f"|{part.case}" if part.case else ""
            written += f"${{{part.name}{case}}}"
    return written


def _ways(
    contract: Contract, channel: Channel
) -> Iterator[tuple[Entry, Alternative, Key | None]]:
    """The ways to send data of a channel, in the profile's order."""
    for entry in contract.entries.all:
        keys = [key for key in (entry.key, *entry.rather) if key is not None]
        for alternative in entry.matcher.alternatives:
            yield from ((entry, alternative, key) for key in keys)
            if entry.bound is not None:
                yield entry, alternative, None


def _begun(
    entry: Entry, alternative: Alternative, key: Key | None, channel: Channel
) -> Draft | None:
    draft = Draft()
    if not lay(draft, alternative):
        return None
    if key is not None and not put_key(draft, key, channel.key):
        return None
    return draft


def _marked(
    draft: Draft, own: RuleFields | None, sums: Sums | None, *, snapshot: bool
) -> bool:
    """Mark a snapshot as one, and anything else as none; False if that cannot be."""
    if own is None or not _has_marks(own):
        return True
    for steps, want in zip(own.snapshot.fields, own.snapshot.wants, strict=True):
        literal = want.value if isinstance(want, Literal) else None
        if sums is not None and sums.writes(steps):
            continue  # the book itself is the mark
        if snapshot:
            if isinstance(want, Anything) and not draft.put(steps, []):
                return False
            if isinstance(want, Literal) and not draft.put(steps, literal):
                return False
        elif isinstance(want, Literal):
            draft.put(steps, not literal if isinstance(literal, bool) else "update")
    return snapshot or not _is_snapshot(draft, own)


def _has_marks(own: RuleFields) -> bool:
    return bool(own.snapshot.wants)


def _signed(draft: Draft, entry: Entry, signs: Alternative | None) -> bool:
    """Make data a sign of life; False if the sign does not name this channel."""
    if signs is None:
        return True
    named = [
        term
        for term in signs.terms
        if draft.has(term.steps) or term.steps == entry.bound
    ]
    return bool(named) and lay(draft, signs) and complete(draft.copy(), signs)


def _is_snapshot(draft: Draft, own: RuleFields) -> bool:
    document = draft.document()
    return own.snapshot.holds([find(document, s) for s in own.snapshot.fields])


def _signs(contract: Contract, beacon: int | None) -> Alternative | None:
    if beacon is None:
        return None
    matcher: Matcher = dict(contract.control.beacons)[beacon]
    return matcher.alternatives[0]
