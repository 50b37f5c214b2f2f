"""What the operating system knows of a connection: read here, judged elsewhere.

Linux gives `TCP_INFO`, macOS `TCP_CONNECTION_INFO` (`kernel_darwin.py`); elsewhere
there is no kernel evidence. No option used here needs a privilege.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from array import array
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from heartline.core.evidence import Evidence, Kernel
from heartline.wire.kernel_darwin import DarwinReader

if sys.platform != "win32":
    import fcntl
    import termios

KEEPALIVE_COUNT: Final = 30
"""Unanswered probes before the kernel gives up: far beyond any bound of ours."""

USER_TIMEOUT: Final = 30.0
"""Seconds the kernel keeps trying to deliver. A backstop only: with it near the
keepalive interval, one lost probe kills an idle link."""

_TCP_INFO: Final = struct.Struct("=BxBB20xI16xI4xII8xII24xI16xQQ4xIII72xII")
"""The fields we use of struct tcp_info (linux/tcp.h), which only ever grows:
0 state, 2 retransmits, 3 probes, 24 unacked, 44 last_data_sent, 52 last_data_recv and
56 last_ack_recv (ms), 68 rtt and 72 rttvar (us), 100 total_retrans, 120 bytes_acked,
128 bytes_received, 140 segs_in, 144 notsent_bytes, 148 min_rtt (us), 224 rcv_ooopack,
228 snd_wnd."""

_USABLE_SIZE: Final = 144
"""Up to and with `segs_in`, Linux 4.2. What an older kernel lacks reads as zero."""

_TCP_CLOSE: Final = 7
"""The state of a connection that was reset or timed out: its figures say nothing."""

_UNKNOWN_RTT: Final = 0xFFFFFFFF


class SocketLike(Protocol):
    """What asyncio, uvloop and aiofastnet give for a transport's socket."""

    def fileno(self) -> int: ...


_Reader: TypeAlias = Callable[[socket.socket, int, "array[int]"], Kernel | None]


def harden(sock: SocketLike, *, keepalive_idle: int) -> None:
    """Send at once, let the kernel probe an idle link, and bound its patience.

    `keepalive_idle` is whole seconds, at least 1, before the first probe and between
    probes. The kernel gives up after 30 s, or ten intervals if that is longer.
    Options the system does not have are left out; a connection that is gone already
    is left as it is. Raises `OSError` for a value the system does not take.
    """
    patience = max(USER_TIMEOUT, 10.0 * keepalive_idle)
    options = (
        ("TCP_NODELAY", 1),
        ("TCP_KEEPIDLE", keepalive_idle),
        ("TCP_KEEPALIVE", keepalive_idle),  # the name of TCP_KEEPIDLE on macOS
        ("TCP_KEEPINTVL", keepalive_idle),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", int(patience * 1000)),
    )
    if sock.fileno() < 0:
        return
    with duplicate(sock) as own:
        try:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in options:
                option = getattr(socket, name, None)
                if option is not None:
                    own.setsockopt(socket.IPPROTO_TCP, option, value)
        except OSError:
            if is_connected(own):
                raise


class KernelEyes:
    """Reads the evidence of one connection, cheaply and without ever raising.

    Holds a duplicate of the socket: the same plain object on every event loop, and
    good for a last look after the transport has closed its own. Whoever makes it
    must `close` it, or the connection stays open in the kernel.
    """

    __slots__ = ("_count", "_read", "_sock", "buffered")

    def __init__(self, sock: SocketLike, transport_buffered: Callable[[], int]) -> None:
        """Take a duplicate of `sock`; raises `OSError` if it is closed already.

        `transport_buffered` says how many bytes the transport has yet to write.
        """
        self.buffered = transport_buffered
        self._sock = duplicate(sock)
        self._count = array("i", [0])
        self._read = _system_reader()

    def read(self) -> Evidence:
        """Look at the connection as it is now.

        After `close`, and once the connection was reset or has timed out, there is
        no kernel evidence in it.
        """
        sock = self._sock
        try:
            unread = _unread(sock, self._count)
            kernel = self._read(sock, self.buffered(), self._count)
        except (OSError, ValueError):  # ValueError: closed, the descriptor is -1
            return _NOTHING
        return Evidence(kernel, unread)

    def fileno(self) -> int:
        """The descriptor of our duplicate; -1 once closed."""
        return self._sock.fileno()

    def was_reset(self) -> bool:
        """Whether the connection ended by RST or by timing out, not by FIN."""
        return self._sock.fileno() >= 0 and not is_connected(self._sock)

    def close(self) -> None:
        """Let go of the connection."""
        self._sock.close()


_NOTHING: Final = Evidence()
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def duplicate(sock: SocketLike) -> socket.socket:
    """Make a plain socket object of our own for the same connection."""
    return socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)


def drop(transport: asyncio.WriteTransport) -> None:
    """Abort the connection with a RST, also when it is closed already, untold as yet.

    Without the RST the kernel would go on for minutes, trying to deliver what it still
    holds to a peer that is gone.
    """
    with (
        contextlib.suppress(OSError),
        duplicate(transport.get_extra_info("socket")) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


def is_connected(sock: socket.socket) -> bool:
    """Tell a connection, half closed or whole, from one that was reset or never was.

    The kernel forgets the peer's address with a reset, not with an orderly end.
    """
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


if sys.platform == "win32":

    def _unread(sock: socket.socket, count: array[int]) -> int:
        return 0

else:

    def _unread(sock: socket.socket, count: array[int]) -> int:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
        return count[0]


def _system_reader() -> _Reader:
    """Choose how this system is read; what it takes last is scratch for ioctl."""
    if sys.platform == "linux":
        return _read_linux
    if sys.platform == "darwin":
        reader = DarwinReader()
        return lambda sock, buffered, _: reader(sock, buffered)
    return _read_nothing


def _read_nothing(
    sock: socket.socket, buffered: int, count: array[int]
) -> Kernel | None:
    return None


if sys.platform == "linux":

    def _read_linux(
        sock: socket.socket, buffered: int, count: array[int]
    ) -> Kernel | None:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        size = len(raw)
        if size < _TCP_INFO.size:
            raw = raw.ljust(_TCP_INFO.size, b"\0")
        (
            state,
            retransmits,
            probes,
            unacked,
            sent_age,
            data_age,
            ack_age,
            rtt,
            rttvar,
            total_retransmits,
            acked,
            received,
            segments_in,
            unsent,
            min_rtt,
            out_of_order,
            window,
        ) = _TCP_INFO.unpack_from(raw)
        # A sandbox that imitates Linux may answer with zeros (gVisor does).
        if size < _USABLE_SIZE or not segments_in or state == _TCP_CLOSE:
            return None
        outstanding = buffered
        if unacked or unsent or buffered:
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
            outstanding += count[0]
        return Kernel(
            segments_in,
            (data_age if data_age < ack_age else ack_age) / 1e3,
            unacked,
            outstanding,
            unsent + buffered,
            acked,
            received,
            retransmits,
            total_retransmits,
            probes,
            rtt / 1e6,
            rttvar / 1e6,
            (rtt if min_rtt == _UNKNOWN_RTT else min_rtt) / 1e6,
            window if size >= _TCP_INFO.size else None,
            out_of_order,
            sent_age / 1e3,
        )
