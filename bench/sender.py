"""The sending side: a process of its own that writes ready-made frames.

It paces itself by the clock, not by its own speed: one chunk of frames goes out in
one write, and the next only after a pause that lets the receiver finish. Every
contender thereby gets the same number of frames per read. `pause=0` floods instead.
With a certificate it speaks TLS.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import multiprocessing
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CLOSE_1000 = b"\x88\x02\x03\xe8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: `messages` of `size_bytes` text, `chunk` frames to a write."""

    messages: int
    chunk: int
    size_bytes: int = 256
    pause: float = 100e-6

    def __post_init__(self) -> None:
        if self.messages % self.chunk:
            raise ValueError(
                f"messages: wanted a multiple of {self.chunk}, got {self.messages}"
            )


def frame(size_bytes: int) -> bytes:
    """Build one unmasked text frame with a payload that looks like market data."""
    text = b'{"channel":"trades","price":64251.5,"amount":0.013,"side":"buy","seq":1}'
    payload = (text * (size_bytes // len(text) + 1))[:size_bytes]
    if size_bytes < 126:
        return bytes((0x81, size_bytes)) + payload
    return b"\x81\x7e" + size_bytes.to_bytes(2, "big") + payload


@contextlib.contextmanager
def sending(load: Load, *, certificate: Path | None = None) -> Iterator[str]:
    """Serve one client after the other with `load`; yields the URL.

    A certificate is a PEM file with its key in it, for 127.0.0.1.
    """
    with serving(_serve, load, certificate) as port:
        yield f"{'ws' if certificate is None else 'wss'}://127.0.0.1:{port}/"


@contextlib.contextmanager
def serving(target: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Run a server in a process of its own; it tells its port through a pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(load: Load, certificate: Path | None, pipe: Connection) -> None:
    tls: ssl.SSLContext | None = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe.send(listening.getsockname()[1])
        while True:
            plain, _ = listening.accept()
            with contextlib.suppress(OSError):
                client = plain
                if tls is not None:
                    client = tls.wrap_socket(plain, server_side=True)
                with client:
                    upgrade(client)
                    _send(client, load)
                    while client.recv(4096):
                        pass


def upgrade(client: socket.socket) -> None:
    """Answer the request of a WebSocket client, whatever it asks for."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4096)
    headers = dict(
        line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line
    )
    key = {k.lower(): v for k, v in headers.items()}[b"sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_KEY).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def answer(client: socket.socket, said: bytes) -> bool:
    """Answer pings and closes, all of them short; whether a text was said."""
    begun = False
    while said:
        opcode, end = said[0] & 0x0F, 6 + (said[1] & 0x7F)
        mask, masked, said = said[2:6], said[6:end], said[end:]
        begun = begun or opcode == 1
        reply = {8: 0x88, 9: 0x8A}.get(opcode)
        if reply is not None:
            payload = bytes(b ^ mask[n % 4] for n, b in enumerate(masked))
            client.sendall(bytes((reply, len(payload))) + payload)
    return begun


def _send(client: socket.socket, load: Load) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.recv(1)  # the receiver says with a message that its clock runs
    chunk = frame(load.size_bytes) * load.chunk
    for _ in range(load.messages // load.chunk):
        client.sendall(chunk)
        if load.pause:
            time.sleep(load.pause)
    client.sendall(CLOSE_1000)
