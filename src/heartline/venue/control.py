"""All messages that are not data: what they are, and for whom.

Nothing here is on the way of a message of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, cast

from msgspec import UNSET

from ..errors import UsageError
from .bootstrap import extracted
from .channels import Ack, Refusal, Unit
from .entries import Key, captured
from .field import Steps, find, parse_field, rows
from .match import Captures, Matcher, Sent, compile_match
from .naming import Book, distinct
from .numbering import whole
from .payload import Payload
from .pending import Beat, Kind, Pending, Request
from .profile import Endpoint
from .profile import Notice as NoticeOf
from .reading import Acked, Answer, Beacon, Notice, Probe, Refused, Welcome
from .stamps import unix_seconds
from .template import DEEPEST

LONGEST_REASON: Final = 200
"""Characters of a venue's own words that are passed on."""
MOST_KEYS: Final = 20_000
"""Channels that one acknowledgement may list."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The answer to one kind of message."""

    kind: Kind
    index: int
    matcher: Matcher
    loose: Matcher
    """The same, whatever was sent."""
    asked: bool
    """False for what the venue says by itself when a link opens."""


class Spoken:
    """An acknowledgement or a refusal, compiled."""

    __slots__ = ("binds", "code", "id", "keys", "matcher", "of", "reason")

    def __init__(self, of: Ack | Refusal, field: str) -> None:
        def steps(text: str | None, name: str) -> Steps | None:
            return parse_field(text, field=f"{field}.{name}") if text else None

        self.of = of
        self.matcher = compile_match(of.match, field=f"{field}.match")
        captures = captured(self.matcher)
        self.keys = [Key(text, captures, f"{field}.keys") for text in of.keys]
        self.id = steps(of.id, "id")
        self.binds = steps(of.binds, "binds") if isinstance(of, Ack) else None
        self.code = steps(of.code, "code") if isinstance(of, Refusal) else None
        self.reason = steps(of.reason, "reason") if isinstance(of, Refusal) else None

    def named(self, document: object) -> list[str]:
        """The keys it lists."""
        listed: list[str | None] = []
        for key in self.keys:
            if not key.fields:
                listed.append(key.spell(()))
                continue
            for values in rows(document, key.fields):
                listed.append(key.spell(values))
        return list(distinct(listed))[:MOST_KEYS]


class Control:
    """Recognises what an endpoint says besides data."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Compile; raises UsageError that names what cannot be read."""
        live, told = endpoint.liveness, endpoint.subscribe
        self.expected = tuple(_expected(endpoint))
        self.probes = tuple(
            compile_match(each.match, field=f"liveness.msg_in[{at}].match")
            for at, each in enumerate(live.msg_in)
        )
        self.beacons = tuple(
            (at, compile_match(each.match, field=f"liveness.beacon[{at}].match"))
            for at, each in enumerate(live.beacon)
        )
        self.counters = tuple(
            parse_field(each.counter.field) if each.counter is not None else None
            for each in live.beacon
        )
        self.bootstrap = endpoint.bootstrap
        welcome = endpoint.bootstrap.frame if endpoint.bootstrap else None
        self.welcome = (
            compile_match(welcome, field="bootstrap.frame") if welcome else None
        )
        self._notices: tuple[NoticeOf, ...] = (
            endpoint.lifetime.notices if endpoint.lifetime else ()
        )
        self.notices = tuple(
            compile_match(each.match, field=f"lifetime.notices[{at}].match")
            for at, each in enumerate(self._notices)
        )
        self.acks = tuple(
            Spoken(each, f"subscribe.acks[{at}]")
            for at, each in enumerate(told.acks if told else ())
        )
        self.acks_hold_data = any(each.is_data for each in told.acks) if told else False
        self.refusals = tuple(
            Spoken(each, f"subscribe.refusals[{at}]")
            for at, each in enumerate(told.refusals if told else ())
        )
        stamps = endpoint.timestamps.stamps if endpoint.timestamps else ()
        self._clocks: tuple[tuple[Steps, Unit], ...] = tuple(
            (parse_field(each.field), each.unit)
            for each in stamps
            if each.of == "reply"
        )

    @property
    def before_data(self) -> Iterator[tuple[Matcher, Steps | None]]:
        """All that is looked for before data, and the id that it must answer."""
        yield from ((each.matcher, None) for each in self.expected)
        yield from ((each, None) for each in self.probes)
        if self.welcome is not None:
            yield self.welcome, None
        yield from ((each, None) for each in self.notices)
        yield from ((each.matcher, each.id) for each in (*self.acks, *self.refusals))

    # --- in the order in which they are asked -------------------------------------

    def answer(self, payload: Payload, pending: Pending) -> Answer | None:
        """The answer to something that awaits one."""
        for each in self.expected:
            if not each.asked:
                captures = each.matcher.captures(payload)
                if captures is not None:
                    return self._answer(each, payload, None, captures)
                continue
            for beat in pending.beats(each.kind, each.index):
                captures = each.matcher.captures(payload, beat.values)
                if captures is not None:
                    pending.answered(each.kind, each.index, beat)
                    return self._answer(each, payload, beat, captures)
        return None

    def stray_answer(self, payload: Payload) -> Answer | None:
        """An answer that nothing awaits, as it names nothing that was sent."""
        for each in self.expected:
            if not each.matcher.sends:
                captures = each.matcher.captures(payload)
                if captures is not None:
                    return self._answer(each, payload, None, captures)
        return None

    def late_answer(self, payload: Payload, *, sure: bool) -> Answer | None:
        """One that names what we do not remember; `sure` if it says more than that."""
        for each in self.expected:
            if each.matcher.sends and _says_more(each.matcher) == sure:
                captures = each.loose.captures(payload)
                if captures is not None:
                    return self._answer(each, payload, None, captures)
        return None

    def probe(self, payload: Payload) -> Probe | None:
        for index, matcher in enumerate(self.probes):
            captures = matcher.captures(payload)
            # The answer repeats them.
            if captures is not None and _is_shallow(captures, DEEPEST):
                return Probe(index, captures)
        return None

    def beacon(self, payload: Payload) -> Beacon | None:
        """A sign of life, whatever else it may be."""
        for index, matcher in self.beacons:
            captures = matcher.captures(payload)
            if captures is not None:
                steps = self.counters[index]
                count = None if steps is None else find(payload.document, steps)
                return Beacon(index, whole(count), captures=captures)
        return None

    def hello(self, payload: Payload) -> Welcome | None:
        """The welcome, with the variables that it tells; see `extracted`."""
        if self.welcome is None or self.welcome.captures(payload) is None:
            return None
        if self.bootstrap is None or self.bootstrap.http is not None:
            return Welcome()
        try:
            return Welcome(extracted(self.bootstrap, payload.document))
        except UsageError:
            return Welcome()

    def notice(self, payload: Payload) -> Notice | None:
        for index, matcher in enumerate(self.notices):
            if matcher.captures(payload) is not None:
                said = self._notices[index]
                return Notice(index, said.action, said.lead_s)
        return None

    def acked(
        self, payload: Payload, pending: Pending, book: Book, *, known: bool
    ) -> Acked | None:
        """An acknowledgement; if `known`, not one of a request that is not ours."""
        heard = self._heard(self.acks, payload, pending, known=known)
        if heard is None:
            return None
        each, request = heard
        return self._acked(each, payload.document, request, pending, book)

    def refused(
        self, payload: Payload, pending: Pending, book: Book, *, known: bool
    ) -> Refused | None:
        """A refusal; `known` as in `acked`."""
        heard = self._heard(self.refusals, payload, pending, known=known)
        if heard is None:
            return None
        each, request = heard
        document = payload.document
        named = tuple(book.name(key) for key in each.named(document))
        if request is not None:
            pending.done(request)
            named = named or tuple(channel.name for channel in request.channels)
        return Refused(
            named,
            _words(document, each.code),
            _words(document, each.reason),
            None if request is None else request.number,
        )

    # --- what they say ------------------------------------------------------------

    def _answer(
        self, each: Expected, payload: Payload, beat: Beat | None, captures: Captures
    ) -> Answer:
        clock = (
            unix_seconds(find(payload.document, steps), unit)
            for steps, unit in self._clocks
        )
        return Answer(
            each.kind,
            each.index,
            None if beat is None else beat.number,
            next((unix for unix in clock if unix is not None), None),
            captures,
        )

    def _heard(
        self,
        spoken: Iterable[Spoken],
        payload: Payload,
        pending: Pending,
        *,
        known: bool,
    ) -> tuple[Spoken, Request | None] | None:
        """Which of them it is, and the request that it names; `known` as in `acked`."""
        for each in spoken:
            if each.matcher.captures(payload) is None:
                continue
            if each.id is None:
                return each, None
            request = pending.request(find(payload.document, each.id))
            if request is not None or not known:
                return each, request
        return None

    def _acked(
        self,
        each: Spoken,
        document: object,
        request: Request | None,
        pending: Pending,
        book: Book,
    ) -> Acked:
        ack = each.of
        assert isinstance(ack, Ack)
        of = ack.of if request is None else request.of
        keys = each.named(document)
        if request is None and each.id is None and not keys and each.binds is None:
            request = pending.oldest(of)
        asked = () if request is None else request.channels
        absent: tuple[str, ...] = ()
        if request is not None:
            pending.done(request)
            if not each.keys:
                keys = [channel.key for channel in asked]
            elif ack.lists == "request":
                absent = tuple(c.name for c in asked if c.key not in keys)
        if each.binds is not None:
            keys = _bound(find(document, each.binds), of, keys, asked, book)
        return Acked(
            of,
            tuple(book.name(key) for key in keys),
            absent,
            ack.lists == "everything",
            None if request is None else request.number,
        )


def _expected(endpoint: Endpoint) -> Iterator[Expected]:
    live = endpoint.liveness
    steps = endpoint.on_open.steps if endpoint.on_open else ()
    kinds: tuple[tuple[Kind, Sequence[object]], ...] = (
        ("on_open", steps),
        ("msg_in", live.msg_in),
        ("msg_out", live.msg_out),
    )
    for kind, listed in kinds:
        for index, each in enumerate(listed):
            match = getattr(each, "expect", None)
            if match is not None:
                matcher = compile_match(match, field=f"{kind}[{index}].expect")
                sends = getattr(each, "send", None) is not None
                yield Expected(
                    kind, index, matcher, matcher.loose(), sends or kind == "msg_in"
                )


def _bound(
    value: object,
    of: str,
    keys: list[str],
    asked: Sequence[object],
    book: Book,
) -> list[str]:
    """Note what the venue calls the one channel of this ack from now on."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return keys
    if of == "unsubscribe":
        key = book.bound.get(value)
        return keys or ([key] if key is not None else [])
    if len(keys) == 1:
        book.bind(value, keys[0])
    return keys


def _is_shallow(value: object, levels: int) -> bool:
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    return levels > 0 and all(_is_shallow(each, levels - 1) for each in inner)


def _says_more(matcher: Matcher) -> bool:
    return all(
        any(not isinstance(term.want, Sent) for term in each.terms)
        for each in matcher.alternatives
    )


def _words(document: object, steps: Steps | None) -> str:
    """A code or a reason of the venue's own, shortened."""
    value = UNSET if steps is None else find(document, steps)
    if isinstance(value, str):
        return value[:LONGEST_REASON]
    number = whole(value)
    return "" if number is None else str(number)
