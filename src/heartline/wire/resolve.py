"""Names to addresses, without ever holding up the loop, a dial or the way out.

`socket.getaddrinfo` cannot be interrupted. A look-up that hangs therefore keeps a
thread: a daemon of our own, so that it neither uses up asyncio's default executor
(every other look-up of the process would wait behind it) nor keeps the interpreter
from exiting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from heartline.core.items import Cause
from heartline.errors import WireError

AddrInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]
"""Family, type, protocol, canonical name, address: as `socket.getaddrinfo` has it."""

GetAddrInfo: TypeAlias = Callable[..., "Sequence[AddrInfo]"]

THREAD_LIMIT = 8
"""Look-ups that may run at once; more wait for one of them."""


class Resolver(Protocol):
    """Turns a host name into addresses to try, the best first."""

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        """Return at least one address. Raise `WireError` (NAME_RESOLUTION) if none.

        The caller may cancel at any time, and owns the deadline.
        """
        ...


class SystemResolver:
    """The operating system's resolver, in daemon threads of its own.

    Concurrent look-ups of one name share a thread. At most 8 run at once; a look-up
    hangs once it has run for `hung_after` seconds. Nobody joins one that hangs: after
    a change of network a fresh one may well succeed. While 8 hang, the name service
    is taken to be down and further names fail at once. Any thread and loop may call.
    """

    def __init__(
        self, getaddrinfo: GetAddrInfo | None = None, *, hung_after: float = 3.0
    ) -> None:
        self._getaddrinfo: GetAddrInfo = getaddrinfo or socket.getaddrinfo
        self._hung_after = hung_after
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self._waiting: deque[_Lookup] = deque()
        self._running: set[_Lookup] = set()

    async def resolve(self, host: str, port: int) -> list[AddrInfo]:
        """Look `host` up. An address literal is answered without a thread.

        Raises `WireError` with the cause NAME_RESOLUTION.
        """
        if _is_literal(host):
            return _numeric(host, port)
        waiter: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        lookup = self._join(host, port, waiter)
        try:
            outcome = await waiter
        finally:
            self._leave(lookup, waiter)
        if isinstance(outcome, str):
            raise WireError(Cause.NAME_RESOLUTION, f"{host}: {outcome}")
        return list(outcome)  # others may hold the same

    def _join(self, host: str, port: int, waiter: asyncio.Future[_Outcome]) -> _Lookup:
        """Wait for the look-up under way, or begin one."""
        now = time.monotonic()
        with self._lock:
            lookup = self._lookups.get((host, port))
            if lookup is None or self._hangs(lookup, now=now):
                lookup = _Lookup(host, port)
                if len(self._running) < THREAD_LIMIT:
                    self._start(lookup, now=now)
                elif all(self._hangs(it, now=now) for it in self._running):
                    raise WireError(
                        Cause.NAME_RESOLUTION,
                        f"{host}: the name service does not answer "
                        f"({THREAD_LIMIT} look-ups hang)",
                    )
                else:
                    self._waiting.append(lookup)
                self._lookups[host, port] = lookup
            lookup.waiters.add(waiter)
            return lookup

    def _leave(self, lookup: _Lookup, waiter: asyncio.Future[_Outcome]) -> None:
        """Forget a caller; a look-up nobody waits for gives up its place in the row."""
        with self._lock:
            lookup.waiters.discard(waiter)
            if not lookup.waiters and lookup in self._waiting:
                self._waiting.remove(lookup)
                self._forget(lookup)

    def _hangs(self, lookup: _Lookup, *, now: float) -> bool:
        began = lookup.started_at
        return began is not None and now - began >= self._hung_after

    def _start(self, lookup: _Lookup, *, now: float) -> None:
        thread = threading.Thread(
            target=self._work, args=(lookup,), name="heartline-resolve", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as exc:
            raise WireError(
                Cause.NAME_RESOLUTION, f"{lookup.host}: no thread to look it up: {exc}"
            ) from None
        lookup.started_at = now
        self._running.add(lookup)

    def _work(self, first: _Lookup) -> None:
        """Run in a thread: one look-up after another while any wait."""
        lookup: _Lookup | None = first
        while lookup is not None:
            outcome = self._look_up(lookup)
            done, lookup = lookup, self._next(after=lookup)
            for waiter in tuple(done.waiters):
                _tell(waiter, outcome)

    def _next(self, *, after: _Lookup) -> _Lookup | None:
        """Strike a finished look-up off, and take the one that waited longest."""
        with self._lock:
            self._running.discard(after)
            self._forget(after)
            if not self._waiting:
                return None
            lookup = self._waiting.popleft()
            lookup.started_at = time.monotonic()
            self._running.add(lookup)
            return lookup

    def _forget(self, lookup: _Lookup) -> None:
        if self._lookups.get((lookup.host, lookup.port)) is lookup:
            del self._lookups[lookup.host, lookup.port]

    def _look_up(self, lookup: _Lookup) -> _Outcome | Exception:
        try:
            found = self._getaddrinfo(lookup.host, lookup.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:  # UnicodeError: not a host name at all
            return _reason(exc)
        except Exception as exc:  # a fault of ours: the caller is told, not the thread
            return exc
        return list(found) or "no addresses"


_Outcome: TypeAlias = "list[AddrInfo] | str"
"""What was found, or the reason why nothing was."""


class _Lookup:
    """One name being looked up, and who waits for it."""

    __slots__ = ("host", "port", "started_at", "waiters")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.started_at: float | None = None
        self.waiters: set[asyncio.Future[_Outcome]] = set()


def _tell(waiter: asyncio.Future[_Outcome], outcome: _Outcome | Exception) -> None:
    def settle() -> None:
        if waiter.done():
            return
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)

    loop = waiter.get_loop()
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _numeric(host: str, port: int) -> list[AddrInfo]:
    """Read an address literal; never asks the network, so it cannot block."""
    numeric = socket.AI_NUMERICHOST
    try:
        return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)]
    except OSError as exc:
        raise WireError(Cause.NAME_RESOLUTION, f"{host}: {_reason(exc)}") from None


def _reason(exc: OSError | UnicodeError) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return "not a host name"
