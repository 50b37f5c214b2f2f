"""A link in userspace: two TUN devices and a process that passes packets between them.

For what a kernel without `netem` cannot do: it delays, holds single packets back so
that others overtake them, and lets nothing through for the length of a spike. Standard
library only.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import struct
from typing import Any

from heartline.testing.orders import Handler, run

from .namespaces import enter

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_LONGEST = 65_536
_MOST_AT_ONCE = 64
_APART = 1e-6


class TunLink:
    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._ends: list[int] = []
        self._delay = 0.0
        self._overtaken = 0.0
        self._held_for = 0.0
        self._shut_until = self._last_at = 0.0
        self.passed = self.held = self.spikes = 0

    def attach(self, name: str, device: str) -> None:
        """Make one end in a namespace. This process stays there."""
        enter(name)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("=16sH22x", device.encode(), _IFF_TUN_NO_PI)
        fcntl.ioctl(fd, _TUNSETIFF, request)
        self._ends.append(fd)

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        one, other = self._ends
        loop.add_reader(one, self._pass, one, other)
        loop.add_reader(other, self._pass, other, one)

    def _pass(self, source: int, sink: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_AT_ONCE):
            try:
                packet = os.read(source, _LONGEST)
            except BlockingIOError:
                return
            self.passed += 1
            due = max(loop.time() + self._delay, self._shut_until)
            if self._overtaken and self._dice.random() < self._overtaken:
                due += self._dice.uniform(0.2, 1.0) * self._held_for
                self.held += 1
            else:
                # Timers of one instant come in no order; packets that wait must.
                due = self._last_at = max(due, self._last_at + _APART)
            loop.call_at(due, _write, sink, packet)

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        match order:
            case "set":
                self._delay = options["delay"]
                self._overtaken = options["overtaken"]
                self._held_for = options["held_for"]
            case "spike":
                self.spikes += 1
                now = asyncio.get_running_loop().time()
                self._shut_until = now + options["seconds"]
            case _:
                assert order == "counts", order
        return {"passed": self.passed, "held": self.held, "spikes": self.spikes}


def _write(sink: int, packet: bytes) -> None:
    try:
        os.write(sink, packet)
    except OSError as error:
        # The interface is down or going away, or its queue is full: packets are lost.
        if error.errno not in (errno.EIO, errno.EAGAIN, errno.ENOBUFS, errno.EINVAL):
            raise


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    link = TunLink(options["seed"])
    for name in options["namespaces"]:
        link.attach(name, options["device"])
    link.open()
    return None, link.obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
