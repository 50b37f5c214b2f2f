"""What types cannot say of channels, their numbers and their names; raises UsageError.

`at` is the key in the file, and the error's field begins with it.
"""

from __future__ import annotations

from typing import Final

from heartline.errors import UsageError

from .channels import (
    Ack,
    Data,
    Form,
    Freshness,
    Recover,
    Refusal,
    Rule,
    Sequence,
    Subscribe,
    Timestamps,
)
from .checksums import check_checksum
from .field import parse_field
from .frame_checks import captured, check_frame, check_variables
from .naming import Names
from .pattern import Pattern
from .template import names_in
from .vocabulary import Frame, Template

EVERYTHING: Final = "*"
"""As a rule's channel: every message, control messages too."""
RESERVED: Final = frozenset({"channel", "item", "bound", "null"})
"""Names that no part of a channel may have."""

_NEEDED: Final = {
    "chain": ("prev", "cur"),
    "range": ("first", "last"),
    "step": ("cur",),
    "monotonic": ("cur",),
    "snapshot_only": (),
    "none": (),
}
_FIELDS: Final = ("prev", "cur", "first", "last", "alt", "symbol", "sid")


def check_subscribe(subscribe: Subscribe, known: frozenset[str], at: str) -> None:
    names = _names(subscribe, at)
    binds = any(ack.binds is not None for ack in subscribe.acks)
    for index, form in enumerate(subscribe.forms):
        _check_form(index, form, subscribe, names, known, binds, at)
    for index, ack in enumerate(subscribe.acks):
        _check_answer(ack, f"{at}.acks[{index}]")
        if ack.lists != "named" and not ack.keys:
            here = f"{at}.acks[{index}].keys"
            raise UsageError(here, wanted=f"some, as lists = {ack.lists}", got=None)
    for index, refusal in enumerate(subscribe.refusals):
        _check_answer(refusal, f"{at}.refusals[{index}]")
    for index, data in enumerate(subscribe.data):
        _check_data(data, binds, f"{at}.data[{index}]")


def _names(subscribe: Subscribe, at: str) -> Names:
    try:
        return Names(subscribe)
    except UsageError as error:
        field = f"{at}{error.field.removeprefix('subscribe')}"
        raise UsageError(field, wanted=error.wanted, got=error.got) from None


def _check_form(
    index: int,
    form: Form,
    subscribe: Subscribe,
    names: Names,
    known: frozenset[str],
    binds: bool,
    at: str,
) -> None:
    here = f"{at}.forms[{index}]"
    pattern = Pattern(form.name, field=f"{here}.name")
    if reserved := RESERVED.union(known) & set(pattern.names):
        wanted = f"a part that is not called {', '.join(sorted(reserved))}"
        raise UsageError(f"{here}.name", wanted=wanted, got=form.name)
    parts = frozenset(pattern.names)
    if form.key is not None:
        check_variables(form.key, parts, f"{here}.key")
    _check_example(index, form, names, f"{here}.example")
    usable = known | {"channel", *_plural("channel")} | parts
    usable |= {several for part in parts for several in _plural(part)}
    item = subscribe.item if form.item is None else form.item
    if item is not None:
        place = f"{at}.item" if form.item is None else f"{here}.item"
        check_variables(item, usable, place)
        usable |= {"item[]"}
    _check_request(form.request, subscribe.request, usable, here, at, "request")
    bound = {"bound", *_plural("bound")} if binds else set[str]()
    if form.unsubscribe is not None or subscribe.unsubscribe is not None:
        own, common = form.unsubscribe, subscribe.unsubscribe
        _check_request(own, common, usable | bound, here, at, "unsubscribe")


def _check_example(index: int, form: Form, names: Names, at: str) -> None:
    try:
        first = names.read(form.example).form
    except UsageError as error:
        raise UsageError(at, wanted=error.wanted, got=form.example) from None
    if first != index:
        wanted = f"a name of this form, not of {names.forms[first].name} above it"
        raise UsageError(at, wanted=wanted, got=form.example)


def _check_request(
    own: Frame | None,
    common: Frame | None,
    usable: frozenset[str],
    form_at: str,
    at: str,
    kind: str,
) -> None:
    frame = common if own is None else own
    if frame is None:
        wanted = "one, here or for all forms"
        raise UsageError(f"{form_at}.{kind}", wanted=wanted, got=None)
    check_frame(frame, usable, f"{at if own is None else form_at}.{kind}")


def _plural(part: str) -> tuple[str, str]:
    return f"{part}[]", f"{part}[,]"


def _check_answer(answer: Ack | Refusal, at: str) -> None:
    captured(answer.match, f"{at}.match")
    for name in ("id", "binds", "code", "reason"):
        field = getattr(answer, name, None)
        if field is not None:
            parse_field(field, field=f"{at}.{name}")
    for index, key in enumerate(answer.keys):
        _check_key(key, f"{at}.keys[{index}]")


def _check_data(data: Data, binds: bool, at: str) -> None:
    captured(data.match, f"{at}.match", rows=True)
    if (data.key is None) == (data.bound is None):
        got = None if data.key is None else "both"
        raise UsageError(at, wanted="exactly one of key, bound", got=got)
    if data.key is not None:
        _check_key(data.key, f"{at}.key")
    for index, key in enumerate(data.rather):
        _check_key(key, f"{at}.rather[{index}]")
    if data.bound is not None:
        parse_field(data.bound, field=f"{at}.bound")
        if not binds:
            raise UsageError(f"{at}.bound", wanted="an ack that binds", got=data.bound)
    if data.body is not None:
        parse_field(data.body, field=f"{at}.body")


def _check_key(key: Template, at: str) -> None:
    """A key's variables are fields of the message."""
    for name in names_in(key, field=at):
        parse_field(name, field=at)


def check_sequence(sequence: Sequence, at: str) -> None:
    for index, rule in enumerate(sequence.rules):
        _check_rule(rule, f"{at}.rules[{index}]")


def _check_rule(rule: Rule, at: str) -> None:
    for index, text in enumerate(rule.channels):
        _pattern_parts(text, f"{at}.channels[{index}]")
    if EVERYTHING in rule.channels and rule.scope != "connection":
        raise UsageError(f"{at}.scope", wanted="connection", got=rule.scope)
    needed = _NEEDED[rule.rule] + (("sid",) if rule.scope == "sid" else ())
    for name in needed:
        if getattr(rule, name) is None:
            raise UsageError(f"{at}.{name}", wanted="a field", got=None)
    for name in _FIELDS:
        field = getattr(rule, name)
        if field is not None:
            parse_field(field, field=f"{at}.{name}")
    for name in ("snapshot_when", "reset_when"):
        for field in getattr(rule, name) or ():
            parse_field(field, field=f"{at}.{name}.{field}")
    if rule.overlap and rule.rule != "range":
        raise UsageError(f"{at}.overlap", wanted="rule = range", got=rule.rule)
    if rule.checksum is not None:
        whole = bool(rule.snapshot_when)
        check_checksum(rule.checksum, has_snapshots=whole, at=f"{at}.checksum")
    if rule.recover is not None:
        _check_recover(rule.recover, rule, f"{at}.recover")


def _check_recover(recover: Recover, rule: Rule, at: str) -> None:
    if recover.how != "rest":
        return
    for name in ("url", "number", "joins"):
        if getattr(recover, name) is None:
            raise UsageError(f"{at}.{name}", wanted="one, as how = rest", got=None)
    parse_field(str(recover.number), field=f"{at}.number")
    for text in rule.channels:
        parts = _pattern_parts(text, at)
        check_variables(recover.url, parts | {"symbol"}, f"{at}.url")


def _pattern_parts(text: str, at: str) -> frozenset[str]:
    if text == EVERYTHING:
        return frozenset()
    return frozenset(Pattern(text, field=at).names)


def check_timestamps(timestamps: Timestamps, at: str) -> None:
    for index, stamp in enumerate(timestamps.stamps):
        here = f"{at}.stamps[{index}]"
        parse_field(stamp.field, field=f"{here}.field")
        for number, text in enumerate(stamp.channels):
            Pattern(text, field=f"{here}.channels[{number}]")


def check_freshness(freshness: Freshness, known: frozenset[str], at: str) -> None:
    for index, contract in enumerate(freshness.contracts):
        here = f"{at}.contracts[{index}]"
        for number, text in enumerate(contract.channels):
            Pattern(text, field=f"{here}.channels[{number}]")
        if isinstance(contract.every_s, str):
            check_variables(contract.every_s, known, f"{here}.every_s")
