"""A message on its way to clients, encoded once however many they are."""

from __future__ import annotations

from msgspec import Raw

from heartline.core.items import Message
from heartline.errors import UsageError
from heartline.wire.resume import message_text, raw_json


class Outgoing(Message, frozen=True, gc=False):
    """A published message and its frames; one value for all clients.

    `received_at` is when it was published. `offset` counts within its channel, or
    within the messages to one client alone where `channel` is None.
    """

    offset: int = 0
    text: bytes = b""
    """The frame's payload for clients that speak the sub-protocol."""
    plain: bytes = b""
    """The frame's payload for all others."""
    binary: bool = False
    """Whether `plain` goes out as a binary frame."""


def outgoing(channel: str | None, offset: int, data: object, *, now: float) -> Outgoing:
    """Encode published data, once for all clients. Raises `UsageError`."""
    text = message_text(channel, offset, data)
    if isinstance(data, bytes | bytearray):
        shown: str | bytes = (plain := bytes(data))
    elif isinstance(data, str):
        shown, plain = data, data.encode()
    else:
        plain = bytes(data) if isinstance(data, Raw) else raw_json(data)
        shown = plain.decode()
    return Outgoing(
        shown,
        now,
        channel,
        offset=offset,
        text=text,
        plain=plain,
        binary=isinstance(shown, bytes),
    )


def checked(data: object) -> str | bytes:
    """Whether `send` can take it; raises `UsageError`."""
    if isinstance(data, bytearray):
        return bytes(data)
    if not isinstance(data, str | bytes):
        raise UsageError("send", wanted="str or bytes", got=type(data).__name__)
    return data
