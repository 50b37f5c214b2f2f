"""How a venue names its channels, numbers their messages and stamps their times.

What is here is explained by an example in `profile.py`; the notations of fields,
templates and patterns stand in `vocabulary.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from .checksums import Checksum
from .vocabulary import (
    Basis,
    Field,
    Frame,
    Json,
    Match,
    Pattern,
    Sourced,
    Template,
    Timer,
)

Unit: TypeAlias = Literal["s", "ms", "us", "ns", "rfc3339"]
Resubscribe: TypeAlias = Literal[
    "additive", "replace", "dup_error", "resends_snapshot", "no_new_snapshot"
]


class Form(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to write a channel's name.

    `key` is a template over the parts of the name. `item`, `request` and `unsubscribe`
    override those of `Subscribe` for channels of this form.
    """

    name: Pattern
    example: str
    key: Template | None = None
    item: Json = None
    request: Frame | None = None
    unsubscribe: Frame | None = None


class Ack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the venue says to a request it takes, to `subscribe` or `unsubscribe`.

    `id`: the field that repeats the request's id; the ack then speaks of that
    request's channels. `keys`: templates that name channels. `lists`: what the keys
    are. named: those it speaks of. request: of that request, all the rest was refused
    in silence. everything: all that is subscribed now on this link.

    A key of which a field is missing names nothing. Where nothing is named and `lists`
    is named, every channel of the request is meant: that of `id`, or without one the
    oldest under way.
    """

    match: Match
    of: Literal["subscribe", "unsubscribe"] = "subscribe"
    id: Field | None = None
    keys: tuple[Template, ...] = ()
    lists: Literal["named", "request", "everything"] = "named"
    binds: Field | None = None
    """A value the venue uses for that channel from now on: see `Data.bound`."""
    is_data: bool = False
    """The ack holds the first data too (a snapshot)."""


class Refusal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the venue says to a request it does not take. `id`, `keys` as in `Ack`."""

    match: Match
    id: Field | None = None
    keys: tuple[Template, ...] = ()
    code: Field | None = None
    reason: Field | None = None


class Data(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a message of data names its channel: by `key`, or by what an ack bound.

    `rather`: keys that it belongs to instead where they are subscribed, the first of
    them. `body`: where the fields of rules and stamps begin.
    """

    match: Match
    key: Template | None = None
    rather: tuple[Template, ...] = ()
    bound: Field | None = None
    body: Field | None = None


class Subscribe(Sourced, frozen=True, kw_only=True):
    """Names of channels, and what is said about them in both directions.

    A part of a name that a request uses singly, as `${symbol}`, is the same for every
    channel of one request; one used as `${symbol[]}` or `${symbol[,]}` may differ.
    Where nothing is used in the latter way, a request holds one channel. `${channel}`
    is the whole name and `${item[]}` the `item` made for each channel (one for each
    group, if the item itself uses `[]`). In `unsubscribe`, `${bound}` is what
    the ack bound. Without `acks`, data is the only acknowledgement.
    """

    forms: Annotated[tuple[Form, ...], Meta(min_length=1)]
    request: Frame | None = None
    unsubscribe: Frame | None = None
    item: Json = None
    acks: tuple[Ack, ...] = ()
    silent_acks: bool = False
    """Channels that do not exist are acknowledged all the same."""
    refusals: tuple[Refusal, ...] = ()
    data: tuple[Data, ...] = ()
    resubscribe: Resubscribe | None = None
    """What a second request for a live channel does."""


class Recover(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a channel is made whole again.

    resubscribe: a new snapshot comes with a new subscription. rest: `url` gives a
    snapshot with its number at `number`; data is kept meanwhile. wait: the next whole
    frame heals it. reconnect: only a new link does. `joins`: which event may follow a
    snapshot of number n: covers_next, first <= n + 1 <= last; covers, first <= n <=
    last; next, first == n + 1; chain, prev == n.
    """

    how: Literal["resubscribe", "rest", "wait", "reconnect"]
    url: Template | None = None
    number: Field | None = None
    joins: Literal["covers_next", "covers", "next", "chain"] | None = None


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the messages of some channels are numbered.

    chain: prev is the cur before it. range: first is the last before it + 1. step: cur
    is the cur before it + 1. monotonic: cur never falls; that shows disorder, not loss.
    snapshot_only: every message is whole. none: no number.
    """

    channels: Annotated[tuple[Pattern, ...], Meta(min_length=1)]
    """Over keys; with `scope` connection, every message of these counts."""
    rule: Literal["chain", "range", "step", "monotonic", "snapshot_only", "none"]
    scope: Literal["connection", "channel", "symbol", "sid"]
    prev: Field | None = None
    cur: Field | None = None
    first: Field | None = None
    last: Field | None = None
    alt: Field | None = None
    """A second number that may serve instead."""
    symbol: Field | None = None
    sid: Field | None = None
    snapshot_when: dict[Field, Json] | None = None
    reset_when: dict[Field, Json] | None = None
    """A message that starts the numbers anew, besides a snapshot."""
    overlap: bool = False
    """range only: first may lie at or below the last before it."""
    starts_at: int | None = None
    """The first number on a new link."""
    checksum: Checksum | None = None
    """Of the book that these messages change; fields begin where the message does."""
    recover: Recover | None = None
    certain: bool = True
    """Whether the venue promises it; else a jump is a suspicion."""
    note: str = ""


class Sequence(Sourced, frozen=True, kw_only=True):
    """Rules; the first whose `channels` fit a key holds for it.

    A rule of scope connection holds beside that one, for every message it fits.
    """

    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]


class Stamp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time of the venue's. sent: when it sent the message. event: when it happened.
    reply: its clock in the answer to a request, good for estimating the offset."""

    field: Field
    unit: Unit
    of: Literal["sent", "event", "reply"]
    channels: tuple[Pattern, ...] = ()
    """Over keys; without any, all channels and control messages."""


class Timestamps(Sourced, frozen=True, kw_only=True):
    """Time stamps of messages; the first that a message holds serves."""

    stamps: Annotated[tuple[Stamp, ...], Meta(min_length=1)]


class Contract(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Channels that say something at least every so many seconds, even unchanged."""

    channels: Annotated[tuple[Pattern, ...], Meta(min_length=1)]
    every_s: Timer
    basis: Basis
    note: str = ""


class Freshness(Sourced, frozen=True, kw_only=True):
    """Which channels the venue keeps alive by itself."""

    contracts: Annotated[tuple[Contract, ...], Meta(min_length=1)]
