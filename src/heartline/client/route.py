"""Where a stream goes and what it says there, made afresh for every attempt."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import TypeAlias, TypeVar, cast

from heartline.core.demands import demand_whole
from heartline.core.items import Cause
from heartline.core.latency import MaxAge
from heartline.errors import HeartlineError, UsageError, WireError
from heartline.wire.address import demand_headers, demand_one_word
from heartline.wire.dial import Target
from heartline.wire.resolve import Resolver

from .account import Restore
from .contract import Venue
from .heartbeat import Heartbeat
from .resuming import Resuming
from .token_call import addressed

T = TypeVar("T")
Url: TypeAlias = str | Callable[[], str | Awaitable[str]]
Headers: TypeAlias = (
    Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
)
Opening: TypeAlias = (
    Sequence[str | bytes]
    | Callable[[], Sequence[str | bytes] | Awaitable[Sequence[str | bytes]]]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The other end, as the user described it."""

    url: Url = field(repr=False)
    headers: Headers = field(repr=False)
    on_open: Opening = field(repr=False)
    heartbeat: Heartbeat | None
    resolver: Resolver
    proxy: str | None = field(repr=False)
    ssl_context: SSLContext | None
    compression: bool
    max_message_bytes: int
    outbox_limit_bytes: int
    contract: Venue | Resuming | None = None
    """What its channels are asked for by; None of a stream without any."""
    restore: tuple[Restore, ...] = ()
    max_age: MaxAge | None = None

    def __post_init__(self) -> None:
        for name in ("outbox_limit_bytes", "max_message_bytes"):
            value = getattr(self, name)
            demand_whole(name, value)
            if value < 1:
                raise UsageError(name, wanted="at least 1", got=value)
        if not callable(getattr(self.resolver, "resolve", None)):
            got = type(self.resolver).__name__
            raise UsageError("resolver", wanted="a Resolver or None", got=got)
        if not callable(self.on_open):
            _check_opening(self.on_open)
        if not callable(self.headers):
            _check_headers(self.headers)

    @property
    def syncs(self) -> bool:
        said = callable(self.on_open) or len(self.on_open) > 0
        return said or self.contract is not None or len(self.restore) > 0

    @property
    def venue(self) -> Venue | None:
        return self.contract if isinstance(self.contract, Venue) else None

    @property
    def resumes(self) -> Resuming | None:
        """The channels of a server that speaks the sub-protocol."""
        return self.contract if isinstance(self.contract, Resuming) else None

    async def target(self) -> tuple[Target, dict[str, object]]:
        """Ask for the URL and headers of this attempt; raises `WireError`.

        Tokens expire: what was good for the first dial may be refused on the next.
        With it come the variables that a venue told on the way.
        """
        url, told = await _fresh("url", self.url), dict[str, object]()
        if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError("url", wanted="str", got=type(url).__name__)
        demand_one_word("url", url)
        if self.venue is not None:
            url, told = await addressed(
                url, self.venue, proxy=self.proxy, ssl_context=self.ssl_context
            )
        headers = await _fresh("headers", self.headers)
        _check_headers(headers)
        if self.resumes is not None:
            url = self.resumes.moved(url, carries_headers=bool(headers))
            headers = self.resumes.offering(headers)
        target = Target(
            url=url,
            headers=headers,
            proxy=self.proxy,
            ssl_context=self.ssl_context,
            compression=self.compression,
            max_message_bytes=self.max_message_bytes,
        )
        return target, told

    async def opening(self) -> Sequence[str | bytes]:
        """What to send on open; raises `WireError`."""
        messages = await _fresh("on_open", self.on_open)
        _check_opening(messages)
        return messages


def _check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        got = type(headers).__name__
        raise UsageError("headers", wanted="a mapping", got=got)
    for part in itertools.chain(*cast("Mapping[object, object]", headers).items()):
        if not isinstance(part, str):
            got = type(part).__name__
            raise UsageError("headers", wanted="names and values of str", got=got)
    demand_headers(cast("Mapping[str, str]", headers))


def _check_opening(messages: object) -> None:
    wanted = "a sequence of messages"
    if isinstance(messages, str | bytes):
        raise UsageError("on_open", wanted=wanted, got="one")
    if not isinstance(messages, Sequence):
        raise UsageError("on_open", wanted=wanted, got=type(messages).__name__)
    for message in cast("Sequence[object]", messages):
        if not isinstance(message, str | bytes):
            wanted, got = "messages of str or bytes", type(message).__name__
            if callable(message):
                wanted += ", or one callable that makes all of them"
            raise UsageError("on_open", wanted=wanted, got=got)


async def _fresh(name: str, source: T | Callable[[], T | Awaitable[T]]) -> T:
    """Call what is callable. A callable that fails is a failed attempt, not a crash.

    The error's text stays out of the reason: it may hold the token it was asked for.
    """
    if not callable(source):
        return source
    try:
        made = source()
        return cast(T, await made if inspect.isawaitable(made) else made)
    except HeartlineError:
        raise
    except Exception as error:
        reason = f"{name}: the callable raised {type(error).__name__}"
        raise WireError(Cause.CLOSED_BY_US, reason) from None
