"""`heartline relay`: one upstream, kept alive for all programs of a machine."""

from __future__ import annotations

import logging
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from heartline.cli.running import fail, run
from heartline.cli.upstream import Endpoint, Rest, contract_at
from heartline.cli.watch import checked_json, split_header
from heartline.errors import UsageError
from heartline.observe.redact import redact_url

if TYPE_CHECKING:
    from heartline.relay import Relay

TIME = "%Y-%m-%d %H:%M:%S"

_Source = Annotated[
    str,
    typer.Argument(
        metavar="URL|VENUE",
        help="Where the stream is: wss:// or ws://, or the name of a venue.",
    ),
]
_Channels = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHANNEL",
        help="Read from the start; others once a client asks for them.",
    ),
]
_Listen = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where clients come in.")
]
_Venue = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Whose contract holds at the URL."),
]
_Send = Annotated[
    list[str] | None,
    typer.Option(metavar="JSON", help="Send this on every new link. May be repeated."),
]
_Header = Annotated[
    list[str] | None,
    typer.Option(metavar="'NAME: VALUE'", help="Send this header. May be repeated."),
]

_Bus = Annotated[
    str | None,
    typer.Option(
        metavar="nats://HOST:PORT", help="Store all there too, in NATS JetStream."
    ),
]
_Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="This relay's own name on the bus; else HOST-PORT."
    ),
]


def relay(
    source: _Source,
    channels: _Channels = None,
    listen: _Listen = "127.0.0.1:8765",
    venue: _Venue = None,
    send: _Send = None,
    header: _Header = None,
    bus: _Bus = None,
    name: _Name = None,
    endpoint: Endpoint = None,
    rest: Rest = None,
) -> None:
    """Keep one stream alive, and pass it on to local clients.

    Clients speak `heartline.v1`, or are plain: they get the messages of all channels,
    or of those in `?channels=a,b`. `/healthz`, `/channels` and `/metrics` are on the
    same port. SIGTERM and Ctrl-C send the clients away within a second.

    With --bus, several relays of one venue store each of its numbered messages once.
    """
    # Other commands need not wait for what only this one imports.
    from heartline.relay import BusTerms, Relay

    host, port = address(listen)
    mine = name or f"{socket.gethostname()}-{port}"
    try:
        terms = None if bus is None else BusTerms(url=bus, name=mine)
    except UsageError as error:
        fail(str(error))
    sent = tuple(checked_json(text, at) for at, text in enumerate(send or (), 1))
    headers = dict(split_header(text) for text in header or ())
    named, held = tuple(channels or ()), None
    if endpoint is not None or rest is not None:
        source, held = contract_at(source, venue, named, endpoint=endpoint, rest=rest)
    made = partial(
        Relay,
        source,
        named,
        venue=held or venue,
        host=host,
        port=port,
        on_open=sent,
        headers=headers,
        bus=terms,
    )
    run(partial(_serve, redact_url(source), made))


def address(text: str) -> tuple[str, int]:
    """Read `127.0.0.1:8765` or `[::1]:8765`. Raises typer.BadParameter."""
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise typer.BadParameter(f"--listen: wanted HOST:PORT, got {text!r}")
    return host, port


def tell_on_stderr() -> None:
    """Log what happens to the upstream: that it is back, too, and when, in UTC."""
    handler = logging.StreamHandler()
    form = logging.Formatter("%(asctime)s.%(msecs)03d UTC %(message)s", TIME)
    form.converter = time.gmtime
    handler.setFormatter(form)
    logger = logging.getLogger("heartline")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


async def _serve(name: str, made: partial[Relay]) -> None:
    tell_on_stderr()
    async with made() as relay:
        print(f"relay of {name} on {relay.url}", flush=True)
        await relay.wait_closed()
