"""What a venue says besides data: answers, acknowledgements, refusals, beats."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, cast

import msgspec

from heartline.testing.rfc6455 import Frame, Opcode
from heartline.venue.channels import Ack, Unit
from heartline.venue.classify import Contract
from heartline.venue.control import Spoken
from heartline.venue.field import MEMBERS, Steps, lead, parse_field
from heartline.venue.match import Alternative, Literal, Matcher, Prefix
from heartline.venue.naming import Channel
from heartline.venue.profile import Bootstrap

from .draft import FILLER, Draft, complete, lay
from .hearing import Asked
from .shapes import put_key
from .times import stamp

Counted: TypeAlias = Callable[[Draft], None]
"""Puts the numbers into a message that count every message of its link."""

REFUSAL_CODE: Final = 400
REFUSAL: Final = "refused by the simulator"
TOLD: Final[Mapping[str, float | str]] = {
    "ping_interval_s": 18.0,
    "ping_timeout_s": 10.0,
    "connects_remaining": 39.0,
    "token": "simulated",
}
"""What a bootstrap tells where the user says nothing: KuCoin's usual answer."""

_EVERY: Final = {"s": 1.0, "ms": 1000.0}


class Speech:
    """Writes for one endpoint, as its envelope wants."""

    def __init__(self, contract: Contract, *, variables: Mapping[str, object]) -> None:
        self._contract = contract
        self._control = contract.control
        self._variables = variables
        self._payload = contract.endpoint.decode.payload
        self._packed = _packer(contract)
        stamps = contract.endpoint.timestamps
        self._clocks: list[tuple[Steps, Unit]] = [
            (parse_field(each.field), each.unit)
            for each in (stamps.stamps if stamps else ())
            if each.of == "reply"
        ]

    def framed(self, said: object, *, is_data: bool) -> Frame:
        """A message as a frame: text as it is, all else as JSON, gzip where usual, and
        data as protobuf where that is usual."""
        if is_data and self._packed is not None:
            return Frame(Opcode.BINARY, self._packed(cast("dict[str, object]", said)))
        text = said if isinstance(said, str) else None
        data = msgspec.json.encode(said) if text is None else text.encode()
        if self._payload == "gzip":
            return Frame(Opcode.BINARY, gzip.compress(data, 1, mtime=0))
        if self._payload == "utf8":
            return Frame(Opcode.BINARY, data)
        return Frame(Opcode.TEXT, data)

    def say(
        self,
        matcher: Matcher,
        *,
        counted: Counted,
        sent: dict[str, object] | None = None,
        captures: dict[str, object] | None = None,
        extra: Iterable[tuple[Steps, object]] = (),
    ) -> object | None:
        """A message that is what the profile describes; None if it cannot be made."""
        for alternative in matcher.alternatives:
            if alternative.text is not None:
                return _text(alternative)
            draft = Draft()
            if not lay(draft, alternative, sent=sent, captures=captures):
                continue
            counted(draft)
            for steps, value in extra:
                draft.put(steps, value)
            complete(draft, alternative)
            return draft.document()
        return None

    def answer(
        self,
        kind: str,
        index: int,
        sent: dict[str, object],
        *,
        unix: float,
        counted: Counted,
    ) -> object | None:
        """The answer to a message of the client's; None where there is none."""
        for each in self._control.expected:
            if (each.kind, each.index) == (kind, index):
                clock = [(s, stamp(unix, unit)) for s, unit in self._clocks]
                return self.say(each.matcher, sent=sent, counted=counted, extra=clock)
        return None

    def welcome(self, bootstrap: Bootstrap, *, counted: Counted) -> object | None:
        if self._control.welcome is None:
            return None
        extra = self.extracts(bootstrap) if bootstrap.http is None else []
        return self.say(self._control.welcome, counted=counted, extra=extra)

    def extracts(self, bootstrap: Bootstrap) -> list[tuple[Steps, object]]:
        """Where an answer tells its variables, and what it tells."""
        told = dict[str, object](TOLD) | dict(self._variables)
        extracts: list[tuple[Steps, object]] = []
        for name, extract in bootstrap.extract.items():
            value = told.get(name, FILLER)
            if isinstance(value, float):
                value *= _EVERY[extract.unit or "s"]
                value = int(value) if value.is_integer() else value
            extracts.append((parse_field(extract.field), value))
        return extracts

    # --- requests -----------------------------------------------------------------

    def acknowledged(
        self,
        asked: Asked,
        taken: Sequence[Channel],
        *,
        live: Sequence[Channel],
        bound: Mapping[str, str | int],
        counted: Counted,
        left_out: Sequence[Channel] = (),
    ) -> list[object]:
        """What says that `taken` of a request was taken; `live` is all there is now.

        `bound`: what the venue calls its channels, by their names. `left_out` were
        asked for and are passed over in silence: a list does not name them, what names
        nothing means them too.
        """
        said: list[object] = []
        left = list(taken)
        acks = [(each, each.of) for each in self._control.acks]
        own = any(isinstance(ack, Ack) and ack.of == asked.of for _, ack in acks)
        for each, ack in acks:
            assert isinstance(ack, Ack)
            # One that repeats a request's id answers any that has none of its own.
            if ack.of != asked.of and (own or each.id is None):
                continue
            listing = not each.keys or any(map(_lists, each.keys))
            everything = ack.lists == "everything"
            if listing:
                listed = live if everything else left
                if not listed and not left_out and not everything:
                    continue
                draft = self._spoken(each, asked, listed, bound)
                if draft is not None:
                    said.append(self._done(draft, counted))
                    return said
                continue
            for channel in tuple(left):
                draft = self._spoken(each, asked, [channel], bound)
                if draft is not None:
                    said.append(self._done(draft, counted))
                    left.remove(channel)
        return said

    def refused(
        self, asked: Asked, channels: Sequence[Channel], *, counted: Counted
    ) -> list[object]:
        """What says that these channels of a request were not taken."""
        if not channels:
            return []
        for each in self._control.refusals:
            groups = [list(channels)]
            if each.keys and not any(map(_lists, each.keys)):
                groups = [[channel] for channel in channels]
            drafts = [self._spoken(each, asked, group, {}) for group in groups]
            made = [draft for draft in drafts if draft is not None]
            if len(made) == len(drafts):
                return [self._done(draft, counted) for draft in made]
        return []

    @property
    def refuses_singly(self) -> bool:
        """Whether a refusal names its channels, so that the rest may be taken."""
        return any(each.keys for each in self._control.refusals)

    @property
    def refuses(self) -> bool:
        return bool(self._control.refusals)

    def _spoken(
        self,
        each: Spoken,
        asked: Asked,
        channels: Sequence[Channel],
        bound: Mapping[str, str | int],
    ) -> tuple[Draft, Alternative] | None:
        alternative = each.matcher.alternatives[0]
        draft = Draft()
        if not lay(draft, alternative):
            return None
        if each.id is not None and asked.id is not None:
            draft.put(each.id, asked.id)
        for element, channel in enumerate(channels):
            if each.keys and not any(
                put_key(draft, key, channel.key, element=element) for key in each.keys
            ):
                return None
        if not channels:
            _empty(draft, each)
        if each.binds is not None:
            named = (bound[c.name] for c in channels if c.name in bound)
            draft.put(each.binds, next(named, asked.bound))
        if each.code is not None:
            draft.put(each.code, REFUSAL_CODE)
        if each.reason is not None:
            draft.put(each.reason, REFUSAL)
        return (draft, alternative) if complete(draft, alternative) else None

    def _done(self, made: tuple[Draft, Alternative], counted: Counted) -> object:
        draft, _ = made
        counted(draft)
        return draft.document()


def _packer(contract: Contract) -> Callable[[Mapping[str, object]], bytes] | None:
    decode = contract.endpoint.decode
    if decode.payload != "protobuf":
        return None
    from heartline.venue.protobuf import Codec  # an extra brings what it needs

    return Codec(decode.message).packed


def _lists(key: object) -> bool:
    return any(lead(steps) for steps in getattr(key, "fields", ()))


def _empty(draft: Draft, each: Spoken) -> None:
    """Nothing is on the list, but the list is there."""
    for key in each.keys:
        for steps in key.fields:
            through = lead(steps)
            if through and not draft.has(through[:-1]):
                nothing: object = {} if through[-1] is MEMBERS else []
                draft.put(through[:-1], nothing)
                return


def _text(alternative: Alternative) -> str:
    match alternative.text:
        case Literal(value):
            return str(value)
        case Prefix(start):
            return start
        case _:
            raise AssertionError(alternative)
