"""A WebSocket venue in a process of its own that misbehaves on command.

It keeps to RFC 6455 with a codec of its own, so that it is an independent check of a
client as well. Nothing here depends on heartline's client: test any client with it.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from heartline.errors import UsageError

from .faults import Fault, Options, Scope, check_fault
from .faulty_process import PROGRESS
from .halfopen import available
from .process import ChildProcess

TRADE = (
    '{"channel":"trades","symbol":"BTC-USD","side":"buy","price":"64250.10",'
    '"size":"0.01500","trade_id":"7f3c2a90-1b52-4d0e","liquidation":false}'
)

_POLL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueCounts:
    """What the venue's process has seen since it was started."""

    sent: int = 0
    """Messages numbered since the first start, delivered or lost; also the last seq."""
    shed: int = 0
    """Of these, not written because a client had let too much pile up."""
    connections: int = 0
    handshakes: int = 0
    refused: int = 0
    open: int = 0
    """Upgraded and not closing, now."""
    pings: int = 0
    pongs: int = 0
    messages: int = 0
    closes: int = 0
    bytes_received: int = 0
    violations: int = 0
    """Breaches of RFC 6455 by a client; zero for a client that is in order."""


class FaultyServer:
    """A venue on 127.0.0.1 whose every fault can be ordered.

        async with FaultyServer(rate=50.0) as server:
            async with heartline.connect(server.url) as stream:
                await stream.wait_live(timeout=5.0)
                await server.do("mute")                     # pongs come, data stops
                await server.do("mute", on=False)
                await server.do("refuse", status=503, headers={"Retry-After": "2"})
                await server.do("close", code=1001)         # every connection, now
                server.freeze()                             # SIGSTOP

    | member                                | meaning                                |
    |---------------------------------------|----------------------------------------|
    | `url`, `port`, `pid`                  | where it is; kept by `restart`         |
    | `await do(fault, scope=, **options)`  | a fault, see below                     |
    | `await burst(n) -> (first, last)`     | n messages as fast as possible         |
    | `await set_rate(rate)`                | messages a second from now on; 0: idle |
    | `await counts() -> VenueCounts`       | what it has seen                       |
    | `await until(condition, within=5.0)`  | wait for counts that satisfy it        |
    | `await received() -> list[str|bytes]` | the last 1000 messages of clients      |
    | `await requests() -> list[dict]`      | the last 1000 upgrades: path, headers  |
    | `sent`                                | last number; readable though frozen    |
    | `freeze()`, `thaw()`, `kill()`        | SIGSTOP, SIGCONT, SIGKILL              |
    | `await restart()`                     | kill, start anew on the same port      |

    Messages are text, `{"seq": n, "sent_at": s, ...}`: `seq` counts from 1, `sent_at`
    is CLOCK_MONOTONIC seconds (comparable with `time.monotonic()` here), the rest is
    `text`, a JSON object. The clock drives the numbers, whoever listens: messages due
    while nobody is connected, or while the process is frozen or restarting, count as
    sent. After a thaw those that fell due come at once. A client that lets more than
    `buffer_limit_bytes` pile up loses messages, which `counts().shed` tells.

    `answers` maps texts of clients to texts sent back, for application heartbeats.
    Pings are answered and closes replied to, unless a fault says otherwise.

    | fault, options           | what the venue does                                  |
    |--------------------------|------------------------------------------------------|
    | `mute`                   | no data; pongs come                                  |
    | `no_pong`                | data comes, pongs do not                             |
    | `late_pong` delay=1.0    | every pong so many seconds late                      |
    | `unsolicited` every=0.2  | stray pongs, and every answer twice                  |
    | `no_answer`              | texts in `answers` are not answered                  |
    | `echo`                   | messages of the client come back                     |
    | `trickle` every=1.0      | bytes of the next write drip, one each `every`       |
    | `cork`                   | all is held back; released at once when it ends      |
    | `deaf`                   | does not read: the client's pipe fills up            |
    | `drop_filter`            | what clients send vanishes before TCP (half-open)    |
    | `close` code=1001 reason | closing handshake                                    |
    | `reset`                  | RST                                                  |
    | `eof`                    | FIN without close frame; goes on reading             |
    | `refuse` status=503      | HTTP refusal; also `headers={}`, `body=""`           |
    | `hang`                   | takes the upgrade request, never answers             |
    | `flap` code=1013 reason  | upgrades, then closes                                |
    | `restore`                | ends all faults                                      |

    `on=False` ends a fault. `scope` is "present", "following" or "all" connections;
    it defaults to "all" for a lasting fault, "present" for `close`, `reset` and `eof`
    and "following", the only one allowed, for `refuse`, `hang` and `flap`. The three
    in the middle, for following connections, happen right after the upgrade. Those
    and `flap` take `after`, seconds to wait. `drop_filter` for following connections
    sits on the listening socket: dialling hangs. It needs Linux (`halfopen`).

    On exit the process is gone and reaped, frozen or not; it dies with this process
    as well. Start it from the thread that runs the loop.
    """

    def __init__(
        self,
        *,
        rate: float = 50.0,
        text: str = TRADE,
        answers: Mapping[str, str] | None = None,
        port: int = 0,
        buffer_limit_bytes: int = 64 << 20,
    ) -> None:
        """`rate` is messages a second, 0 for none. Raises `UsageError`."""
        self._options: Options = {
            "rate": _check_rate(rate),
            "text": _check_text(text),
            "answers": dict(answers or {}),
            "port": port,
            "buffer_limit_bytes": buffer_limit_bytes,
        }
        self._child: ChildProcess | None = None
        self._file: IO[bytes] | None = None
        self._progress = mmap.mmap(-1, PROGRESS.size)

    async def __aenter__(self) -> Self:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self._file.truncate(PROGRESS.size)
        self._progress = mmap.mmap(self._file.fileno(), PROGRESS.size)
        try:
            await self._start()
        except BaseException:
            self._file.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def port(self) -> int:
        """The port; 0 before the first start if none was asked for."""
        port: int = self._options["port"]
        return port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def sent(self) -> int:
        """The number of the last message, without asking the process."""
        sent: int = PROGRESS.unpack_from(self._progress)[0]
        return sent

    async def do(
        self, fault: Fault, *, scope: Scope | None = None, **options: object
    ) -> None:
        """Begin, do or end a fault; done when this returns. Options: see the class.

        Raises `UsageError` for what cannot be, `ConnectionError` if the process is
        gone, `TimeoutError` if it is frozen.
        """
        order = check_fault(fault, scope, dict(options))
        if fault == "drop_filter" and (reason := available()) is not None:
            raise UsageError("drop_filter", wanted="socket filters", got=reason)
        await self._running().ask("fault", {"fault": fault, **order})

    async def burst(self, messages: int) -> tuple[int, int]:
        """Send so many messages as fast as possible; return first and last number.

        Returns when they are written, which is not yet received. The clock's own
        messages may be among them. Errors as of `do`.
        """
        if messages < 1:
            raise UsageError("messages", wanted="at least 1", got=messages)
        first, last = await self._running().ask("burst", {"messages": messages})
        return first, last

    async def set_rate(self, rate: float) -> None:
        """Send so many messages a second from now on, 0 for none. Errors as of `do`."""
        self._options["rate"] = _check_rate(rate)
        await self._running().ask("rate", {"rate": rate})

    async def counts(self) -> VenueCounts:
        """Ask what it has seen. Errors as of `do`."""
        return VenueCounts(**await self._running().ask("counts", {}))

    async def until(
        self, condition: Callable[[VenueCounts], bool], *, within: float = 5.0
    ) -> VenueCounts:
        """Wait until its counts satisfy a condition; return them.

        Raises `TimeoutError` with the last counts in its text; else as `do`.
        """
        deadline = time.monotonic() + within
        while not condition(counts := await self.counts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"faulty server: after {within:g} s still {counts}")
            await asyncio.sleep(_POLL)
        return counts

    async def received(self) -> list[str | bytes]:
        """Return the last 1000 messages of clients, oldest first. Errors as of `do`."""
        messages: list[dict[str, str]] = await self._running().ask("received", {})
        return [m["text"] if "text" in m else bytes.fromhex(m["hex"]) for m in messages]

    async def requests(self) -> list[Options]:
        """Return the last 1000 upgrade requests, each `{"path", "headers"}`, oldest
        first; header names in lower case. Errors as of `do`."""
        requests: list[Options] = await self._running().ask("requests", {})
        return requests

    def freeze(self) -> None:
        """SIGSTOP: its kernel acknowledges still, nothing else happens."""
        self._running().freeze()

    def thaw(self) -> None:
        """SIGCONT: it goes on, and sends at once what fell due meanwhile."""
        self._running().thaw()

    def kill(self) -> None:
        """SIGKILL: the kernel ends its connections; dialling is refused until
        `restart`."""
        self._running().kill()

    async def restart(self) -> None:
        """Kill it, in whatever state, and start it anew on the same port.

        Numbering goes on, with what fell due meanwhile lost. Faults and counts
        start from nothing. Raises `OSError` if somebody took the port.
        """
        self._running().end()
        await self._start()

    async def _start(self) -> None:
        assert self._file is not None
        child = ChildProcess("faulty_process", what="faulty server")
        fd = self._file.fileno()
        ready = await child.start({**self._options, "progress_fd": fd}, pass_fds=(fd,))
        self._options["port"] = ready["port"]
        self._child = child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
        if self._file is not None:
            self._file.close()

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise UsageError("FaultyServer", wanted="`async with`", got="no start")
        return self._child


def _check_rate(rate: float) -> float:
    if not 0 <= rate <= 1_000_000:
        raise UsageError("rate", wanted="0 to 1,000,000 messages a second", got=rate)
    return rate


def _check_text(text: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or {"seq", "sent_at"} & fields.keys():
        raise UsageError(
            "text", wanted="a JSON object without seq and sent_at", got=text[:80]
        )
    return text
