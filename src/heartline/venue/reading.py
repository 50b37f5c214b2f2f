"""What a message turned out to be: values, never behaviour.

`Update` is data; all else is about the link or its subscriptions. Whatever comes, it
is one of these: a message that is broken is `Malformed`, one that the profile does not
speak of is `Unknown`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from .channels import Unit
from .stamps import unix_seconds

Number: TypeAlias = int | str
"""A sequence number; text only where a venue chains texts."""

Track: TypeAlias = str | int | tuple[str | int | None, ...] | None
"""Whose numbers follow one another: a channel, a symbol in it, or a rule's link."""


class Source(Struct, eq=False):
    """What all updates of one channel have in common; made once, compared by identity.

    `channel` is the name that was subscribed, or the key where none was. `rule`,
    `stamp` and `beacon` are places in the profile's lists. `line` is its reader's:
    where the messages are taken, so that it is not to be looked up for each.
    """

    channel: str | None
    key: str | None
    line: Any = None
    rule: int | None = None
    stamp: int | None = None
    unit: Unit | None = None
    beacon: int | None = None


class Update(Struct, frozen=True, gc=False):
    """A message of data, or one row of it.

    `first` and `last` are equal where the venue numbers each message; `prev` is what
    the one before ended with, where the venue says so. All are None where the rule has
    no numbers or the message none. `restarts`: a snapshot or a reset, after which
    counting begins anew. `at` is the venue's time stamp as it wrote it.

    `links` are the numbers that count over the whole link, beside the channel's own;
    `rest` are further rows whose numbers do not simply continue this one.
    """

    source: Source
    track: Track = None
    prev: Number | None = None
    first: Number | None = None
    last: Number | None = None
    at: int | float | str | None = None
    restarts: bool = False
    links: tuple[Update, ...] = ()
    rest: tuple[Update, ...] = ()

    @property
    def channel(self) -> str | None:
        return self.source.channel

    @property
    def unix(self) -> float | None:
        """The venue's time stamp, seconds since 1970; None if it cannot be read."""
        return unix_seconds(self.at, self.source.unit)


class Answer(Struct, frozen=True):
    """The answer to something sent: `number` is that of the frame, if it is known.

    `of` and `index` say which primitive (or step on opening) of the profile. `unix` is
    the venue's clock in it, seconds since 1970.
    """

    of: Literal["msg_out", "msg_in", "on_open"]
    index: int
    number: int | None = None
    unix: float | None = None
    captures: dict[str, object] = field(default_factory=dict[str, object])
    links: tuple[Update, ...] = ()


class Probe(Struct, frozen=True):
    """The venue asks whether we live; `Writer.reply` makes the answer."""

    index: int
    captures: dict[str, object] = field(default_factory=dict[str, object])
    links: tuple[Update, ...] = ()


class Beacon(Struct, frozen=True):
    """A sign of life without data, or one with a counter; `index` in the profile.

    `update` is what it also is, where it belongs to a channel.
    """

    index: int
    counter: int | None = None
    update: Update | None = None
    captures: dict[str, object] = field(default_factory=dict[str, object])
    links: tuple[Update, ...] = ()


class Acked(Struct, frozen=True):
    """The venue took a request.

    `channels` are confirmed (ended, if `of` is unsubscribe) by name, or by key where
    nobody asked for them. `absent` were asked for and left out. `everything`: no
    other channel is live on this link. `number` is that of the request, if known.
    """

    of: Literal["subscribe", "unsubscribe"]
    channels: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    everything: bool = False
    number: int | None = None
    update: Update | None = None
    """The first data, where the acknowledgement holds it."""
    links: tuple[Update, ...] = ()


class Refused(Struct, frozen=True):
    """The venue did not take a request: `channels` as far as it is known for which."""

    channels: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""
    number: int | None = None
    links: tuple[Update, ...] = ()


class Notice(Struct, frozen=True):
    """The venue announces something; `index` in the profile, which says what to do."""

    index: int
    action: Literal["reconnect_now", "reconnect_soon", "pause", "resume", "resubscribe"]
    lead_s: float | None = None
    links: tuple[Update, ...] = ()


class Welcome(Struct, frozen=True):
    """The first frame of a link, and the variables read from it."""

    variables: dict[str, object] = field(default_factory=dict[str, object])
    links: tuple[Update, ...] = ()


class Unknown(Struct, frozen=True):
    """Readable, and of none of the kinds that the profile describes."""

    links: tuple[Update, ...] = ()


class Malformed(Struct, frozen=True):
    """Not what the venue promises; `reason` shows none of its content."""

    reason: str


Reading: TypeAlias = (
    Update
    | Answer
    | Probe
    | Beacon
    | Acked
    | Refused
    | Notice
    | Welcome
    | Unknown
    | Malformed
)
