"""One dial: from a URL to an upgraded WebSocket, or a reason why not.

Resolving and connecting are ours (every address is tried, RFC 8305); TLS, proxies
and the upgrade are picows'. Nothing here has a deadline, retries, or logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import picows
from aiohappyeyeballs import (
    start_connection,  # pyright: ignore[reportUnknownVariableType]
)
from picows import (
    WSHandshakeError,
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
)

from heartline.core.events import Stage
from heartline.core.items import Cause
from heartline.errors import WireError
from heartline.wire import deflate
from heartline.wire.address import (
    Endpoint,
    read_proxy_url,
    read_stream_url,
    redirected,
    request_headers,
)
from heartline.wire.failures import Ending, ended, explain, header_of, status_of
from heartline.wire.kernel import duplicate, is_connected
from heartline.wire.resolve import Resolver

STAGGER: Final = 0.25
"""Seconds between attempts at two addresses of one host (RFC 8305 section 5)."""

USER_AGENT: Final = f"heartline/{version('heartline')}"

REDIRECT_LIMIT: Final = 5
"""Redirects followed in one dial."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_NO_DEADLINE: Final = 86_400.0
"""For the TLS handshake, whose deadline is the caller's; asyncio insists on one."""

_CLOSING_PASSES: Final = 100
"""Passes of the loop given to a transport to close a socket that is shut down."""

MakeListener: TypeAlias = Callable[[WSUpgradeRequest, WSUpgradeResponse], WSListener]
OnStage: TypeAlias = Callable[[Stage], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to dial, and how. Its repr holds no secret."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    proxy: str | None = field(repr=False)
    ssl_context: ssl.SSLContext | None
    """None for the system's authorities, with certificate and host name checked."""
    compression: bool
    max_message_bytes: int


async def dial(
    target: Target,
    make_listener: MakeListener,
    *,
    resolver: Resolver,
    on_stage: OnStage,
) -> WSTransport:
    """Connect and upgrade; `make_listener` is called with the accepted upgrade.

    Raises `WireError` for everything that can go wrong on the way, and `UsageError`
    for a URL, proxy or header that cannot be. A `WireError` of `make_listener` ends
    the dial as it is. The caller owns the deadline: cancelled at any point, or
    failed, a dial leaves no socket and no task behind. A listener made by a dial that
    is then cancelled is still told of its end.

    `on_stage` is told each stage as it begins, from the first again after a redirect.
    For ws, UPGRADING begins with the TCP connection; for wss, SECURING does, and
    UPGRADING when TLS is done. The way through a proxy, which picows does not show,
    counts to the stage that begins with the connection to the proxy.

    The transport's `wait_disconnected` raises what the listener's callbacks raised:
    a fault in a listener breaks its link (close code 1011) and is never swallowed.
    """
    endpoint = read_stream_url(target.url)
    proxy = None if target.proxy is None else read_proxy_url(target.proxy)
    headers = request_headers(target.headers, endpoint)
    for _ in range(REDIRECT_LIMIT + 1):
        attempt = _Attempt(
            target, endpoint, proxy, headers, make_listener, resolver, on_stage
        )
        outcome = await attempt.run()
        if isinstance(outcome, WSTransport):
            return outcome
        endpoint = outcome
    raise WireError(Cause.REFUSED, f"more than {REDIRECT_LIMIT} redirects")


class _Attempt:
    """One connection to one endpoint, and the means to undo it.

    A witness, a duplicate of the socket, tells how the connection ended after picows
    has closed its own, and ends it where picows would leave it open: cancelled while
    it waits for the answer to the upgrade, picows forgets its transport.
    """

    def __init__(
        self,
        target: Target,
        endpoint: Endpoint,
        proxy: Endpoint | None,
        headers: Mapping[str, str],
        make_listener: MakeListener,
        resolver: Resolver,
        on_stage: OnStage,
    ) -> None:
        self._target = target
        self._endpoint = endpoint
        self._proxy = proxy
        self._headers = headers
        self._make_listener = make_listener
        self._resolver = resolver
        self._on_stage = on_stage
        self._door = _Door(self)
        self._stage: Stage | None = None
        self._accepted = False
        self._sock: socket.socket | None = None
        self._witness: socket.socket | None = None
        self._fault: Exception | None = None

    async def run(self) -> WSTransport | Endpoint:
        """Return the upgraded transport, or the endpoint of a redirect."""
        failure: Exception | None = None
        try:
            transport = await self._connect()
            if self._accepted:
                self._sock = None  # the transport's from here on
                self._door.attempt = None
                _strip(transport)
                return transport
        except Exception as exc:
            failure = exc
        finally:
            ending = self._ending()
            await self._end()
        # Raised out here, so that what picows raised does not become its context.
        return self._judge(failure, ending)

    async def _connect(self) -> WSTransport:
        target, endpoint, proxy = self._target, self._endpoint, self._proxy
        options: dict[str, Any] = {}
        if endpoint.secure:
            options["ssl_handshake_timeout"] = _NO_DEADLINE
        transport, _ = await picows.ws_connect(  # pyright: ignore[reportUnknownMemberType]
            self._door.listen,
            endpoint.url,
            ssl_context=(
                target.ssl_context or _default_context() if endpoint.secure else None
            ),
            proxy=None if proxy is None else proxy.proxy_url,
            proxy_ssl_context=(
                _default_context() if proxy is not None and proxy.secure else None
            ),
            socket_factory=self._open_socket,
            extra_headers=self._door,
            websocket_handshake_timeout=None,
            disconnect_on_exception=True,
            enable_auto_ping=False,
            enable_auto_pong=False,
            max_frame_size=_frame_limit(target.max_message_bytes),
            max_redirects=0,
            read_buffer_init_size=_READ_BUFFER_BYTES,
            logger_name=_SILENT,
            **options,
        )
        return transport

    async def _open_socket(self, _: object) -> socket.socket:
        self._enter(Stage.RESOLVING)
        peer = self._peer
        addresses = await self._resolver.resolve(peer.host, peer.port)
        self._enter(Stage.CONNECTING)
        sock = await start_connection(addresses, happy_eyeballs_delay=STAGGER)
        self._sock = sock
        self._witness = duplicate(sock)
        if not is_connected(sock):
            # picows would connect it anew, by asyncio's own resolver.
            sock.close()
            raise ConnectionResetError
        self._enter(Stage.SECURING if self._endpoint.secure else Stage.UPGRADING)
        return sock

    def announced(self) -> list[tuple[str, str]]:
        """The lines of the request, which is going out now."""
        self._enter(Stage.UPGRADING)
        lines = list(self._headers.items())
        if not any(name.lower() == "user-agent" for name in self._headers):
            # Some firewalls in front of venues refuse who does not say its name.
            lines.append(("User-Agent", USER_AGENT))
        if self._target.compression:
            lines.append(("Sec-WebSocket-Extensions", deflate.OFFER))
        return lines

    def _enter(self, stage: Stage) -> None:
        if stage is not self._stage:
            self._stage = stage
            self._on_stage(stage)

    def listen(
        self, request: WSUpgradeRequest, response: WSUpgradeResponse
    ) -> WSListener:
        """The listener of the accepted upgrade."""
        extended = "Sec-WebSocket-Extensions" in response.headers
        if extended and not self._target.compression:
            raise WireError(
                Cause.PROTOCOL, "the server agrees to an extension nobody offered"
            )
        try:
            listener = self._make_listener(request, response)
        except Exception as exc:
            self._fault = exc
            raise
        self._accepted = True
        return listener

    @property
    def _peer(self) -> Endpoint:
        """What is connected to: the proxy, if there is one."""
        return self._proxy or self._endpoint

    @property
    def _where(self) -> str:
        """The peer, for people."""
        prefix = "" if self._proxy is None else "proxy "
        return prefix + self._peer.authority

    def _judge(self, failure: Exception | None, ending: Ending) -> Endpoint:
        """Turn a failure into the next endpoint, or raise what it means."""
        if failure is None:
            raise ended(self._where, ending)
        if self._fault is not None:
            raise self._fault
        if isinstance(failure, WSHandshakeError):
            status, location = status_of(failure), header_of(failure, "Location")
            if status in _REDIRECTS and location is not None:
                return redirected(
                    self._endpoint,
                    location,
                    status=status,
                    carries_headers=bool(self._headers),
                )
        meaning = explain(failure, where=self._where, ending=ending)
        raise failure if meaning is None else meaning

    def _ending(self) -> Ending:
        if self._witness is None:
            return Ending.NONE
        return Ending.CLOSED if is_connected(self._witness) else Ending.RESET

    async def _end(self) -> None:
        """End a connection that came to nothing, and see its descriptor closed.

        The descriptor is the transport's to close. Closing politely may take half a
        minute (TLS waits for the peer's farewell); the end of both directions cuts
        that short, to a few passes of the loop.
        """
        sock, witness = self._sock, self._witness
        if witness is None:
            return
        self._witness = None
        with witness:
            if sock is None:
                return
            with contextlib.suppress(OSError):  # it has ended already
                witness.shutdown(socket.SHUT_RDWR)
        for _ in range(_CLOSING_PASSES):
            if sock.fileno() < 0:
                return
            await asyncio.sleep(0)


_READ_BUFFER_BYTES = 2048
"""What picows reads into until a `PlainReader` is in its place; it grows as needed."""


class _Door:
    """All that picows keeps of an attempt while the link lives; empty once it does.

    As headers it says when they are written: TLS is up, the request is going out.
    """

    __slots__ = ("attempt",)

    def __init__(self, attempt: _Attempt) -> None:
        self.attempt: _Attempt | None = attempt

    def __iter__(self) -> Iterator[tuple[str, str]]:
        assert self.attempt is not None
        return iter(self.attempt.announced())

    def listen(
        self, request: WSUpgradeRequest, response: WSUpgradeResponse
    ) -> WSListener:
        assert self.attempt is not None
        return self.attempt.listen(request, response)


def _strip(transport: WSTransport) -> None:
    """Clear the headers of an upgrade that was judged: nobody reads them again."""
    for said in (transport.request, transport.response):
        said.headers.clear()


def _frame_limit(max_message_bytes: int) -> int:
    """Bound one frame. A message that does not compress grows a little.

    By less than 1/8 and 64 bytes at zlib's worst settings (deflateBound); whoever
    assembles messages holds them to their exact limit.
    """
    return max_message_bytes + (max_message_bytes >> 3) + 64


@functools.cache
def _default_context() -> ssl.SSLContext:
    """Load the system's authorities once; it takes longer than many a round trip."""
    return ssl.create_default_context()


def _silent_logger() -> logging.Logger:
    """Make a logger nobody can turn on: picows logs URLs and whole requests."""
    logger = logging.Logger("heartline.wire.silent", level=logging.CRITICAL + 1)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


_SILENT: Final = logging.LoggerAdapter(_silent_logger(), {})
"""Of a plain logger picows would make one more for each connection."""
