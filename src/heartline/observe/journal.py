"""A journal of events and states that survives the death of its process.

The file is JSON Lines. Every line is one object: `utc` (wall clock, ISO 8601),
`stream`, `event` (the name of an event, `Status` or `Missed`), `at` (monotonic
seconds), then the fields of the event. `read_journal` and `what_happened` read it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import msgspec

from heartline.core.events import ChannelRevived, Event, RoundTripMeasured
from heartline.core.items import Status
from heartline.errors import UsageError
from heartline.observe.records import Missed, carried, encode
from heartline.observe.standing import Standing

RETRY_AFTER = 5.0
"""Seconds, on the clock of the events, without another try after one has failed."""

TELL_AFTER = 600.0
"""Seconds, on the same clock, before trouble with the file is logged again."""

ROUND_TRIP_EVERY = 900.0
"""Seconds between two round trips written down: they prove that somebody watched."""

SMALLEST_BYTES = 4096

_log = logging.getLogger("heartline")


class Journal:
    """Write the events of one stream to a file; pass it as `on_event`.

    What survives. Each record is one `os.write` of a whole line to a descriptor opened
    with O_APPEND: once the call returns the line is the kernel's, and a `kill -9`, a
    crash or the out-of-memory killer costs nothing. There is no fsync, which would
    stall the event loop for as long as the disk likes: a power cut may cost what the
    kernel had not written back, on Linux by default about the last 30 seconds, and may
    leave a torn last line. Readers skip it, the next open ends it with a line break.
    Call `sync` from a thread where that is too much to lose.

    Size. A line that would take the file beyond `max_bytes` begins a new one: `path` is
    renamed to `path.1`, that to `path.2`, and `path.<keep>` is removed, which makes
    (keep + 1) * max_bytes in all. A new file begins with the records still in force,
    marked `carried`, so that it can be understood alone. Round trips are thinned to one
    in 15 minutes: a quiet day is 96 lines and less than 20 kB. A status that says
    nothing new is left out, and so are the bounds of single channels.

    Several writers, in one process or many, may share a file of a local file system:
    lines never mix, each file is renamed once, and nobody waits; a writer that is just
    then writing adds its line to the renamed file, or a few to one that is full. Lines
    of different writers are only roughly in order of time. On a network file system
    O_APPEND may overwrite lines of others. Open a journal after a fork, not before.

    Trouble. Nothing is raised into the stream. A record that cannot be written is lost
    and counted in `missed`; the logger `heartline` tells it once in 10 minutes. The
    file, and its directory if that is gone, are tried again at most every 5 seconds;
    the first line that works comes after the records still in force and a `Missed` that
    says how many are not there.

    `utc` is when the record was written, which is at once: the wall clock of any other
    instant in it is `utc` less the seconds from that instant to `at`.

    Raises UsageError for `max_bytes` below 4096, `keep` below 1 and, as `demand_place`
    does, for a path that nothing can be written to; for nothing else: a full disk must
    not keep a stream from starting.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "",
        max_bytes: int = 16 << 20,
        keep: int = 4,
        utc_now: Callable[[], datetime] | None = None,
    ) -> None:
        if max_bytes < SMALLEST_BYTES:
            wanted = f"at least {SMALLEST_BYTES}"
            raise UsageError("max_bytes", wanted=wanted, got=max_bytes)
        if keep < 1:
            raise UsageError("keep", wanted="at least 1", got=keep)
        demand_place(path)
        self.path = Path(path)
        self.name = name
        self.max_bytes = max_bytes
        self.keep = keep
        self.missed = 0
        self._utc_now = utc_now or _utc_now
        self._closed = False
        self._file: _File | None = None
        self._standing: Standing[bytes] = Standing()
        self._round_trip_at: float | None = None
        self._last_state: tuple[object, ...] | None = None
        self._trouble: Missed | None = None
        self._retry_at = self._tell_at = float("-inf")

    def __call__(self, event: Event) -> None:
        if isinstance(event, RoundTripMeasured):
            last_at = self._round_trip_at
            if last_at is not None and 0 <= event.at - last_at < ROUND_TRIP_EVERY:
                return
            self._round_trip_at = event.at
        if isinstance(event, ChannelRevived):
            # The evidence of the status that was written last may be that of this one.
            self._last_state = None
        self._note(event)

    def status(self, status: Status) -> None:
        """Write `status` down if it says something else than the last one did.

        That is phase, verdict, live, cause, where, code, conditions or epoch.
        """
        state = (
            status.phase,
            status.verdict,
            status.live,
            status.cause,
            status.where,
            status.status,
            status.conditions,
            status.epoch,
        )
        if state != self._last_state:
            self._last_state = state
            self._note(_without_channels(status))

    def sync(self) -> None:
        """Wait until all that was written is on the disk; blocks, so not on the loop.

        Raises OSError if the disk refuses.
        """
        if self._file is not None:
            self._file.sync()

    def close(self) -> None:
        """Close the file; later events are not written. May be repeated."""
        self._closed = True
        self._shut()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _note(self, news: Event | Status) -> None:
        if self._closed:
            return
        try:
            line = encode(news, stream=self.name, utc=self._utc_now())
            # Noted even while the disk fails: what stands is carried when it is back.
            self._standing.note(news, line)
            waiting = 0 < self._retry_at - news.at <= RETRY_AFTER
            if self._trouble is not None and waiting:
                self._miss(self._trouble.error, news.at)
            else:
                self._append(line, news.at)
        except Exception as error:
            self._fail(error, news.at)

    def _append(self, line: bytes, at: float) -> None:
        file = self._open(line)
        if not file.has_room(len(line), self.max_bytes) and file.rotate(
            self.path, self.keep
        ):
            self._shut()
            file = self._open(line)
        if self._trouble is not None:
            missed = msgspec.structs.replace(self._trouble, at=at)
            file.write(encode(missed, stream=self.name, utc=self._utc_now()))
            self._trouble = None
        file.write(line)

    def _open(self, line: bytes) -> _File:
        """Return the file that `path` names now, with what is in force on top."""
        if self._file is not None and self._file.is_at(self.path):
            return self._file
        self._shut()
        self._file = file = _File(self.path)
        kept = self._carried(line)
        if kept:
            file.write(kept)
        return file

    def _carried(self, line: bytes) -> bytes:
        """What stands beside `line`; of more than a quarter of a file the newest."""
        room = self.max_bytes // 4
        kept: list[bytes] = []
        for standing in reversed([s for s in self._standing if s is not line]):
            room -= len(carried(standing))
            if room < 0:
                break
            kept.append(carried(standing))
        return b"".join(reversed(kept))

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                _log.warning("journal %s: closing it failed: %s", self.path, error)

    def _miss(self, error: str, at: float) -> None:
        self.missed += 1
        last = self._trouble
        self._trouble = Missed(
            at=at,
            records=1 if last is None else last.records + 1,
            since=self._utc_now() if last is None else last.since,
            error=error,
        )

    def _fail(self, error: Exception, at: float) -> None:
        self._miss(f"{type(error).__name__}: {error}", at)
        self._retry_at = at + RETRY_AFTER
        self._shut()
        if at >= self._tell_at:
            self._tell_at = at + TELL_AFTER
            _log.error(
                "journal %s cannot be written, %d records missing: %s",
                self.path,
                self.missed,
                error,
            )


def demand_place(path: str | os.PathLike[str]) -> None:
    """Raise UsageError for a directory, or for a file in one that does not exist.

    A misspelt path would else be made, and the journal looked for elsewhere. The file
    need not exist, and a directory that is removed later is made again.
    """
    if os.path.isdir(path):
        raise UsageError("journal", wanted="a file, not a directory", got=str(path))
    parent = Path(path).parent
    if not os.path.isdir(parent):
        wanted = f"a file in a directory that exists, which {parent} does not"
        raise UsageError("journal", wanted=wanted, got=str(path))


class _File:
    """One open file of the journal. Raises OSError whenever the system does."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = _opened(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = _opened(path)
        state = os.fstat(self._fd)
        self._identity = (state.st_dev, state.st_ino)
        # A power cut or a full disk may have left the last line without its end.
        end = state.st_size
        self._torn = end > 0 and os.pread(self._fd, 1, end - 1) != b"\n"

    def is_at(self, path: Path) -> bool:
        """Tell whether `path` still names this file: it may be renamed or removed."""
        try:
            state = os.stat(path)
        except FileNotFoundError:
            return False
        return (state.st_dev, state.st_ino) == self._identity

    def has_room(self, size_bytes: int, max_bytes: int) -> bool:
        """Tell whether that much fits; a file that is empty takes anything."""
        used = os.fstat(self._fd).st_size
        return used == 0 or used + size_bytes < max_bytes

    def write(self, lines: bytes) -> None:
        """Append whole lines in one write. After an error open the file again."""
        data = b"\n" + lines if self._torn else lines
        written = os.write(self._fd, data)
        if written < len(data):
            told = f"{written} of {len(data)} bytes written"
            raise OSError(errno.ENOSPC, told)
        self._torn = False

    def rotate(self, path: Path, keep: int) -> bool:
        """Rename this file to `path.1`, unless another writer is doing it.

        Returns False if this file is to be written on for the moment. The lock is on
        the very file that is renamed, so whoever gets it later finds it renamed.
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # No locks on this file system: a bound matters more than other writers.
            _log.debug("journal %s is renamed without a lock: %s", path, error)
        if self.is_at(path):
            for number in range(keep, 1, -1):
                _renamed(numbered(path, number - 1), numbered(path, number))
            _renamed(path, numbered(path, 1))
        return True

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def numbered(path: Path, number: int) -> Path:
    """Name the file that was renamed `number` times; 0 is the one being written."""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags, 0o640)


def _renamed(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except FileNotFoundError:
        return  # a hole in the row, left by a writer that died while renaming


def _without_channels(status: Status) -> Status:
    return msgspec.structs.replace(
        status,
        bounds=msgspec.structs.replace(status.bounds, channels={}),
        ceilings=msgspec.structs.replace(status.ceilings, channels={}),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
