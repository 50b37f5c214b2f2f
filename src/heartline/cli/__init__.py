"""The command line: arguments become calls, and nothing else happens here.

A command is one module of this package with one function, added to `app` below.
"""

from __future__ import annotations

from typing import Annotated

import typer

from heartline.cli.audit import audit
from heartline.cli.demo import demo
from heartline.cli.helping import Command
from heartline.cli.journal import journal
from heartline.cli.lab import lab
from heartline.cli.relay import relay
from heartline.cli.replay import replay
from heartline.cli.running import EXIT_STATUSES
from heartline.cli.venue import venue
from heartline.cli.venues import venues
from heartline.cli.watch import watch

app = typer.Typer(
    name="heartline",
    help="Keep WebSocket streams provably alive, and show what is known of them.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # A traceback with the values of variables would show headers and URLs.
    pretty_exceptions_enable=False,
)
app.command(cls=Command, epilog=EXIT_STATUSES)(demo)
app.command(cls=Command, epilog=EXIT_STATUSES)(watch)
app.command(cls=Command, epilog=EXIT_STATUSES)(replay)
app.command(cls=Command, epilog=EXIT_STATUSES)(relay)
app.command(cls=Command, epilog=EXIT_STATUSES)(journal)
app.command(cls=Command, epilog=EXIT_STATUSES)(venues)
app.command(cls=Command, epilog=EXIT_STATUSES)(audit)
app.command(cls=Command, epilog=EXIT_STATUSES)(venue)
app.command(cls=Command, epilog=EXIT_STATUSES)(lab)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"heartline {version('heartline')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Keep WebSocket streams provably alive, and show what is known of them."""


def main() -> None:
    """Run the command that the arguments of the process name, and exit."""
    app(prog_name="heartline")
