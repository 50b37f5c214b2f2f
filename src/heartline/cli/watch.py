"""`heartline watch`: one stream, as one screen for a person or lines for a program."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

import heartline
from heartline.cli.aside import Aside, write_all
from heartline.cli.lines import encode
from heartline.cli.running import STDOUT, fail, leave_stdout, run
from heartline.cli.upstream import Endpoint, Rest, contract_at
from heartline.core.subscriptions import Freshness
from heartline.observe.redact import redact_url
from heartline.ui.view import WatchView

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the arguments ask for, checked."""

    url: str
    channels: tuple[str, ...] = ()
    venue: heartline.Venue | str | None = None
    send: tuple[str, ...] = ()
    seconds: float | None = None
    lines: bool = False
    journal: Path | None = None
    headers: dict[str, str] | None = None
    proxy: str | None = None
    fresh: float | None = None
    max_age: float | None = None
    metrics_port: int | None = None


_Url = Annotated[
    str,
    typer.Argument(
        metavar="URL|VENUE",
        help="Where the stream is: wss:// or ws://, or the name of a venue.",
    ),
]
_Channels = Annotated[
    list[str] | None,
    typer.Argument(metavar="CHANNEL", help="Channels of the venue."),
]
_Venue = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Whose contract holds at the URL."),
]
_Send = Annotated[
    list[str] | None,
    typer.Option(
        metavar="JSON",
        help="Send this on every new link, as a subscription. May be repeated.",
    ),
]
_For = Annotated[
    float | None, typer.Option("--for", metavar="SECONDS", help="End after so long.")
]
_Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Write JSON, one object an item, instead of the view; so it is without "
        "this, too, where the output is no terminal.",
    ),
]
_Journal = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keep a journal of events.")
]
_Header = Annotated[
    list[str] | None,
    typer.Option(metavar="'NAME: VALUE'", help="Send this header. May be repeated."),
]
_Proxy = Annotated[
    str | None, typer.Option(metavar="URL", help="Go through this proxy.")
]
_Fresh = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Data must come at least so often, or the stream is CHANNEL_STALLED.",
    ),
]
_MaxAge = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Data that the venue stamped longer ago makes the stream LATE.",
    ),
]
_MetricsPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=1,
        max=65535,
        help="Serve Prometheus metrics on this port of 127.0.0.1.",
    ),
]


def watch(
    url: _Url,
    channels: _Channels = None,
    venue: _Venue = None,
    send: _Send = None,
    seconds: _For = None,
    json: _Json = False,
    journal: _Journal = None,
    header: _Header = None,
    proxy: _Proxy = None,
    fresh: _Fresh = None,
    max_age: _MaxAge = None,
    metrics_port: _MetricsPort = None,
    endpoint: Endpoint = None,
    rest: Rest = None,
) -> None:
    """Watch a stream: whether it is live, and if not, since when and why.

    With --json, `type` is `message`, `gap` or `status`. A message holds `text`, or
    `b64` if it is binary; `received_at` is monotonic seconds, `utc` the same by the
    wall clock. Kept in a file they are a recording, for audit and replay. Ends with
    status 0 when the reader of its output goes away.
    """
    names, held = tuple(channels or ()), None
    if endpoint is not None or rest is not None:
        url, held = contract_at(url, venue, names, endpoint=endpoint, rest=rest)
        names = ()
    wish = Wish(
        url=url,
        channels=names,
        venue=held or venue,
        send=tuple(checked_json(text, at) for at, text in enumerate(send or (), 1)),
        seconds=_positive(seconds, "--for"),
        lines=json or not sys.stdout.isatty(),
        journal=journal,
        headers=dict(split_header(text) for text in header or ()) or None,
        proxy=proxy,
        fresh=_positive(fresh, "--fresh"),
        max_age=_positive(max_age, "--max-age"),
        metrics_port=metrics_port,
    )
    run(partial(follow, wish))


def checked_json(text: str, at: int) -> str:
    """Return `text` if it is JSON. What it says is not repeated: it may be a secret."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        which = f"value {at} of --send" if at > 1 else "--send"
        raise typer.BadParameter(f"{which}: wanted JSON; {error}") from None
    return text


def split_header(text: str) -> tuple[str, str]:
    """Cut `Name: value`; what it says is not repeated either."""
    name, colon, value = text.partition(":")
    if not colon or not _HEADER_NAME.match(name) or not value.strip().isprintable():
        raise typer.BadParameter("--header: wanted 'Name: value'")
    return name, value.strip()


def _positive(seconds: float | None, option: str) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        wanted = "a positive number of seconds"
        raise typer.BadParameter(f"{option}: wanted {wanted}, got {seconds}")
    return seconds


async def follow(wish: Wish) -> None:
    """Open the stream and show it as wished, until it ends or the time is up."""
    view = None if wish.lines else WatchView(redact_url(wish.url))
    logger = logging.getLogger("heartline")
    logger.addFilter(_is_no_event)
    connecting = heartline.connect(
        wish.url,
        venue=wish.venue,
        channels=wish.channels,
        headers=wish.headers,
        on_open=wish.send,
        freshness=None if wish.fresh is None else Freshness(every=wish.fresh),
        proxy=wish.proxy,
        max_age=wish.max_age,
        on_event=None if view is None else view.event,
        journal=wish.journal,
        metrics=None if wish.metrics_port is None else metrics_at(wish.metrics_port),
    )
    limit = asyncio.timeout(wish.seconds)
    try:
        async with limit:
            with Aside() as aside:
                async with connecting as stream:
                    await _show(stream, aside, view)
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        logger.removeFilter(_is_no_event)


def _is_no_event(record: logging.LogRecord) -> bool:
    """Events are told by the lines or the view; the rest of the log is for stderr."""
    return not hasattr(record, "heartline")


async def _show(stream: heartline.Stream, aside: Aside, view: WatchView | None) -> None:
    if view is None:
        await tell_lines(stream, aside)
    else:
        # rich costs a start that only the view has to pay.
        from heartline.cli.screen import show

        await show(stream, view, aside)


async def tell_lines(stream: heartline.Stream, aside: Aside) -> None:
    """Write every batch as lines, until the stream ends or nobody reads them."""
    try:
        async for batch in stream.batches():
            text = encode(batch, utc_offset=time.time() - time.monotonic())
            await aside.run(partial(write_all, STDOUT, text))
    except BrokenPipeError:
        leave_stdout()


def metrics_at(port: int) -> CollectorRegistry:
    """Serve a registry to Prometheus on the loopback interface, from a thread."""
    from prometheus_client import REGISTRY, start_http_server

    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        fail(f"--metrics-port {port}: {error.strerror or error}")
    return REGISTRY
