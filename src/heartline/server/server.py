"""A server of streams: who is connected, when each is looked at, what is published.

picows accepts and upgrades; whoever passes the gate becomes a `Client`. All clients
share one wheel, and the loop one timer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import picows
from picows import WSListener, WSUpgradeRequest, WSUpgradeResponseWithListener

from heartline.core.demands import demand_text
from heartline.core.events import Event, Lost
from heartline.core.items import Cause, Message
from heartline.errors import UsageError
from heartline.wire.kernel import harden
from heartline.wire.resume import LONGEST_NAME, TermsFrame, encode

from .audience import Audience, Channel
from .client import Client
from .drain import Leaving, part
from .gate import Answer, refuse
from .hub import INTERNAL_ERROR, Handlers
from .limits import descriptors_for_clients
from .outgoing import outgoing
from .pace import Pace
from .plan import Plan, ServerStatus
from .report import report
from .rounds import Rounds
from .talk import converse, subscribe

READ_BUFFER_BYTES = 2048
"""What picows begins with for each client; it grows with what comes."""


class Server:
    """Made by `heartline.serve`, used as `async with`; one use."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.limits = plan.limits
        self.pace = Pace(plan.liveness)
        self.clock = clock
        self.epoch = ""
        """Names the numbering of this server's messages; another with each run, none
        before it: two processes may come of one that made the server."""
        self._clients: dict[int, Client] = {}
        self._everyone = Audience()
        self._channels: dict[str, Channel] = {}
        self._rounds: Rounds | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._signals: list[int] = []
        self._numbered = self._joined = self._said = 0
        self._refused: Counter[int] = Counter()
        self._ended: Counter[Cause] = Counter()
        self.bound = self.pace.quiet_bound
        """Seconds of silence after which a client is dropped that is near and only
        answers beats; `Client.bounds` has that of each, as things stand."""

    def __repr__(self) -> str:
        listens = self._server is not None and bool(self._server.sockets)
        where = self.url if listens else "closed"
        return f"<heartline.Server {where} {len(self._clients)} clients>"

    # --- its life -----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._loop is not None:
            raise UsageError("server", wanted="one use of `async with`", got="another")
        plan = self.plan
        self.epoch = os.urandom(6).hex()
        self._loop = asyncio.get_running_loop()
        self._rounds = Rounds(self._loop, self.clock, grain=self.pace.grain)
        options: dict[str, Any] = {}
        if plan.ssl_context is not None:
            options["ssl_handshake_timeout"] = plan.limits.upgrade
        self._server = await picows.ws_create_server(  # pyright: ignore[reportUnknownMemberType]
            self._listen,
            plan.host,
            plan.port,
            ssl=plan.ssl_context,
            websocket_handshake_timeout=plan.limits.upgrade,
            enable_auto_pong=False,
            max_frame_size=plan.limits.message_bytes,
            read_buffer_init_size=READ_BUFFER_BYTES,
            logger_name=_SILENT,
            backlog=4096,
            **options,
        )
        for sock in self._server.sockets:
            # Once, for all that will be accepted: eight calls of the system less each.
            harden(sock, keepalive_idle=plan.liveness.kernel_interval)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(
        self, *, drain: float = 0.0, go: str | None = None, reason: str = "restart"
    ) -> None:
        """Take nobody in, send the clients away within `drain` seconds, and end.

        Clients are closed with 1012, evenly over that time, so that they do not come
        back all at once. Those that speak `heartline.v1` are told at the beginning;
        `go` is the URL where they are to go, all others find it as the reason of their
        close. Whoever is left after `Limits.close` more is dropped.
        """
        if self._server is not None:
            self._begin_leaving(Leaving(within=drain, go=go, reason=reason))
        if self._leaving is not None:
            await asyncio.shield(self._leaving)

    def drain_on(
        self, *signals: int, drain: float = 5.0, go: str | None = None
    ) -> None:
        """Close that way at a signal, SIGTERM if none is named; see `wait_closed`."""
        if self._loop is None:
            raise UsageError("drain_on", wanted="a server that listens", got="none")
        leaving = Leaving(within=drain, go=go, reason="shutdown")
        for number in signals or (signal.SIGTERM,):
            self._loop.add_signal_handler(number, self._begin_leaving, leaving)
            self._signals.append(number)

    async def wait_closed(self) -> None:
        """Wait until somebody closes the server, or a signal does."""
        while self._leaving is None:
            if self._closed is None:
                self._closed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._closed)
        await asyncio.shield(self._leaving)

    def _begin_leaving(self, leaving: Leaving) -> None:
        assert self._loop is not None
        if self._leaving is None:
            self._leaving = self._loop.create_task(self._leave(leaving))

    async def _leave(self, leaving: Leaving) -> None:
        assert self._loop is not None
        assert self._server is not None
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self._server.close()
        try:
            await part(leaving, list(self.clients), close=self.limits.close)
            if isinstance(self.plan.hub, Handlers):
                await self.plan.hub.ended(within=self.limits.close)
        finally:
            for client in list(self.clients):
                client.abort(leaving.reason)
            for number in self._signals:
                self._loop.remove_signal_handler(number)
            if self._rounds is not None:
                self._rounds.stop()

    # --- for its program ----------------------------------------------------------

    @property
    def port(self) -> int:
        """The port it listens on; of several addresses, the first one's."""
        if self._server is None or not self._server.sockets:
            raise UsageError("server", wanted="a server that listens", got="none")
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        host = self.plan.host if isinstance(self.plan.host, str) else self.plan.host[0]
        scheme = "ws" if self.plan.ssl_context is None else "wss"
        where = f"[{host}]" if ":" in host else host
        return f"{scheme}://{where}:{self.port}/"

    @property
    def clients(self) -> Iterator[Client]:
        """Who is connected; take a list of it if you close some."""
        return iter(self._clients.values())

    @property
    def status(self) -> ServerStatus:
        return ServerStatus(
            clients=len(self._clients),
            slow=sum(client.waiting > 0 for client in self._clients.values()),
            channels=len(self._channels),
            draining=self._leaving is not None,
            joined=self._joined,
            refused=dict(self._refused),
            ended=dict(self._ended),
        )

    def publish(self, channel: str, data: object) -> int:
        """Send `data` to whoever reads `channel`; the offset it got.

        `str` goes out as text and `bytes` as a binary message; anything else as JSON,
        `msgspec.Raw` as it is. Clients of `heartline.v1` get it inside a frame. Never
        waits: it is encoded once, and for slow clients it waits with them.
        """
        return self.channel(channel).publish(data, now=self.clock())

    def broadcast(self, data: object) -> int:
        """Send `data` to all clients, unnumbered; how many there are."""
        self._said += 1
        message = outgoing(None, self._said, data, now=self.clock())
        self._everyone.publish(message)
        return len(self._everyone)

    def subscribe(
        self,
        client: Client,
        channel: str,
        *,
        epoch: str | None = None,
        offset: int | None = None,
    ) -> None:
        """Let `client` read `channel`, on from `offset` of `epoch` if that is given.

        For clients that do not ask by themselves. A plain client is not told what it
        cannot have. Raises `UsageError` with the reason if it cannot; a client that has
        gone is no error.
        """
        refused = subscribe(self, client, channel, epoch, offset, now=self.clock())
        if refused is not None and client.lost is None:
            raise UsageError("subscribe", wanted="a channel to read", got=refused)

    def unsubscribe(self, client: Client, channel: str) -> None:
        """Send it nothing more of `channel`; what waits for it still goes out."""
        found = self._channels.get(channel)
        if found is not None:
            found.audience.remove(client)

    # --- what its clients and their conversations use -----------------------------

    def channel(self, name: str) -> Channel:
        found = self._channels.get(name)
        if found is None:
            demand_text("channel", name)
            if not 0 < len(name) <= LONGEST_NAME:
                wanted = f"a name of 1 to {LONGEST_NAME} characters"
                raise UsageError("channel", wanted=wanted, got=name)
            found = Channel(name, self.plan.resume, left=self.forget)
            self._channels[name] = found
        return found

    def forget(self, channel: Channel) -> None:
        if channel.unused:
            self._channels.pop(channel.name, None)

    def may_subscribe(self, client: Client, channel: str) -> bool:
        try:
            verdict: object = self.plan.hub.may_subscribe(client, channel)
            if not isinstance(verdict, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
                # A coroutine that nobody awaited is true, and would let all in.
                got = type(verdict).__name__
                raise UsageError("may_subscribe", wanted="True or False", got=got)
            return verdict
        except Exception as error:
            self._failed(client, error)
            return False

    def reads(self, client: Client, channel: str) -> bool:
        found = self._channels.get(channel)
        return found is not None and client in found.audience

    def subscribing(self, client: Client, channel: str) -> None:
        self._call(client, lambda: self.plan.hub.on_subscribe(client, channel))

    def joined(self, client: Client) -> None:
        self._joined += 1
        self._clients[client.number] = client
        self._everyone.add(client)
        if client.speaks:
            client.say(self._terms())
        self._call(client, lambda: self.plan.hub.on_join(client))

    def said(self, client: Client, data: list[str | bytes], now: float) -> None:
        hub = self.plan.hub

        def hand(message: Message) -> None:
            self._call(client, lambda: hub.on_message(client, message))

        for message in data:
            if client.lost is not None:
                return
            if client.speaks:
                converse(self, client, message, hand=hand, now=now)
            else:
                hand(Message(message, now, None, client.number))

    def left(self, client: Client, lost: Lost) -> None:
        self._clients.pop(client.number, None)
        self._ended[lost.cause] += 1
        self.told(client, lost)
        self._call(client, lambda: self.plan.hub.on_leave(client, lost))

    def told(self, client: Client, event: Event) -> None:
        watcher = self.plan.on_event
        if watcher is not None:
            try:
                watcher(client, event)
            except Exception as error:
                report("on_event", error)

    def hasten(self, client: Client, due: float) -> None:
        assert self._rounds is not None
        self._rounds.hasten(client, due)

    def _call(self, client: Client, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._failed(client, error)

    def _failed(self, client: Client, error: Exception) -> None:
        report("the hub", error)
        client.close(INTERNAL_ERROR, "the server's program failed")

    # --- who comes in -------------------------------------------------------------

    def _terms(self) -> bytes:
        plan = self.plan
        return encode(
            TermsFrame(
                interval=plan.liveness.ping_every,
                bound=round(self.bound, 3),
                epoch=self.epoch,
                window=plan.resume.window if plan.resume.messages else 0.0,
                messages=plan.resume.messages,
            )
        )

    def _listen(
        self, upgrade: WSUpgradeRequest
    ) -> WSUpgradeResponseWithListener | WSListener | None:
        try:
            verdict = self.plan.gate.page(upgrade) or self._judge(upgrade)
        except Exception as error:
            # picows would tell the client what went wrong; it may hold a secret.
            report("a callable of serve", error)
            verdict = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "no answer")
        if isinstance(verdict, Answer):
            if verdict.status >= HTTPStatus.BAD_REQUEST:
                self._refused[int(verdict.status)] += 1
            return WSUpgradeResponseWithListener(refuse(verdict), None)
        return verdict

    def _judge(
        self, upgrade: WSUpgradeRequest
    ) -> WSUpgradeResponseWithListener | Answer:
        most = min(self.limits.connections, descriptors_for_clients())
        full = len(self._clients) >= most
        if full or self._leaving is not None:
            body = "full" if full else "going away"
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, body, {"Retry-After": "1"})
        passed = self.plan.gate.judge(upgrade)
        if isinstance(passed, Answer):
            return passed
        slow = self.plan.slow_for(passed.request)
        self._numbered += 1
        client = Client(
            self._numbered,
            self,
            passed.request,
            speaks=passed.speaks,
            slow=slow,
        )
        listener = client.listener(passed.inflater)
        return WSUpgradeResponseWithListener(passed.response, listener)


def _silent_logger() -> logging.Logger:
    """Make a logger nobody can turn on: picows logs requests, and tokens with them."""
    logger = logging.Logger("heartline.server.silent", level=logging.CRITICAL + 1)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


_SILENT = logging.LoggerAdapter(_silent_logger(), {})
"""As an adapter, because of a plain logger picows makes another for each client."""
