"""Read a journal back, and answer what happened at a given time."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from heartline.errors import UsageError
from heartline.observe.journal import numbered
from heartline.observe.records import Missed, Record, decode
from heartline.observe.standing import Standing

LONGEST_BYTES = 1 << 20
"""No record is that long; a power cut may leave megabytes of zeros in one line."""


class Account(Struct, frozen=True, kw_only=True):
    """What a journal holds about a time, from `start` to `end` inclusive.

    `before` is what was in force at the start: for each stream the records that say its
    state (phase, an outage going on, doubt, stalled channels, conditions), oldest
    first. `records` is what happened then. `first` and `last` are the times between
    which the journal has any record: before, and long after, nobody was watching.
    """

    start: datetime
    end: datetime
    before: tuple[Record, ...]
    records: tuple[Record, ...]
    first: datetime | None
    last: datetime | None
    torn: int
    """Lines that could not be read."""


def what_happened(
    path: str | os.PathLike[str],
    at: datetime,
    around: timedelta = timedelta(minutes=5),
) -> Account:
    """Tell what happened `around` a time, before and after it, and what stood then.

    Reads every file of the journal once. Raises UsageError if `at` has no time zone
    or `around` is negative, FileNotFoundError if there is no journal.
    """
    if at.utcoffset() is None:
        raise UsageError("at", wanted="a time with its zone, as UTC", got=at)
    if around < timedelta():
        raise UsageError("around", wanted="a time of 0 or more", got=around)
    start, end = at - around, at + around
    standing: dict[str, Standing[Record]] = {}
    records: list[Record] = []
    met: set[tuple[str, str, float]] = set()
    first: datetime | None = None
    last: datetime | None = None
    reading = read_journal(path)
    for record in reading:
        if not record.carried:
            first = record.utc if first is None else min(first, record.utc)
            last = record.utc if last is None else max(last, record.utc)
        if record.utc < start and not records:
            news = record.news()
            if news is not None and not isinstance(news, Missed):
                standing.setdefault(record.stream, Standing()).note(news, record)
        elif start <= record.utc <= end:
            # A carried record counts if the one it repeats is not there (any more).
            fact = (record.stream, record.event, record.at)
            if not (record.carried and fact in met):
                records.append(record)
            met.add(fact)
    before = [record for stood in standing.values() for record in stood]
    return Account(
        start=start,
        end=end,
        before=tuple(sorted(before, key=lambda record: record.utc)),
        records=tuple(records),
        first=first,
        last=last,
        torn=reading.torn,
    )


def read_journal(path: str | os.PathLike[str]) -> Reading:
    """Iterate over the records of a journal across its files, oldest first.

    Works while it is written to and renamed: what was there at the call is read.
    Raises FileNotFoundError if there is none, OSError if one cannot be read.
    """
    return Reading(Path(path))


class Reading(Iterator[Record]):
    """The records of a journal, in the order they were written; iterate once.

    Lines that are torn or no records are skipped and counted in `torn`.
    """

    def __init__(self, path: Path) -> None:
        self.torn = 0
        self._files = _opened(path)
        self._records = self._read()

    def __next__(self) -> Record:
        return next(self._records)

    def close(self) -> None:
        """Let go of the files before the end; iterating to the end does it too."""
        self._records.close()
        for file in self._files:
            file.close()

    def _read(self) -> Generator[Record, None, None]:
        for file in self._files:
            with file:
                for line in _lines(file):
                    record = decode(line)
                    if record is None:
                        self.torn += 1
                    else:
                        yield record


def _opened(path: Path) -> list[BinaryIO]:
    """Open the files of a journal, oldest first in the list.

    Opened newest first: if they are renamed meanwhile one is met twice, never missed.
    """
    files: list[BinaryIO] = []
    met: set[tuple[int, int]] = set()
    for number in range(_oldest(path) + 1):
        try:
            file = numbered(path, number).open("rb")
        except FileNotFoundError:
            continue
        state = os.fstat(file.fileno())
        if (state.st_dev, state.st_ino) in met:
            file.close()
        else:
            met.add((state.st_dev, state.st_ino))
            files.append(file)
    if not files:
        raise FileNotFoundError(f"no journal at {path}")
    return files[::-1]


def _oldest(path: Path) -> int:
    """Number of the oldest file, one more in case they are renamed just now."""
    found = [0]
    for entry in path.parent.glob(f"{path.name}.*"):
        suffix = entry.name.removeprefix(f"{path.name}.")
        if suffix.isascii() and suffix.isdigit():
            found.append(int(suffix))
    return max(found) + 1


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file that are not blank, none longer than `LONGEST_BYTES`."""
    while line := file.readline(LONGEST_BYTES):
        cut = line
        while len(cut) == LONGEST_BYTES and not cut.endswith(b"\n"):
            cut = file.readline(LONGEST_BYTES)
        if line.strip():
            yield line
