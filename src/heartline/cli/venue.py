"""`heartline venue`: a venue's side of its contract, as a server to try a client on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heartline.cli.running import run
from heartline.cli.upstream import Endpoint

if TYPE_CHECKING:
    from heartline.testing import VenueServer

OTHERS = {
    "refused": "others are refused",
    "left out": "others are left out of what it says it took",
    "acknowledged": "others are acknowledged, but have no data, as this venue does it",
}

_Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE", help="A venue, or a profile of your own (./mine.toml)."
    ),
]
_Port = Annotated[
    int,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Listen here; 0 takes a free one."
    ),
]
_Capture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Play this recording from the first subscription on.",
    ),
]
_Rate = Annotated[
    float,
    typer.Option(
        metavar="R",
        help="Made-up messages a second over all channels, in the mean: they "
        "come in bursts, with silences of some seconds; none with --capture.",
    ),
]
_Steady = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        help="Instead of --rate: so many messages a second, equally far apart.",
    ),
]
_Channels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHANNEL",
        help="A channel that has messages before anybody asks; may be repeated.",
    ),
]
_Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Take only such channels ('book.*'), and refuse all others as this "
        "venue does; may be repeated.",
    ),
]


def venue(
    name: _Name,
    port: _Port = 0,
    endpoint: Endpoint = None,
    capture: _Capture = None,
    rate: _Rate = 50.0,
    steady: _Steady = None,
    channel: _Channels = None,
    only: _Only = None,
) -> None:
    """Serve as a venue would, on 127.0.0.1, until interrupted.

    It beats, demands and cuts as the venue's profile says, takes subscriptions, and
    numbers and stamps its messages, which are made up. It serves from a process of its
    own, whose number it prints: `kill -STOP` freezes the venue, `kill -CONT` ends that.
    """
    if steady is not None and capture is not None:
        raise typer.BadParameter("--steady: wanted no --capture, which has a pace")
    run(
        partial(
            _serve,
            name,
            capture,
            endpoint=endpoint,
            port=port,
            rate=rate if steady is None else steady,
            steady=steady is not None,
            channels=channel or (),
            only=only or (),
        )
    )


async def _serve(
    name: str, capture: Path | None, *, rate: float, steady: bool = False, **more: Any
) -> None:
    from heartline.testing import VenueServer

    paced = 0.0 if capture is not None else rate
    server = VenueServer(name, rate=paced, steady=steady, capture=capture, **more)
    pace = f"{rate:g} messages a second{', steadily' if steady else ''}"
    async with server:
        plays = pace if capture is None else f"plays {capture.name}"
        print(f"{server.url}  {told(server, plays)}", flush=True)
        await server.ended()  # or until cancelled
    raise ConnectionError(f"venue {name}: its serving process has ended")


def told(server: VenueServer, plays: str) -> str:
    """Say in a few words what is served."""
    endpoint = server.endpoint
    forms = endpoint.subscribe.forms if endpoint.subscribe else ()
    known = server.recorded or [form.example for form in forms]
    takes = f"channels such as {known[0]}" if known else "no channels"
    if server.only:
        others = OTHERS[server.refuses or "refused"]
        takes = f"only {', '.join(server.only)} ({others})"
    token = endpoint.bootstrap is not None and endpoint.bootstrap.http is not None
    rules = endpoint.sequence.rules if endpoint.sequence else ()
    books = any(rule.recover is not None and rule.recover.url for rule in rules)
    calls = f"; HTTP calls at {server.http_url}" if token or books else ""
    return f"{endpoint.product}: {takes}, {plays}, by process {server.pid}{calls}"
