"""Where a stream goes and what it says there, made afresh for every attempt."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import TypeAlias, TypeVar, cast

from heartline.core.items import Cause
from heartline.core.latency import MaxAge
from heartline.errors import HeartlineError, UsageError, WireError
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

    url: Url
    headers: Headers
    on_open: Opening
    heartbeat: Heartbeat | None
    resolver: Resolver
    proxy: str | None
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
            if getattr(self, name) < 1:
                raise UsageError(name, wanted="at least 1", got=getattr(self, name))

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
        if self.venue is not None:
            url, told = await addressed(
                url, self.venue, proxy=self.proxy, ssl_context=self.ssl_context
            )
        headers = await _fresh("headers", self.headers)
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
        if isinstance(messages, str | bytes):
            raise UsageError("on_open", wanted="a sequence of messages", got="one")
        return messages


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
