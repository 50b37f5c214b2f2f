"""`heartline venue`: a venue's side of its contract, as a server to try a client on."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heartline.cli.running import run

if TYPE_CHECKING:
    from heartline.testing import VenueServer

ASK_EVERY = 5.0
"""Seconds between two questions to the serving process whether it is still there."""


def venue(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE", help="A venue, or a profile of your own (./mine.toml)."
        ),
    ],
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Listen here; 0 takes a free one."
        ),
    ] = 0,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="This endpoint of the venue; else the first."
        ),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Play this recording from the first subscription on.",
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            metavar="R",
            help="Made-up messages a second over all channels, in the mean: they "
            "come in bursts, with silences of some seconds; none with --capture.",
        ),
    ] = 50.0,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANNEL",
            help="A channel that has messages before anybody asks; may be repeated.",
        ),
    ] = None,
) -> None:
    """Serve as a venue would, on 127.0.0.1, until interrupted.

    It beats, demands and cuts as the venue's profile says, takes subscriptions, and
    numbers and stamps its messages, which are made up. It serves from a process of its
    own, whose number it prints: `kill -STOP` freezes the venue, `kill -CONT` ends that.
    """
    made = partial(_serve, name, port, endpoint, capture, rate, tuple(channel or ()))
    run(made)


async def _serve(
    name: str,
    port: int,
    endpoint: str | None,
    capture: Path | None,
    rate: float,
    channels: tuple[str, ...],
) -> None:
    from heartline.testing import VenueServer

    server = VenueServer(
        name,
        endpoint,
        port=port,
        rate=0.0 if capture is not None else rate,
        channels=channels,
        capture=capture,
    )
    async with server:
        print(f"{server.url}  {told(server, rate, capture)}", flush=True)
        while True:  # until cancelled
            try:
                await server.counts()
            except TimeoutError:
                pass  # a frozen one lives, and may be thawed
            except ConnectionError as gone:
                ended = f"venue {name}: its serving process has ended"
                raise ConnectionError(ended) from gone
            await asyncio.sleep(ASK_EVERY)


def told(server: VenueServer, rate: float, capture: Path | None) -> str:
    """Say in a few words what is served."""
    endpoint = server.endpoint
    forms = endpoint.subscribe.forms if endpoint.subscribe else ()
    what = f"plays {capture.name}" if capture else f"{rate:g} messages a second"
    known = server.recorded or [form.example for form in forms]
    takes = f"channels such as {known[0]}" if known else "no channels"
    token = endpoint.bootstrap is not None and endpoint.bootstrap.http is not None
    rules = endpoint.sequence.rules if endpoint.sequence else ()
    books = any(rule.recover is not None and rule.recover.url for rule in rules)
    calls = f"; HTTP calls at {server.http_url}" if token or books else ""
    return f"{endpoint.product}: {takes}, {what}, by process {server.pid}{calls}"
