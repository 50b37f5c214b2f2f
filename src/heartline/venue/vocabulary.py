"""The words of a venue profile: frames, matches and the five liveness primitives.

Every file of `heartline/venues/` is written in them, and so is a user's own. Three
small notations occur throughout; `syntax.py` reads them:

field     where a value stands in a JSON message: `params.data.change_id`, `[-1]`,
          `data[0].seq`. `data[].seq` is that of every element; all fields of one rule
          that go through the same `[]` speak of the same element, and a match that
          holds such a field holds for the elements it fits. `subs{}.key` and
          `subs{}.value` are each member of an object. Of a value that is no list (or
          no object) there are no elements.
template  text with `${variables}`. One that is exactly one variable has the type of
          its value: `"${id}"` is a JSON number, `"${id_s}"` the same as text. Within
          longer text it is written as text. `${null}` is JSON null. `${s|lower}` and
          `${s|upper}` change case.
pattern   a channel's name with named parts: `book-{depth:int}:{pair}`. A part ends
          before the text that follows it in the pattern; the last one takes the
          rest. `:int` takes digits only and is a JSON number.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

Field: TypeAlias = str
Template: TypeAlias = str
Pattern: TypeAlias = str
Json: TypeAlias = Any

Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
Timer: TypeAlias = Annotated[float, Meta(gt=0)] | Annotated[str, Meta(pattern=r"^\$\{")]
"""Seconds, or one variable that holds them: `${ping_interval_s}`."""

Confidence: TypeAlias = Literal[
    "official", "official_copy", "third_party", "third_party_probe", "uncertain"
]
"""Who says so: the venue itself; the venue, read through somebody's copy; client code
or notes of others; somebody's live measurement; or sources that disagree."""

Basis: TypeAlias = Literal["documented", "observed"]


class Sourced(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A group of facts, and where they come from."""

    source: Annotated[tuple[str, ...], Meta(min_length=1)]
    """URLs, the best first."""
    checked: date
    confidence: Confidence
    note: str = ""


class Frame(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A message to send: exactly one of `text` and `json`. An empty text is legal.

    Templates may stand wherever a string does. An element of a JSON list that is
    exactly `${part[]}` is replaced by one element for each channel of the batch;
    `${part[,]}` is the same as one text, with commas.
    """

    text: Template | None = None
    json: Json = None


class Match(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a message must look like: exactly one of the four.

    In `json`, every field must hold its literal; `*` is any value that is there,
    `$name` too and keeps it as `${name}` with its type, a literal that ends in `*` is
    a beginning, and `${id}` is what was just sent. `array` gives the first elements of
    a JSON list; more may follow.
    """

    text: str | None = None
    json: Annotated[dict[Field, Json], Meta(min_length=1)] | None = None
    array: tuple[Json, ...] | None = None
    any: tuple[Match, ...] | None = None


class Rate(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """At most `count` within any `per_s` seconds."""

    count: Annotated[int, Meta(gt=0)]
    per_s: Seconds


class WsPingIn(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The venue sends RFC 6455 pings; a pong is due, with `echo` the same payload."""

    every_s: Timer | None = None
    deadline_s: Timer | None = None
    """For our pong, after the ping."""
    echo: bool = True
    documented: bool = True
    note: str = ""


class WsPingOut(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """We may send RFC 6455 pings, and with `required` must.

    `every_s` counts from the last ping, `idle_s` from the last message received. With
    neither, the venue names no rhythm: it is a probe for when we doubt.
    """

    every_s: Timer | None = None
    idle_s: Timer | None = None
    reply_within_s: Timer | None = None
    required: bool = False
    documented: bool = True
    note: str = ""


class MsgOut(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """We send a message of the venue's own; timers as in `WsPingOut`."""

    send: Frame
    expect: Match | None = None
    """Its answer; None where the venue does not answer."""
    every_s: Timer | None = None
    idle_s: Timer | None = None
    once: bool = False
    reply_within_s: Timer | None = None
    required: bool = False
    max_rate: Rate | None = None
    documented: bool = True
    note: str = ""


class MsgIn(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The venue sends a message of its own that must be answered with `reply`."""

    match: Match
    reply: Frame
    expect: Match | None = None
    """The venue's answer to our reply, where it gives one."""
    every_s: Timer | None = None
    deadline_s: Timer | None = None
    """For our reply."""
    enable: Frame | None = None
    """What switches it on, where it is off at first."""
    documented: bool = True
    note: str = ""


class Counter(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A number in a beacon: it goes up by `step`, or merely never down."""

    field: Field
    step: Annotated[int, Meta(gt=0)] | Literal["monotonic"]


class Beacon(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A one-way sign of life. Without a channel in it, it proves the socket only."""

    match: Match
    every_s: Timer | None = None
    when: Literal["always", "idle", "on_enable"]
    scope: Literal["connection", "channel", "symbol"]
    counter: Counter | None = None
    enable: Frame | None = None
    """With `scope` symbol it holds `${symbol}` or `${symbol[]}`."""
    documented: bool = True
    note: str = ""


Primitive: TypeAlias = WsPingIn | WsPingOut | MsgOut | MsgIn | Beacon
