"""What lies between a link of the venue and its socket: TLS by hand, compression.

By hand, because a fault is wanted in the middle: half a TLS record, half a message.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from heartline.testing.faulty_link import FaultyLink

_READ = 65_536
_TAIL = b"\x00\x00\xff\xff"
_EXTENSION = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Packer(Protocol):
    """What `zlib.compressobj` makes, a type without a name of its own."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


class Shell(asyncio.Protocol):
    """A transport to the link inside, a protocol to the socket outside."""

    def __init__(self, link: FaultyLink) -> None:
        self.link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.outside = cast(asyncio.Transport, transport)
        self.link.connection_made(cast(asyncio.Transport, self))

    def data_received(self, data: bytes) -> None:
        self.link.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.link.connection_lost(exc)

    # --- the transport that the link sees -----------------------------------------

    def write(self, data: bytes) -> None:
        self.outside.write(data)

    def write_eof(self) -> None:
        self.outside.write_eof()

    def close(self) -> None:
        self.outside.close()

    def abort(self) -> None:
        self.outside.abort()

    def pause_reading(self) -> None:
        self.outside.pause_reading()

    def resume_reading(self) -> None:
        self.outside.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self.outside.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.outside.get_extra_info(name, default)


class Tls(Shell):
    """TLS over memory; it can stop in the middle of a record, and stays there."""

    def __init__(self, link: FaultyLink, context: ssl.SSLContext) -> None:
        super().__init__(link)
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_side=True)
        self._secured = self._cutting = self._cut = False

    def cut_next_record(self) -> None:
        self._cutting = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.outside = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._secured:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._coming.write(data)
        if not self._secured:
            self._secured = self._attempt(self._tls.do_handshake)
            self._flush()
            if not self._secured:
                return
            self.link.connection_made(cast(asyncio.Transport, self))
        plain: list[bytes] = []
        while self._attempt(lambda: plain.append(self._tls.read(_READ))) and plain[-1]:
            pass
        if text := b"".join(plain):
            self.link.data_received(text)

    def write(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            self._flush()

    def _flush(self) -> None:
        records = self._going.read()
        if not records or self._cut:
            return
        if self._cutting:
            self._cut = True
            records = records[: len(records) // 2]
        self.outside.write(records)

    def _attempt(self, step: Callable[[], object]) -> bool:
        """Whether a step of TLS could be done with what has come so far."""
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            self.outside.abort()
            return False
        return True


class Deflating(Shell):
    """permessage-deflate (RFC 7692) with one context for the life of the link."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._upgraded = False
        self.context = Context()

    def write(self, data: bytes) -> None:
        if not self._upgraded:
            # The first thing a link writes is the answer to the upgrade.
            self._upgraded = True
            data = data.removesuffix(b"\r\n") + _EXTENSION + b"\r\n"
        super().write(data)


class Context:
    """What a compressor and the inflater at the other end know of what was sent."""

    def __init__(self) -> None:
        self._packer = _new_packer()
        self._mirror = zlib.decompressobj(-zlib.MAX_WBITS)
        """What the client's inflater knows."""

    def pack(self, text: bytes) -> bytes:
        packed = self._packer.compress(text) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._mirror.decompress(packed)
        return packed.removesuffix(_TAIL)

    def break_off(self, text: bytes) -> tuple[bytes, bytes]:
        """A message of two fragments, the second by a compressor that knows nothing.

        Such bytes may by chance be valid and mean something else. The break is put
        where an inflater that knows all that was sent cannot go on.
        """
        old = self._packer.compress(text) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        new = _new_packer()
        rest = new.compress(text) + new.flush(zlib.Z_SYNC_FLUSH)
        for cut in range(1, len(old)):
            try:
                self._mirror.copy().decompress(old[:cut] + rest)
            except zlib.error:
                return old[:cut], rest.removesuffix(_TAIL)
        raise OSError("no break makes this message impossible to inflate")


def _new_packer() -> Packer:
    return zlib.compressobj(wbits=-zlib.MAX_WBITS)
