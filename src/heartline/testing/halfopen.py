"""Make a TCP connection half-open: inbound segments vanish before TCP sees them.

A classic BPF filter that drops everything is attached to one socket. The kernel then
discards each segment for it, acknowledgements, FIN and RST too: `segs_in` of
`TCP_INFO` stands still, and the other end's segments stay unacknowledged and are sent
again. That is what a dead path looks like; a proxy cannot make one, because its own
kernel answers.

| filter on                    | the client sees                             |
|------------------------------|---------------------------------------------|
| its own socket               | inbound blackhole: it sends, hears nothing  |
| the server's accepted socket | outbound blackhole: it hears, is not heard  |
| both                         | blackhole both ways                         |

Linux only (`man 7 socket`, linux/filter.h). The manual asks for no privilege, but new
kernels do for TCP: Linux 6.18 wants CAP_NET_ADMIN over the network namespace (measured:
EPERM without it, UDP sockets go free). `namespace.enter_own_network` gives an ordinary
user that. Standard library only: child processes of the kit import it without site
packages.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Protocol

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
_BPF_RET_K = 0x06


class HasFileno(Protocol):
    """A socket, or a loop's stand-in for one."""

    def fileno(self) -> int: ...


def available() -> str | None:
    """Say why this system cannot do it; None if it can.

    Tried, not guessed: a filter is attached to a fresh socket and taken off.
    """
    if not sys.platform.startswith("linux"):
        return f"socket filters are Linux's, this is {sys.platform}"
    with socket.socket() as trial:
        try:
            drop_inbound(trial)
            restore_inbound(trial)
        except PermissionError:
            return "this system wants CAP_NET_ADMIN for filters on TCP sockets"
        except OSError as error:
            return f"this system refuses socket filters: {error.strerror}"
    return None


def drop_inbound(sock: HasFileno | int) -> None:
    """Let every segment that arrives for this TCP socket vanish from now on.

    What the kernel had taken before can still be read. On a listening socket the
    handshakes vanish, so that dialling it hangs. Closing the socket ends it too.
    Raises `OSError` where the system refuses.
    """
    drop_all = struct.pack("=HBBI", _BPF_RET_K, 0, 0, 0)
    code = ctypes.create_string_buffer(drop_all, len(drop_all))
    program = struct.pack("@HP", 1, ctypes.addressof(code))
    with _duplicate(sock) as twin:
        twin.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def restore_inbound(sock: HasFileno | int) -> None:
    """Let segments through again; the other end's retransmissions then heal the link.

    That takes until its next retransmission, which backs off to 120 s on Linux.
    Does nothing where no filter is attached. Raises `OSError` on a dead socket.
    """
    with _duplicate(sock) as twin:
        try:
            twin.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def _duplicate(sock: HasFileno | int) -> socket.socket:
    """Options live in the kernel's socket, so a second descriptor reaches them.

    It serves uvloop too, whose sockets have a descriptor but no `setsockopt`.
    """
    fd = sock if isinstance(sock, int) else sock.fileno()
    return socket.socket(fileno=os.dup(fd))
