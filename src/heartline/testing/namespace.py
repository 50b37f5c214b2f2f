"""A network of our own: a loopback nobody else is on, and full rights over it.

Linux's answer to faults that need privilege. An unprivileged process may enter a user
namespace and, inside it, a network namespace whose administrator it then is.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ = "=16sh22x"


def enter_own_network() -> None:
    """Move this process, and all it will start, to a network with only a loopback.

    There is no way back, and no way out to any other address: for a process whose
    whole purpose is a test or a demonstration. It must be single-threaded still;
    sockets opened before stay in the old network. We appear as root inside, with the
    rights on files we had.

    Raises `OSError` where the system forbids it (user namespaces switched off, a
    container's policy, more than one thread).
    """
    if not sys.platform.startswith("linux"):
        raise OSError(f"network namespaces are Linux's, this is {sys.platform}")
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"a network of our own: {os.strerror(number)}")
    # As root: a program started by any other user would lose the rights we gained.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _raise_loopback()


def _raise_loopback() -> None:
    import fcntl  # not on every system this file is imported on

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack(_IFREQ, b"lo", 0)
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        _, flags = struct.unpack(_IFREQ, answer)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack(_IFREQ, b"lo", flags | _IFF_UP))
