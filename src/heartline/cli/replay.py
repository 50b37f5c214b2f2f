"""`heartline replay`: a recording, served again as the venue sent it."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from heartline.cli.running import run
from heartline.observe.redact import redact_url
from heartline.observe.words import duration
from heartline.testing import SAMPLE, Capture, serve_capture


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The recording; without one, ten made-up seconds of a market.",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="So many times as fast as recorded; 0 is as fast as it is read.",
        ),
    ] = 1.0,
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Listen here; 0 takes a free one."
        ),
    ] = 0,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Listen on this address.")
    ] = "127.0.0.1",
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin anew when the recording ends.")
    ] = False,
) -> None:
    """Serve a recording to whoever connects, until interrupted.

    Each one gets what the venue sent, from the beginning on; nothing they ask is
    answered. A stream that asks a venue for channels wants `heartline venue NAME
    --capture FILE`, which plays the same recording and keeps the venue's contract.
    """
    if not 0 <= speed < math.inf:
        raise typer.BadParameter(f"--speed: wanted 0 or more, got {speed}")
    path = file or SAMPLE
    run(partial(_serve, path, speed=speed, port=port, host=host, loop=loop))


async def _serve(path: Path, *, speed: float, port: int, host: str, loop: bool) -> None:
    async with serve_capture(
        path, port=port, speed=speed, loop=loop, host=host
    ) as server:
        print(f"{server.url}  {contents(path.name, server.capture)}", flush=True)
        await server.ended()  # or until cancelled
    raise ConnectionError(f"replay {path.name}: its serving process has ended")


def contents(name: str, capture: Capture) -> str:
    """Say in a few words what a recording holds."""
    count = len(capture.inbound)
    told = f"{name}: {count:,} messages over {duration(capture.duration)}"
    return f"{told}, from {redact_url(capture.url)}" if capture.url else told
