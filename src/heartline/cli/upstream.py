"""Which contract holds at an upstream that was named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

import typer

from heartline import HeartlineError, Snapshots, Venue
from heartline.cli.running import fail

Endpoint = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="This endpoint of the venue; else the first."),
]
Rest = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the venue's HTTP calls go, for whole books and tokens, instead of "
        "the venue itself: such as that of `heartline venue`.",
    ),
]


def contract_at(
    source: str,
    venue: str | None,
    channels: Sequence[str],
    *,
    endpoint: str | None,
    rest: str | None,
) -> tuple[str, Venue]:
    """The URL, and the venue with all that was said of it.

    Raises typer.BadParameter where there is no venue, and ends over one that is wrong.
    """
    name = venue or source
    if venue is None and "://" in source:
        option = "--endpoint" if endpoint is not None else "--rest"
        raise typer.BadParameter(f"{option}: wanted a venue, got a URL without --venue")
    try:
        made = Venue(name=name, endpoint=endpoint, channels=tuple(channels))
        if rest is not None:
            fetched = Snapshots(rest=rest)
            made = replace(made, snapshots=fetched, token_url=_token_url(made, rest))
    except HeartlineError as error:
        fail(str(error))
    return (source if venue is not None else made.url), made


def _token_url(venue: Venue, rest: str) -> str | None:
    """That of the profile, at another host."""
    bootstrap = venue.profile.bootstrap
    if bootstrap is None or bootstrap.http is None:
        return None
    return rest.rstrip("/") + urlsplit(bootstrap.http.url).path
