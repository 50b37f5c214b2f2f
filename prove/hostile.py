"""Messages as no venue should send them, made from those that it does send.

Everything comes from the dice it is given: one seed, one message.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeAlias

Data: TypeAlias = str | bytes
Place: TypeAlias = tuple[Any, Any]
"""A list or an object, and the index or key of one of its values."""

NESTED = (1, 9, 200, 3000)
"""Levels: where in between Python gives up depends on how deep it stands itself."""
LONG_TEXT = 70_000
MANY = 21_000
"""More rows than are looked at in one message."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -0, 1, -1, -2, 7, 2**31, 2**53 + 1, -(2**63), 2**63 - 1),
    *(2**63, 2**64 - 1, 2**64, -(2**64), 10**30, -(10**400), 1.5, -0.0, 1.0, 1e308),
    *(5e-324, "", " ", "0", "-1", "1e5", "NaN", "Infinity", " 12", "12 ", "1_000"),
    *(
        "²",
        "٣",
        "9" * 19,
        "9" * 20,
        "9" * 5000,
        "\0",
        "\ud7ff",
        "a" * 300,
        "*",
        "${id}",
    ),
    *([], {}, [[]], [[[]]], [None], [{}], {"": {}}, {"key": []}, [1, "2", 3.0, None]),
    *("2026-11-22T10:00:59e300Z", "0001-01-01T00:00:00-14:00", "ping", "pong"),
)
TOKENS = ("NaN", "-Infinity", "1e999", "-1e999", "-", "01", "1.", "9" * 5000, "tru")
"""What is no JSON number, or none of this world."""


def hostile(data: Data, dice: random.Random, *, payload: str) -> Data:
    """One message made worse; `payload` is the envelope of the venue."""
    text = _opened(data)
    if text is None or dice.random() < 0.15:
        return _bytes_gone_wrong(data, dice)
    way = dice.choice((_values, _values, _values, _texts, _twice, _enveloped))
    if way is _enveloped:
        return _enveloped(text, dice, payload)
    return closed(way(text, dice), payload)


def closed(text: str, payload: str) -> Data:
    """The message in the envelope of the venue, as it should be."""
    data = text.encode("utf-8", "replace")
    if payload == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return data if payload == "utf8" else data.decode()


def _opened(data: Data) -> str | None:
    if isinstance(data, str):
        return data
    try:
        return gzip.decompress(data).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


# --- bytes ------------------------------------------------------------------------


def _bytes_gone_wrong(data: Data, dice: random.Random) -> Data:
    raw = bytearray(data.encode() if isinstance(data, str) else data)
    match dice.randrange(5):
        case 0:
            for _ in range(dice.randint(1, 8)):
                if raw:
                    raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        case 1:
            del raw[dice.randrange(len(raw) + 1) :]
        case 2:
            raw += bytes(dice.randrange(256) for _ in range(dice.randint(1, 12)))
        case 3:
            at = dice.randrange(len(raw) + 1)
            raw[at:at] = raw[: dice.randrange(len(raw) + 1)]
        case _:
            raw = bytearray(dice.randbytes(dice.randrange(200)))
    spoiled = bytes(raw)
    if isinstance(data, str) and dice.random() < 0.7:
        # A text frame that is no UTF-8 never gets past the reader of frames.
        return spoiled.decode(errors="ignore")
    return spoiled


def _enveloped(text: str, dice: random.Random, payload: str) -> Data:
    """Right words in the wrong envelope."""
    data = text.encode("utf-8", "replace")
    match dice.randrange(8):
        case 0:
            return gzip.compress(data)[: dice.randrange(1, 40)]
        case 1:
            return zlib.compress(data)
        case 2:
            return gzip.compress(data) + data[:9]
        case 3:
            return gzip.compress(gzip.compress(data))
        case 4 if payload == "gzip" and dice.random() < 0.05:
            return gzip.compress(b"[" + b" " * (17 << 20), 1)
        case 5:
            return gzip.compress(b"")
        case 6:
            return data if payload == "text" else text
        case _:
            return data + b"\xff\xfe"


# --- text -------------------------------------------------------------------------


def _texts(text: str, dice: random.Random) -> str:
    """Text that is no JSON any more, or hardly."""
    match dice.randrange(9):
        case 0:
            deep = dice.choice(NESTED)
            return "[" * deep + text + "]" * dice.choice((deep, deep - 1, 0))
        case 1:
            deep = dice.choice(NESTED)
            return '{"a":' * deep + text + "}" * deep
        case 2:
            return text + text
        case 3:
            return "\ufeff" + text
        case 4:
            return text[: dice.randrange(len(text) + 1)]
        case 5:
            return text.replace('"', "'")
        case 6:
            return text.replace(":", ":" + dice.choice(TOKENS) + ",", 1)
        case 7:
            return _number_replaced(text, dice)
        case _:
            return dice.choice(("", " ", "{}", "[]", "null", "true", '""', "0", "ping"))


def _number_replaced(text: str, dice: random.Random) -> str:
    digits = [at for at, c in enumerate(text) if c.isdigit()]
    if not digits:
        return text
    start = end = dice.choice(digits)
    while start and text[start - 1] in "0123456789.-":
        start -= 1
    while end < len(text) and text[end] in "0123456789.":
        end += 1
    return text[:start] + dice.choice(TOKENS) + text[end:]


def _twice(text: str, dice: random.Random) -> str:
    """An object that has one of its keys twice, with another value the first time."""
    document = _document(text)
    if not isinstance(document, dict) or not document:
        return _values(text, dice)
    key = dice.choice(list(document))
    first = json.dumps(dice.choice(VALUES[:30]))
    rest = text.strip()[1:]
    return "{" + json.dumps(key) + ":" + first + "," + rest


# --- values -----------------------------------------------------------------------


def _values(text: str, dice: random.Random) -> str:
    """JSON of which a few values are not what they should be."""
    document = [_document(text)]
    if document == [None]:
        return _texts(text, dice)
    if dice.random() < 0.1:
        # Once at most: what is filled again and again is more than memory holds.
        within, at = dice.choice(list(_places(document)))
        within[at] = _filled(within[at], dice)
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        places = list(_places(document))
        within, at = dice.choice(places)
        _spoil(within, at, dice)
    return _written(document[0])


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> list[Place]:
    found: list[Place] = []
    waiting = [value]
    while waiting and len(found) < 2000:
        each = waiting.pop()
        inner = each if isinstance(each, dict) else range(len(each))
        for at in inner:
            found.append((each, at))
            if isinstance(each[at], dict | list):
                waiting.append(each[at])
    return found


def _spoil(within: Any, at: Any, dice: random.Random) -> None:
    value = within[at]
    spoilers: tuple[Callable[[], Any], ...] = (
        lambda: deepcopy(dice.choice(VALUES)),
        lambda: deepcopy(dice.choice(VALUES)),
        lambda: _like(value, dice),
        lambda: _like(value, dice),
        lambda: [value],
        lambda: {"key": value, "value": value},
        lambda: str(value),
    )
    chance = dice.randrange(len(spoilers) + 2)
    if chance < len(spoilers):
        within[at] = spoilers[chance]()
    elif isinstance(within, dict):
        del within[at]
        if chance == len(spoilers):
            within[dice.choice((str(at).upper(), f"{at}_", "id", "e", "channel"))] = (
                value
            )
    else:
        within.insert(at, value)


def _like(value: Any, dice: random.Random) -> Any:
    """Of the same type, and another value: what the venue might well have sent."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + dice.choice((-(10**6), -9, -1, 1, 2, 9, 10**6, 10**12))
    if isinstance(value, float):
        return -value
    if isinstance(value, str):
        return dice.choice((value.upper(), value + "x", value[:-1], unheard_of(dice)))
    return value


def _filled(value: Any, dice: random.Random) -> Any:
    """Very much of it."""
    much = dice.random()
    if much < 0.01 and isinstance(value, int):
        return [value] * MANY
    if much < 0.05:
        return "a" * LONG_TEXT
    if isinstance(value, list) and value:
        return value * dice.randint(2, 40)
    return [unheard_of(dice) for _ in range(dice.randint(1, 60))]


def unheard_of(dice: random.Random) -> str:
    """A name that no channel has."""
    return f"NONE{dice.randrange(10**9)}-USD"


def _written(document: Any) -> str:
    try:
        return json.dumps(document, separators=(",", ":"))
    except ValueError:  # a number of more digits than Python writes
        return "{}"


# --- acknowledgements -------------------------------------------------------------


def hostile_answer(said: Any, dice: random.Random) -> Any:
    """What answers a request, made to speak of what was never asked for."""
    document = [json.loads(json.dumps(said))]
    texts = [
        (within, at)
        for within, at in _places(document)
        if isinstance(within[at], str | int) and not isinstance(within[at], bool)
    ]
    for within, at in texts:
        if dice.random() < 0.5:
            continue
        value = within[at]
        if isinstance(value, int):
            within[at] = dice.choice((value + 1, -1, 0, 10**9, 1.5, str(value), True))
        elif isinstance(within, list):
            many = dice.choice((0, 1, 3, 3, 2000))
            within.extend(unheard_of(dice) for _ in range(many))
        elif dice.random() < 0.4:
            within[at] = unheard_of(dice)
    return document[0]
