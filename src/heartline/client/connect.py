"""`heartline.connect`: everything a user may say about a stream, and its defaults."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from types import NoneType
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from heartline.core.backoff import Backoff
from heartline.core.demands import Kinds, demand_kinds
from heartline.core.detector import Liveness
from heartline.core.events import Event
from heartline.core.inbox import Inbox
from heartline.core.latency import MaxAge
from heartline.core.rollover import Lifetime
from heartline.core.subscriptions import Freshness
from heartline.core.terms import Dialling, Terms
from heartline.errors import UsageError
from heartline.wire.address import (
    demand_one_word,
    read_proxy_url,
    read_stream_url,
)
from heartline.wire.resolve import Resolver, SystemResolver

from .account import Restore, routes_of
from .ages import limit_of
from .contract import Venue
from .driver import Driver
from .heartbeat import Heartbeat
from .observers import Observers
from .resuming import Resuming
from .route import Headers, Opening, Route, Url
from .stream import Stream

PROXY_SCHEMES = ("http", "https", "socks4", "socks5")
LOOPBACK_PER_SECOND = 50.0
"""Dials of one port of this host: hundreds of readers of a relay are back at once."""
KINDS: Kinds = {
    "headers": ("a mapping, a callable or None", (Mapping, Callable, NoneType)),
    "on_open": ("a sequence of messages or a callable", (Sequence, Callable)),
    "heartbeat": ("a Heartbeat or None", (Heartbeat, NoneType)),
    "liveness": ("a Liveness or None", (Liveness, NoneType)),
    "freshness": ("a Freshness or None", (Freshness, NoneType)),
    "backoff": ("a Backoff or None", (Backoff, NoneType)),
    "dialling": ("a Dialling or None", (Dialling, NoneType)),
    "lifetime": ("a Lifetime or None", (Lifetime, NoneType)),
    "inbox": ("an Inbox or None", (Inbox, NoneType)),
    "proxy": ("a URL or None", (str, NoneType)),
    "ssl_context": ("an ssl.SSLContext or None", (ssl.SSLContext, NoneType)),
    "compression": ("True or False", (bool,)),
    "on_event": ("a callable or None", (Callable, NoneType)),
    "journal": ("a path or None", (str, os.PathLike, NoneType)),
    "metrics": ("a CollectorRegistry or None", (CollectorRegistry, NoneType)),
    "name": ("a text or None", (str, NoneType)),
    "venue": ("a Venue, its name or None", (Venue, str, NoneType)),
    "channels": ("a sequence of names", (Sequence,)),
    "url": ("a URL, a venue's name or a callable", (str, Callable)),
}
_RESOLVER = SystemResolver()
_BACKOFF, _DIALLING, _INBOX, _LIVENESS = Backoff(), Dialling(), Inbox(), Liveness()


def connect(
    url: Url,
    *,
    headers: Headers | None = None,
    on_open: Opening = (),
    heartbeat: Heartbeat | None = None,
    liveness: Liveness | None = None,
    freshness: Freshness | None = None,
    backoff: Backoff | None = None,
    dialling: Dialling | None = None,
    lifetime: Lifetime | None = None,
    inbox: Inbox | None = None,
    outbox_limit_bytes: int = 1 << 20,
    max_message_bytes: int = 16 << 20,
    proxy: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
    compression: bool = True,
    resolver: Resolver | None = None,
    on_event: Callable[[Event], None] | None = None,
    journal: Path | str | None = None,
    metrics: CollectorRegistry | None = None,
    name: str | None = None,
    venue: Venue | str | None = None,
    channels: Sequence[str] = (),
    restore: Restore | Sequence[Restore] = (),
    max_age: MaxAge | float | None = None,
) -> Stream:
    """Describe a stream; nothing happens until it is entered with `async with`.

        async with serve_capture(SAMPLE) as venue:         # of heartline.testing
            async with heartline.connect(venue.url) as stream:
                async for item in stream: break            # Message | Gap | Status

    `url`, `headers` and `on_open` (sent before OPEN) may be (async) callables, asked at
    each dial. `on_event` is given every event, not blocking. `journal` is a file of
    JSON lines, `metrics` a Prometheus registry, `name` what they call it. Sizes are
    bytes of payload, inclusive. `url` may be a venue's name or profile; its `channels`
    are kept, LATE over `max_age` seconds, those of a plain URL resumed by offset: its
    server must speak `heartline.v1`. `restore`, `lifetime`: see `Outage`, `Lifetime`.
    """
    demand_kinds(KINDS, locals())
    url, host, contract = _contract(url, venue, channels, heartbeat)
    route = Route(
        url=url,
        headers={} if headers is None else headers,
        on_open=on_open,
        heartbeat=heartbeat,
        resolver=_RESOLVER if resolver is None else resolver,
        proxy=proxy,
        ssl_context=ssl_context,
        compression=compression,
        max_message_bytes=max_message_bytes,
        outbox_limit_bytes=outbox_limit_bytes,
        contract=contract,
        restore=routes_of(restore),
        max_age=limit_of(max_age, contract),
    )
    terms = _terms(host, route, liveness, backoff, dialling, freshness, lifetime)
    told = Observers(name or host, on_event=on_event, journal=journal, metrics=metrics)
    return Stream(Driver(route, terms, inbox=inbox or _INBOX, observers=told))


def _terms(
    host: str,
    route: Route,
    liveness: Liveness | None,
    backoff: Backoff | None,
    dialling: Dialling | None,
    freshness: Freshness | None,
    lifetime: Lifetime | None,
) -> Terms:
    proxy = route.proxy
    via = host if proxy is None else _via(proxy)
    terms = Terms(
        host=via,
        liveness=liveness or _LIVENESS,
        backoff=backoff or _BACKOFF,
        dialling=dialling or _DIALLING,
        freshness=freshness,
        beats=route.heartbeat.beats if route.heartbeat else None,
        syncs=route.syncs,
        lifetime=lifetime,
        # What offsets resume loses nothing by an outage.
        joins=route.contract is None,
    )
    terms = terms if route.venue is None else route.venue.heeded(terms)
    dialling = terms.dialling
    sync = dialling.sync + len(route.restore) * dialling.restore
    often = dialling.per_second
    if often is None and proxy is None and _is_loopback(via):
        often = LOOPBACK_PER_SECOND
    return replace(terms, dialling=_dialling(dialling, sync, often))


@lru_cache(64)
def _dialling(usual: Dialling, sync: float, often: float | None) -> Dialling:
    """Most streams of a process dial alike: one value will do."""
    return replace(usual, sync=sync, per_second=often)


def _is_loopback(authority: str) -> bool:
    """Whether a host is this one, as it is written: there is no venue to protect."""
    host = authority.rpartition(":")[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _contract(
    url: Url,
    venue: Venue | str | None,
    channels: Sequence[str],
    heartbeat: Heartbeat | None,
) -> tuple[Url, str, Venue | Resuming | None]:
    """The URL, its host, and the contract that holds there; None without channels."""
    if isinstance(venue, str):
        venue = Venue(name=venue, channels=channels)
    elif venue is not None and channels:
        if venue.channels:
            wanted = "either in the Venue or beside it"
            raise UsageError("channels", wanted=wanted, got="both")
        venue = replace(venue, channels=channels)
    if isinstance(url, str) and "://" not in url:
        if venue is not None:
            raise UsageError("url", wanted="a URL beside a venue", got=url)
        venue = Venue(name=url, channels=channels)
        url = venue.url
    if venue is not None or not channels:
        return url, _venue_of(url), venue
    if heartbeat is not None:
        wanted = "none beside channels of a URL, whose server beats by itself"
        raise UsageError("heartbeat", wanted=wanted, got="one")
    return url, _venue_of(url), Resuming(channels)


def _venue_of(url: Url) -> str:
    """Host and port: whose budget of dials the stream shares, unless by a proxy."""
    if callable(url):
        # Known only when it is asked; streams of one callable share one budget.
        return f"{getattr(url, '__module__', '')}.{getattr(url, '__qualname__', '')}"
    demand_one_word("url", url)
    if "${" in url.partition("?")[0]:
        # A venue tells the host only when it is asked.
        return url.partition("?")[0]
    authority = _authority("url", url, ("ws", "wss"))
    read_stream_url(url)  # what no dial could use is refused here
    return authority


def _via(proxy: str) -> str:
    demand_one_word("proxy", proxy)
    authority = _authority("proxy", proxy, PROXY_SCHEMES)
    read_proxy_url(proxy)
    return authority


def _authority(field: str, url: str, schemes: tuple[str, ...]) -> str:
    wanted = f"a URL with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    # The URL itself may hold a token: of it only the scheme is told.
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UsageError(field, wanted=wanted, got="what cannot be read") from None
    if parts.scheme not in schemes:
        raise UsageError(field, wanted=wanted, got=f"{parts.scheme or 'no'} scheme")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(field, wanted="a port of 0 to 65535", got="another") from None
    if not parts.hostname:
        raise UsageError(field, wanted=f"a host, as in {wanted}", got="none")
    return f"{parts.hostname}:{port or parts.scheme}"
