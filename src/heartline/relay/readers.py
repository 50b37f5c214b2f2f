"""The readers of a relay: who wants which channels, and in which form.

Clients of `heartline.v1` subscribe by themselves and are served by the server's
channels. Plain clients say what they want in the address, and get the upstream's
messages as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from msgspec import Raw

from heartline.core.events import Lost
from heartline.server import Answer, Client, Hub, Request, Server

from .notes import Binary, Note, StateNote, encode

CHANNELS, NOTES = "channels", "notes"
"""What the query of a plain client's address may say."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What a plain client asked for. `channels` None: all there is."""

    channels: frozenset[str] | None
    notes: bool


class House(Protocol):
    """The relay, as its readers see it."""

    @property
    def status(self) -> Note: ...

    @property
    def channels(self) -> list[str]: ...

    def want(self, channel: str) -> str | None:
        """Have a channel, if the upstream has it; why not, if it cannot be."""
        ...

    def welcome(self, channel: str) -> list[Note]:
        """What a late reader of it has to know before its next message."""
        ...


class Readers(Hub):
    """All clients of one relay; `server` is put in before anybody can come."""

    server: Server

    def __init__(self, house: House) -> None:
        self._house = house
        self._plain: dict[Client, Plain] = {}

    def authorize(self, request: Request) -> bool | Answer:
        """Refuse an address that asks for what cannot be had."""
        for name in _names(request) or ():
            refused = self._house.want(name)
            if refused is not None:
                return Answer(HTTPStatus.NOT_FOUND, refused)
        return True

    # --- the server tells -----------------------------------------------------------

    def on_join(self, client: Client) -> None:
        if client.speaks:
            client.send(_text(self._house.status))
            return
        names = _names(client.request)
        notes = client.request.query.get(NOTES, "") not in ("", "0", "no")
        plain = Plain(None if names is None else frozenset(names), notes)
        self._plain[client] = plain
        if notes:
            client.send(_text(self._house.status))
        for name in self._house.channels if names is None else names:
            for note in self._house.welcome(name):
                if notes:
                    client.send(_text(note))
                elif isinstance(note, StateNote):
                    for message in note.messages:
                        if isinstance(message, Binary):
                            client.send(message.base64)
                        else:
                            client.send(message)

    def on_leave(self, client: Client, lost: Lost) -> None:
        self._plain.pop(client, None)

    def may_subscribe(self, client: Client, channel: str) -> bool:
        return self._house.want(channel) is None

    def on_subscribe(self, client: Client, channel: str) -> None:
        for note in self._house.welcome(channel):
            client.send(_text(note))

    # --- the relay tells ------------------------------------------------------------

    def pass_on(self, channel: str, data: str | bytes) -> int:
        """Send a message of the upstream to all readers of a channel; its offset."""
        offset = self.server.publish(channel, data)
        if self._plain:
            for client, _ in self._plain_readers(channel):
                client.send(data)
        return offset

    def tell(self, channel: str, note: Note) -> int:
        """Number a note among the messages of its channel; its offset."""
        written = encode(note)
        offset = self.server.publish(channel, Raw(written))
        for client, plain in self._plain_readers(channel):
            if plain.notes:
                client.send(written.decode())
        return offset

    def tell_all(self, note: Note) -> None:
        """Tell everybody who understands notes, each alone."""
        text = _text(note)
        for client in list(self.server.clients):
            plain = self._plain.get(client)
            if client.speaks or (plain is not None and plain.notes):
                client.send(text)

    def _plain_readers(self, channel: str) -> Iterator[tuple[Client, Plain]]:
        # A list: whoever is too slow leaves while it is being sent to.
        for client, plain in list(self._plain.items()):
            if plain.channels is None or channel in plain.channels:
                yield client, plain


def _names(request: Request) -> list[str] | None:
    """The channels that an address names; None if it names none at all."""
    asked = request.query.get(CHANNELS)
    if asked is None:
        return None
    return [name for name in dict.fromkeys(asked.split(",")) if name]


def _text(note: Note) -> str:
    return encode(note).decode()
