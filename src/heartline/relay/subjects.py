"""Where things lie on the bus: subjects, message ids, keys of leases.

    heartline.once.VENUE.CHANNEL[.SYMBOL]    numbered by the venue: each message once
    heartline.copy.VENUE.CHANNEL.RELAY       not numbered: the copy of one relay
    heartline.note.VENUE.RELAY               what one relay says of its upstream

A name is one token of a subject: all but ASCII letters, digits, `-`, `_` and `~` is
percent-encoded as UTF-8, as in RFC 3986, the dot too.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from msgspec import Struct

ROOT = "heartline"
EVERYTHING = (f"{ROOT}.once.>", f"{ROOT}.copy.>", f"{ROOT}.note.>")
"""The subjects of the stream."""


def token(name: str) -> str:
    """Write a name as one token of a subject; `name_of` reads it again."""
    return quote(name, safe="").replace(".", "%2E")


def name_of(text: str) -> str:
    return unquote(text)


class Subjects(Struct, frozen=True):
    """Those of one relay: `venue` is the same for all relays of an upstream, `relay`
    for one of them only."""

    venue: str
    relay: str

    def once(self, channel: str, symbol: str | None = None) -> str:
        names = (
            (self.venue, channel) if symbol is None else (self.venue, channel, symbol)
        )
        return ".".join((ROOT, "once", *map(token, names)))

    def copy(self, channel: str) -> str:
        names = (self.venue, channel, self.relay)
        return ".".join((ROOT, "copy", *map(token, names)))

    @property
    def note(self) -> str:
        return ".".join((ROOT, "note", token(self.venue), token(self.relay)))

    @property
    def key(self) -> str:
        """Of its lease; keys may hold no `%`, so `=` stands for it."""
        names = (token(self.venue), token(self.relay))
        return ".".join(names).replace("~", "%7E").replace("%", "=")


def message_id(subject: str, run: int, number: int) -> str:
    """The same from every relay for the same message: venue, channel and sequence.

    `run` counts how often the venue began its numbers anew, and is left out while 0.
    """
    place = subject.split(".", 2)[2].replace(".", "/")
    return f"{place}/{run}.{number}" if run else f"{place}/{number}"
