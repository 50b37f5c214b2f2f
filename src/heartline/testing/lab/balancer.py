"""A load balancer that ends WebSocket pings itself: it lives on when the venue is dead.

Accepts at one address and opens a connection to the venue for each client. The venue's
bytes pass as they are; of the client's, pings are answered here. Standard library only.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from heartline.testing.orders import Handler, run
from heartline.testing.rfc6455 import FrameReader, Opcode, frame

from .namespaces import enter

_READ = 65_536


class Balancer:
    def __init__(self, venue: tuple[str, int]) -> None:
        self._venue = venue
        self._tasks: set[asyncio.Task[None]] = set()
        self.pings = 0

    async def serve(
        self, client: asyncio.StreamReader, answers: asyncio.StreamWriter
    ) -> None:
        try:
            venue, orders = await asyncio.open_connection(*self._venue)
        except OSError:
            answers.close()
            return
        back = asyncio.create_task(_copy(venue, answers))
        self._tasks.add(back)
        back.add_done_callback(self._tasks.discard)
        with suppress(OSError, asyncio.IncompleteReadError):
            orders.write(await client.readuntil(b"\r\n\r\n"))
            await self._balance(client, answers)
        orders.close()
        answers.close()

    async def _balance(
        self, client: asyncio.StreamReader, answers: asyncio.StreamWriter
    ) -> None:
        """Read frames of the client to its close frame, or to its end."""
        reader = FrameReader()
        while data := await client.read(_READ):
            for one in reader.feed(data):
                if one.opcode is Opcode.PING:
                    self.pings += 1
                    answers.write(frame(Opcode.PONG, one.payload))
                elif one.opcode is Opcode.CLOSE:
                    answers.write(frame(Opcode.CLOSE, one.payload))
                    return

    async def obey(self, order: str, options: dict[str, Any]) -> object:
        assert order == "counts", order
        return {"pings": self.pings}


async def _copy(venue: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await venue.read(_READ):
            answers.write(data)
    answers.close()


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    enter(options["namespace"])
    balancer = Balancer((options["venue_host"], options["venue_port"]))
    server = await asyncio.start_server(
        balancer.serve, options["host"], options["port"]
    )
    return {"port": server.sockets[0].getsockname()[1]}, balancer.obey


def main(parent: int) -> None:
    run(_begin, parent=parent)
