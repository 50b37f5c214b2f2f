"""The lab's venue: the faulty server's process in a namespace, with TLS and deflate.

It numbers its messages without holes, also while nobody hears them, so that every
message can be accounted for. Standard library only; a child of `process.ChildProcess`.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import ssl
import time
from typing import Any, cast

from heartline.testing.faults import Options
from heartline.testing.faulty_link import FaultyLink, House, State
from heartline.testing.faulty_process import PROGRESS, Numbering, Venue
from heartline.testing.orders import Handler, run
from heartline.testing.rfc6455 import Opcode, frame

from .namespaces import enter
from .shells import Deflating, Shell, Tls

_BACKLOG = 2048
_RSV1 = 0x40


class LabVenue(Venue):
    """A venue on any address, whose links may be encrypted or compressed."""

    def __init__(self, options: Options, shared: mmap.mmap) -> None:
        self.house = House(options["answers"], options["buffer_limit_bytes"])
        self._numbering = Numbering(shared, rate=options["rate"])
        self._tail = b"," + options["text"].strip().encode()[1:]
        self._listener = _listen(options["host"], options["port"])
        self._timer: asyncio.TimerHandle | None = None
        self._deflates: bool = options["deflate"]
        self._tls = _server_context(options["pem"]) if options["pem"] else None
        self._shells: dict[FaultyLink, Shell] = {}
        self._snapshots: asyncio.TimerHandle | None = None

    async def open(self) -> int:
        loop = asyncio.get_running_loop()
        self._tick()
        await loop.create_server(self._new_link, sock=self._listener, backlog=_BACKLOG)
        port: int = self._listener.getsockname()[1]
        return port

    async def obey(self, order: str, options: Options) -> object:
        match order:
            case "half_record":
                for shell in self._alive_shells():
                    cast(Tls, shell).cut_next_record()
                self._emit(1, of_the_clock=False)
            case "lose_compression":
                first = self._numbering.take(1, of_the_clock=False)
                for link, shell in self._open_shells():
                    self._lose_compression(link, cast(Deflating, shell), first)
            case "snapshots":
                self._snapshot(options["every"], options["size_bytes"])
            case _:
                return await super().obey(order, options)
        return None

    def _new_link(self) -> asyncio.Protocol:
        link = FaultyLink(self.house)
        if self._tls is not None:
            shell: Shell = Tls(link, self._tls)
        elif self._deflates:
            shell = Deflating(link)
        else:
            return link
        self._shells = {link: shell for link, shell in self._open_shells()}
        self._shells[link] = shell
        return shell

    def _open_shells(self) -> list[tuple[FaultyLink, Shell]]:
        return [
            (link, shell)
            for link, shell in self._shells.items()
            if link.state is not State.GONE
        ]

    def _alive_shells(self) -> list[Shell]:
        return [shell for _, shell in self._open_shells()]

    # --- messages ---------------------------------------------------------------------

    def _emit(self, messages: int, *, of_the_clock: bool) -> int:
        if not self._deflates:
            return super()._emit(messages, of_the_clock=of_the_clock)
        first = self._numbering.take(messages, of_the_clock=of_the_clock)
        for number in range(first, first + messages):
            text = self._text(number)
            for link, shell in self._open_shells():
                if link.takes_data:
                    packed = cast(Deflating, shell).context.pack(text)
                    link.send(_compressed(packed), messages=1)
        return first

    def _text(self, number: int, padding: bytes = b"") -> bytes:
        stamp = b'{"seq":%d,"sent_at":%.6f' % (number, time.monotonic())
        pad = b',"pad":"%b"' % padding if padding else b""
        text: bytes = stamp + pad + self._tail
        return text

    def _snapshot(self, every: float, size_bytes: int) -> None:
        """A long message now and then, as venues send whole books; none if 0."""
        if self._snapshots is not None:
            self._snapshots.cancel()
        if not every:
            return
        number = self._numbering.take(1, of_the_clock=False)
        whole = frame(Opcode.TEXT, self._text(number, b"x" * size_bytes))
        for link in self.house.links:
            if link.takes_data:
                link.send(whole, messages=1)
        loop = asyncio.get_running_loop()
        self._snapshots = loop.call_later(every, self._snapshot, every, size_bytes)

    def _lose_compression(
        self, link: FaultyLink, shell: Deflating, number: int
    ) -> None:
        """Begin a message, lose the compressor, go on with a new one."""
        begun, rest = shell.context.break_off(self._text(number))
        head = frame(Opcode.TEXT, begun, fin=False)
        link.send(bytes((head[0] | _RSV1,)) + head[1:])
        link.send(frame(Opcode.CONTINUATION, rest), messages=1)


def _compressed(packed: bytes) -> bytes:
    whole = frame(Opcode.TEXT, packed)
    return bytes((whole[0] | _RSV1,)) + whole[1:]


def _server_context(pem: str) -> ssl.SSLContext:
    """TLS with this key and certificate; they are never on any disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fd = os.memfd_create("venue.pem")
    try:
        os.write(fd, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return context


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    # A restart must get the port back while old connections linger in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    enter(options["namespace"])
    venue = LabVenue(options, mmap.mmap(options["progress_fd"], PROGRESS.size))
    return {"port": await venue.open()}, venue.obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
