"""`heartline venues`: what each venue promises, and whether a profile can be used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from heartline.cli.running import Exit, fail, leave_stdout
from heartline.errors import UsageError, VenueError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from heartline.venue.profile import Endpoint, Profile

CHECK = "check"
PIPE_WIDTH = 100
"""Columns where the output is no terminal."""


def venues(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A venue, or a profile of your own (./mine.toml). Without it, all.",
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="With `check` as NAME: the profile."),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this endpoint of the venue."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write JSON instead.")] = False,
) -> None:
    """Tell how each venue keeps a link alive, or all that one venue promises.

    `heartline venues check FILE` reads a profile of your own as strictly as those that
    ship: it tells what it understood, or which key is wrong, what was wanted and what
    stands there, and then exits with 2. With --json that is one object with `file`,
    `key`, `wanted` and `got`.
    """
    try:
        if name is None:
            _list(endpoint, json=json)
        elif name == CHECK:
            _check(file, endpoint, json=json)
        elif file is not None:
            fail(f"FILE: wanted only with {CHECK}, got {file}")
        else:
            _tell(_load(name), endpoint, json=json)
    except BrokenPipeError:
        leave_stdout()
    except (UsageError, VenueError) as error:
        fail(str(error))


def _load(name: str) -> Profile:
    # Other commands need not wait for what only this one imports.
    from heartline.venue.load import load

    return load(name)


def _list(endpoint: str | None, *, json: bool) -> None:
    from heartline.venue.load import names

    if endpoint is not None:
        raise UsageError("--endpoint", wanted="a venue's NAME with it", got=endpoint)
    profiles = [_load(name) for name in names()]
    if json:
        _write(
            [_outline(p, e) for p in profiles for e in p.endpoints.values()],
        )
    else:
        _console().print(_overview(profiles))


def _check(file: str | None, endpoint: str | None, *, json: bool) -> None:
    if file is None:
        fail(f"FILE: wanted a profile to {CHECK}, such as ./mine.toml, got nothing")
    try:
        profile = _load(file if "/" in file or file.endswith(".toml") else f"./{file}")
    except VenueError as error:
        if not json:
            raise
        told = {"file": error.file, "key": error.key, "wanted": error.wanted}
        _write({**told, "got": error.got})
        raise typer.Exit(Exit.USAGE) from None
    if not json:
        count = len(profile.endpoints)
        plural = "" if count == 1 else "s"
        print(f"{file} can be used: {count} endpoint{plural}. What it says:\n")
    _tell(profile, endpoint, json=json)


def _tell(profile: Profile, endpoint: str | None, *, json: bool) -> None:
    told = list(profile.endpoints.values())
    if endpoint is not None:
        told = [profile.endpoint(endpoint)]
    if json:
        chosen = {each.name: each for each in told}
        _write(msgspec.structs.replace(profile, endpoints=chosen))
        return
    console = _console()
    console.print(f"{profile.title} ({profile.name})", style="bold", highlight=False)
    for each in told:
        _tell_endpoint(console, each)


def _tell_endpoint(console: Console, endpoint: Endpoint) -> None:
    from rich.table import Table
    from rich.text import Text

    from heartline.ui.contract import chapters, confidence

    legacy = ", legacy" if endpoint.status == "legacy" else ""
    console.print()
    heading = f"{endpoint.name}: {endpoint.product}{legacy}"
    console.print(heading, style="bold", highlight=False)
    table = Table.grid(padding=(0, 1))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    urls: list[str] = []
    for chapter in chapters(endpoint):
        urls += (u for u in chapter.facts.source if u not in urls)
        marks = "".join(f"[{urls.index(u) + 1}]" for u in chapter.facts.source)
        facts = chapter.facts
        origin = f"{marks} {confidence(facts)}, {facts.checked.isoformat()}"
        _add(table, chapter.title, [Text(line) for line in chapter.lines])
        table.add_row("", "", Text(origin, style="dim"))
    _add(table, "Traps", [Text(trap) for trap in endpoint.traps])
    console.print(table)
    for number, url in enumerate(urls, 1):
        # Unwrapped, so that it can be followed and copied.
        title = "Sources" if number == 1 else ""
        line = Text.assemble((f"{title:10} ", "cyan"), f"{number} {url}")
        console.print(line, soft_wrap=True)


def _add(table: Table, title: str, lines: list[Any]) -> None:
    for number, line in enumerate(lines):
        table.add_row("" if number else title, "·", line)


def _overview(profiles: list[Profile]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from heartline.ui.contract import clocks, kept_alive
    from heartline.ui.contract_words import span

    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0)
    )
    for column in ("venue", "endpoint", "kept alive by", "closed after", "age"):
        table.add_column(column, overflow="fold")
    for profile in profiles:
        for number, each in enumerate(profile.endpoints.values()):
            most = each.lifetime.max_age_s if each.lifetime else None
            table.add_row(
                Text("" if number else profile.name, style="bold"),
                each.name,
                *map(
                    _unbroken,
                    (kept_alive(each), clocks(each), span(most) if most else ""),
                ),
            )
    return table


def _unbroken(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r"(?<=\d) (?=(?:s|min|h|d)\b)", "\N{NO-BREAK SPACE}", text)


def _outline(profile: Profile, endpoint: Endpoint) -> dict[str, object]:
    from heartline.ui.contract import clocks, kept_alive

    return {
        "venue": profile.name,
        "title": profile.title,
        "endpoint": endpoint.name,
        "product": endpoint.product,
        "url": endpoint.address.url,
        "kept_alive": kept_alive(endpoint),
        "closed_after": clocks(endpoint),
        "max_age_s": endpoint.lifetime.max_age_s if endpoint.lifetime else None,
    }


def _write(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _console() -> Console:
    from heartline.ui.page import Page

    return Page(pipe_width=PIPE_WIDTH)
