"""permessage-deflate (RFC 7692): what is offered, what was agreed, and the two ends.

Messages in, messages out; framing and the RSV1 bit belong to whoever reads frames.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from heartline.core.items import Cause
from heartline.errors import WireError

OFFER: Final = "permessage-deflate; client_max_window_bits"
"""The `Sec-WebSocket-Extensions` value a client sends (RFC 7692 section 7.1)."""

_TAIL: Final = b"\x00\x00\xff\xff"
"""The end of a sync flush: stripped by the sender, put back here (section 7.2.2)."""

_FINALS_LIMIT: Final = 16
"""Streams a peer may end inside one message. Each costs us a new decompressor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflation:
    """What client and server agreed on. "Server" is how the server compresses."""

    server_takeover: bool = True
    client_takeover: bool = True
    server_bits: int = 15
    """Base-two logarithm of the window's size, 8 to 15."""
    client_bits: int = 15

    def client_ends(self) -> tuple[Inflater, Deflater]:
        """Make the two ends a client holds, for one link."""
        return (
            Inflater(bits=self.server_bits),
            Deflater(bits=self.client_bits, takeover=self.client_takeover),
        )

    def server_ends(self) -> tuple[Inflater, Deflater]:
        """Make the two ends a server holds, for one link."""
        return (
            Inflater(bits=self.client_bits),
            Deflater(bits=self.server_bits, takeover=self.server_takeover),
        )


class Inflater:
    """Decompresses the messages of one link, in their order.

    Always keeps its window: a sender without context takeover never refers back to
    it, and to begin anew with each message would only cost time.
    """

    __slots__ = ("_bits", "_zlib")

    def __init__(self, *, bits: int = 15) -> None:
        self._bits = bits
        self._zlib = zlib.decompressobj(-bits)

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Decompress the whole payload of one message.

        Raises `WireError` TOO_BIG if it holds more than `limit` bytes, having made
        at most one byte more than `limit`; PROTOCOL if it is not deflated data.
        After either the link is unusable, for the shared window is lost.
        """
        try:
            inflated = self._zlib.decompress(data + _TAIL, limit + 1)
            if self._zlib.eof:
                inflated += self._inflate_rest(limit - len(inflated))
        except zlib.error:
            raise WireError(
                Cause.PROTOCOL, "a compressed message is not deflated data"
            ) from None
        if len(inflated) > limit:
            raise WireError(
                Cause.TOO_BIG, f"a message inflates to more than {limit} bytes"
            )
        return inflated

    def _inflate_rest(self, room: int) -> bytes:
        """Go on after a final block, which ends zlib's stream but not the message.

        RFC 7692 section 7.2.3.4 allows such blocks. A compressor that ends its
        stream begins the next with an empty window, and so do we.
        """
        rest = b""
        for _ in range(_FINALS_LIMIT):
            unused = self._zlib.unused_data
            self._zlib = zlib.decompressobj(-self._bits)
            if room - len(rest) < 0:
                return rest
            rest += self._zlib.decompress(unused, room - len(rest) + 1)
            if not self._zlib.eof:
                return rest
        raise WireError(
            Cause.PROTOCOL, f"a message of more than {_FINALS_LIMIT} deflate streams"
        )


class Deflater:
    """Compresses the messages of one link, in their order."""

    __slots__ = ("_bits", "_takeover", "_zlib")

    def __init__(self, *, bits: int = 15, takeover: bool = True) -> None:
        self._bits = bits
        self._takeover = takeover
        wbits, strategy = _settings(bits)
        self._zlib = zlib.compressobj(wbits=wbits, strategy=strategy)

    def deflate(self, data: bytes) -> bytes:
        """Compress one message into the payload to send, with RSV1 set."""
        if not data:
            return b"\x00"  # section 7.2.3.6; zlib makes nothing of a second flush
        deflated = self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            wbits, strategy = _settings(self._bits)
            self._zlib = zlib.compressobj(wbits=wbits, strategy=strategy)
        return deflated.removesuffix(_TAIL)


def _settings(bits: int) -> tuple[int, int]:
    """Choose window and strategy so that no reference reaches beyond 2**`bits` bytes.

    zlib cannot write raw deflate with a window of 256 bytes; without any references
    the output fits every window.
    """
    if bits == 8:
        return -9, zlib.Z_HUFFMAN_ONLY
    return -bits, zlib.Z_DEFAULT_STRATEGY


def negotiate(answer: str | None) -> Deflation | None:
    """Read the server's answer to `OFFER`; None if it declined.

    `answer` is the value of `Sec-WebSocket-Extensions`, several such headers joined
    by commas, or None. Raises `WireError` PROTOCOL if it agrees to anything that
    was not offered (RFC 7692 section 7.1, RFC 6455 section 9.1).
    """
    if answer is None or not answer.strip():
        return None
    if "," in answer:
        raise _bad("more than one extension")
    name, *rest = (part.strip() for part in answer.split(";"))
    if name.lower() != "permessage-deflate":
        raise _bad("an extension that was not offered")
    values: dict[str, str | None] = {}
    for parameter in rest:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        key = key.lower()
        if key in values:
            raise _bad("a parameter twice")
        values[key] = value.strip('"') if equals else None
    deflation = Deflation(
        server_takeover=_takeover(values, "server_no_context_takeover"),
        client_takeover=_takeover(values, "client_no_context_takeover"),
        server_bits=_bits(values, "server_max_window_bits"),
        client_bits=_bits(values, "client_max_window_bits"),
    )
    if values:
        raise _bad("an unknown parameter")
    return deflation


def _takeover(values: dict[str, str | None], key: str) -> bool:
    if key not in values:
        return True
    if values.pop(key) is not None:
        raise _bad(f"a value for {key}")
    return False


def _bits(values: dict[str, str | None], key: str) -> int:
    if key not in values:
        return 15
    value = values.pop(key)
    if value not in {"8", "9", "10", "11", "12", "13", "14", "15"}:
        raise _bad(f"{key} that is not 8 to 15")
    return int(value)


def _bad(what: str) -> WireError:
    return WireError(Cause.PROTOCOL, f"the server's answer on compression holds {what}")
