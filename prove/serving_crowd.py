"""A process of many clients, of which some die at told instants, in told ways."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

from heartline.testing.halfopen import drop_inbound
from heartline.wire.kernel import RESET_ON_CLOSE

from .serving_child import be_child, orders, tell
from .serving_peer import TEXT, Peer, close_frame, frame

AT_ONCE = 50
"""Clients that join side by side."""
TRICKLE = 0.05
"""Seconds between two bytes of a message that never ends."""
NO_FRAME = b"\xff" * 64
DEAF, BLACKHOLED = "hears nothing", "blackholed"
"""The second is the first, and the server's own side of it."""


class Member(Peer):
    """A client of the crowd; it counts what it hears."""

    messages = 0

    def __init__(self) -> None:
        super().__init__()
        self.doomed = False

    def on_message(self, payload: bytes) -> None:
        Member.messages += 1

    def on_gone(self) -> None:
        if not self.doomed and self.upgraded.result() == 101:
            tell(cut=self.address)

    # --- ways to die

    def leave(self) -> None:
        """Without a word: FIN, or RST if something was unread."""
        self.transport.abort()

    def leave_half(self) -> None:
        self.answers = False
        self.transport.write_eof()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    def part(self) -> None:
        """As the protocol wants it."""
        self.transport.write(close_frame(1000))

    def rave(self) -> None:
        self.transport.write(NO_FRAME)

    def freeze(self) -> None:
        """Nothing is read any more; the kernel takes it all until it is full."""
        self.transport.pause_reading()

    def sulk(self) -> None:
        """All is read and nothing answered."""
        self.answers = False

    def trickle(self) -> None:
        """A message that never ends, byte by byte, and nothing else."""
        self.answers = False
        self._drip(frame(TEXT, bytes(10_000)))

    def grow_deaf(self) -> None:
        """The path to it dies: no segment comes through, what it sends does."""
        drop_inbound(self.sock)

    def _drip(self, left: bytes) -> None:
        if left and not self.gone.done():
            self.transport.write(left[:1])
            later = asyncio.get_running_loop().call_later
            later(TRICKLE, self._drip, left[1:])


WAYS: dict[str, Callable[[Member], None]] = {
    "leaves": Member.leave,
    "half-closes": Member.leave_half,
    "resets": Member.reset,
    "close frame": Member.part,
    "no frame": Member.rave,
    "reads nothing": Member.freeze,
    "answers nothing": Member.sulk,
    "trickles": Member.trickle,
    DEAF: Member.grow_deaf,
    BLACKHOLED: Member.grow_deaf,
}


async def crowd(options: dict[str, Any]) -> None:
    """Join, then die as `deaths` has it: `[seconds from "go", number, way]`."""
    members = [Member() for _ in range(options["clients"])]
    for first in range(0, len(members), AT_ONCE):
        lot = members[first : first + AT_ONCE]
        found = await asyncio.gather(*(m.join(options["port"]) for m in lot))
        if set(found) != {101}:
            raise SystemExit(f"crowd: not let in: {sorted(set(found))}")
    tell(joined=[member.address for member in members])
    loop = asyncio.get_running_loop()
    async for order in orders():
        if order["do"] == "go":
            for after, number, way in options["deaths"]:
                loop.call_later(after, _die, members[number], way)
        else:
            tell(messages=Member.messages)


def _die(member: Member, way: str) -> None:
    if member.gone.done():
        return  # it has been cut, which has been told
    member.doomed = True
    address, at = member.address, time.monotonic()
    WAYS[way](member)
    tell(died=address, way=way, at=at)


if __name__ == "__main__":
    be_child(crowd)
