"""From the bytes of a message to what JSON is read from.

Text and UTF-8 in binary frames are read as they come: a JSON decoder takes both. gzip
is undone here, and what is protobuf is written as JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, TypeAlias

from ..errors import UsageError
from .profile import Decode

Envelope: TypeAlias = Callable[[str | bytes], str | bytes]

INFLATED_BYTES: Final = 16 * 1024 * 1024
"""One message inflates to at most this; the largest snapshot recorded has 0.2 MB."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class Undecodable(ValueError):
    """The payload does not hold what the venue promises; the text says why."""


def opened(data: str | bytes) -> str | bytes:
    """A message without envelope is what it is."""
    return data


def gunzipped(data: str | bytes) -> str | bytes:
    """Inflate a binary message; a text message comes bare.

    Raises Undecodable if it is no gzip, is cut short, or inflates past
    INFLATED_BYTES: a message of 100 kB could otherwise claim 100 MB.
    """
    if isinstance(data, str):
        return data
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(data, INFLATED_BYTES)
    except zlib.error as error:
        raise Undecodable(f"not gzip: {error}") from None
    if not inflater.eof:
        if inflater.unconsumed_tail or len(plain) >= INFLATED_BYTES:
            raise Undecodable(f"gzip inflates past {INFLATED_BYTES} bytes")
        raise Undecodable(f"gzip is cut short after {len(data)} bytes")
    if inflater.unused_data:
        raise Undecodable(f"{len(inflater.unused_data)} bytes after the end of gzip")
    return plain


_ENVELOPES: Final[dict[str, Envelope]] = {
    "text": opened,
    "utf8": opened,
    "gzip": gunzipped,
}


def envelope(decode: Decode) -> Envelope:
    """The function that opens messages of a venue.

    Raises UsageError where they are protobuf and the library that reads it is missing.
    """
    if decode.payload != "protobuf":
        return _ENVELOPES[decode.payload]
    try:
        from .protobuf import Codec
    except ImportError:
        wanted = "protobuf, which `pip install 'heartline[protobuf]'` brings"
        got = "a Python without it"
        raise UsageError("decode.payload", wanted=wanted, got=got) from None
    return Codec(decode.message).opened
