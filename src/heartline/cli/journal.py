"""`heartline journal`: what happened, read back from a journal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from heartline.cli.running import fail, leave_stdout
from heartline.cli.times import moment, span
from heartline.observe.history import Account, read_journal, what_happened
from heartline.observe.records import Record, carried


def journal(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The journal.")],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Tell of this time, in UTC: 03:12 for the last time it was that, or "
            "2026-01-31T03:12. Without it, all is told.",
        ),
    ] = None,
    around: Annotated[
        str, typer.Option(metavar="SPAN", help="So long before --at and after it.")
    ] = "5m",
    json: Annotated[
        bool, typer.Option("--json", help="Write the records, one JSON object a line.")
    ] = False,
) -> None:
    """Tell what happened to the streams that kept this journal.

    With --json, lines that could not be read are counted on standard error, and what
    was in force when the time of --at began comes first, marked `carried`.
    """
    wide = span(around, option="--around")
    try:
        if at is None:
            _tell_everything(file, json=json)
        else:
            middle = moment(at, option="--at", now=datetime.now(UTC))
            account = what_happened(file, middle, wide)
            _insist_on_records(file, account.first is not None, account.torn)
            if json:
                _write(_marked(record) for record in account.before)
                _write(record.line for record in account.records)
                _tell_torn(account.torn, aside=True)
            else:
                _tell(account)
    except BrokenPipeError:
        leave_stdout()
    except OSError as error:
        got = error.strerror
        fail(f"{file}: wanted a journal to read, got {got}" if got else str(error))


def _tell_everything(file: Path, *, json: bool) -> None:
    reading, records = read_journal(file), 0
    for record in reading:
        records += 1
        if record.carried:
            continue
        if json:
            _write([record.line])
        else:
            print(record.in_words())
    _insist_on_records(file, records, reading.torn)
    _tell_torn(reading.torn, aside=json)


def _write(lines: Iterable[bytes]) -> None:
    for line in lines:
        print(line.decode().rstrip())


def _marked(record: Record) -> bytes:
    return record.line if record.carried else carried(record.line)


def _insist_on_records(file: Path, records: int, torn: int) -> None:
    if torn and not records:
        fail(f"{file} is no journal: no line of it is a record")


def _tell(account: Account) -> None:
    print(f"From {_utc(account.start)} to {_utc(account.end)}:")
    if account.before:
        print("In force at the start:")
    for record in account.before:
        print(f"  {record.in_words()}")
    print("What happened:" if account.records else "Nothing happened.")
    for record in account.records:
        print(f"  {record.in_words()}")
    if account.first is None or account.last is None:
        print("The journal holds no record.")
    elif account.start < account.first or account.end > account.last:
        first, last = _utc(account.first), _utc(account.last)
        print(f"The journal has records from {first} to {last} only.")
    _tell_torn(account.torn)


def _tell_torn(lines: int, *, aside: bool = False) -> None:
    if lines:
        where = sys.stderr if aside else sys.stdout
        print(f"Lines that could not be read: {lines}.", file=where)


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
