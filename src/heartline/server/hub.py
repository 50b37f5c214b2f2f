"""What a server's own program does about its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeAlias

from heartline.core.events import Lost
from heartline.core.items import Message

from .client import Client
from .reading import Reading
from .report import report

INTERNAL_ERROR = 1011

Handler: TypeAlias = Callable[[Client], Awaitable[None]]


class Hub:
    """Derive from it, and override what you need. Called in the read path: be quick.

    What it raises goes to the loop's exception handler and costs that client its
    connection (1011), no other.
    """

    CALLED: ClassVar = (
        "on_join",
        "on_message",
        "on_leave",
        "may_subscribe",
        "on_subscribe",
    )

    def on_join(self, client: Client) -> None:
        """A client is connected: send to it, subscribe it, remember it."""

    def on_message(self, client: Client, message: Message) -> None:
        """A client said something. JSON of `heartline.v1` comes as its text."""

    def on_leave(self, client: Client, lost: Lost) -> None:
        """A client is gone, and why; the last that is told of it."""

    def may_subscribe(self, client: Client, channel: str) -> bool:
        """Whether a client of `heartline.v1` gets the channel it asks for."""
        return True

    def on_subscribe(self, client: Client, channel: str) -> None:
        """A client gets a channel; what it is sent now comes before `subscribed`."""


class Handlers(Hub):
    """A task for each client, which reads what it says; its end closes the client."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: dict[Client, asyncio.Task[None]] = {}

    def on_join(self, client: Client) -> None:
        client.reading = Reading(client.resume_reading)
        task = asyncio.get_running_loop().create_task(self._run(client))
        self._tasks[client] = task
        task.add_done_callback(lambda _: self._tasks.pop(client, None))

    def on_message(self, client: Client, message: Message) -> None:
        if client.reading is not None and not client.reading.put(message):
            client.pause_reading()

    def on_leave(self, client: Client, lost: Lost) -> None:
        if client.reading is not None:
            client.reading.end()

    async def ended(self, *, within: float) -> None:
        """Let the handlers end by themselves, for at most so many seconds."""
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=within)

    async def _run(self, client: Client) -> None:
        try:
            await self._handler(client)
        except Exception as error:
            report("a handler", error)
            client.close(INTERNAL_ERROR, "the handler failed")
        else:
            client.close()
