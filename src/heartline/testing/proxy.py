"""A TCP proxy whose faults can be ordered, for servers that are not ours to break.

It lives in a process of its own: in the loop under test it would stall whenever that
loop does, and in a thread it would wait for the same interpreter lock.

It cannot make PATH_DEAD: whatever it withholds, its own kernel goes on acknowledging
every segment, so a path through it looks like a living path to a silent peer. Use
`halfopen` for a dead one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from types import TracebackType
from typing import Literal, Self, TypeAlias

from heartline.errors import UsageError

from .process import ChildProcess

Direction: TypeAlias = Literal["inbound", "outbound", "both"]
"""As the client sees it: inbound is from the server, outbound to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCounts:
    """What went through since the start; `open` is now."""

    connections: int
    open: int
    inbound_bytes: int
    outbound_bytes: int


class FaultProxy:
    """Forward 127.0.0.1:`port` to `target_port`, badly if so ordered.

        async with FaultyServer() as server, FaultProxy(server.port) as proxy:
            async with heartline.connect(proxy.url) as stream:
                await stream.wait_live(timeout=5.0)
                await proxy.blackhole(direction="inbound")
                await proxy.restore()

    Faults hold for connections open and to come, until `restore`. Every order is done
    when it returns. They raise `UsageError` for what cannot be, `ConnectionError` if
    the process is gone, `TimeoutError` if it is frozen.

    On exit the process is gone and reaped, frozen or not; it dies with this process
    as well. Start it from the thread that runs the loop.
    """

    def __init__(
        self, target_port: int, *, target_host: str = "127.0.0.1", seed: int = 0
    ) -> None:
        """`seed` decides the jitter; connections and directions draw apart."""
        self._options = {
            "target_port": target_port,
            "target_host": target_host,
            "seed": seed,
        }
        self._child = ChildProcess("proxy_process", what="fault proxy")
        self._port = 0

    async def __aenter__(self) -> Self:
        self._port = (await self._child.start(self._options))["port"]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.end()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The proxy as a WebSocket URL, for a target that speaks it."""
        return f"ws://127.0.0.1:{self._port}/"

    @property
    def pid(self) -> int:
        return self._child.pid

    async def blackhole(self, *, direction: Direction = "both") -> None:
        """Stop to forward, ends of connections too; keep every socket.

        Nothing is lost: after `restore` it flows again. Meanwhile the proxy takes
        what its buffers hold, some 100 KiB and the kernel's, then the sender's pipe
        fills up. Connections to come are accepted, and hear nothing.
        """
        await self._set(direction, blackhole=True)

    async def delay(self, seconds: float, *, direction: Direction = "both") -> None:
        """Forward everything so many seconds later."""
        await self._set(direction, delay=_check("delay", seconds))

    async def jitter(self, seconds: float, *, direction: Direction = "both") -> None:
        """Delay each piece by up to so many seconds more, evenly drawn, in order."""
        await self._set(direction, jitter=_check("jitter", seconds))

    async def trickle(
        self, bytes_per_second: float, *, direction: Direction = "both"
    ) -> None:
        """Let through no more than so many bytes a second, evenly."""
        rate = _check("bytes_per_second", bytes_per_second)
        if rate == 0:
            raise UsageError("bytes_per_second", wanted="more than 0", got=rate)
        await self._set(direction, trickle=rate)

    async def restore(self, *, direction: Direction = "both") -> None:
        """Forward faithfully again; what was withheld goes first."""
        await self._set(direction, blackhole=False, delay=0.0, jitter=0.0, trickle=0.0)

    async def cut(self, how: Literal["rst", "fin"] = "rst") -> None:
        """End all connections towards both sides; what is under way is lost.

        Connections to come are not touched.
        """
        if how not in ("rst", "fin"):
            raise UsageError("how", wanted="rst | fin", got=how)
        await self._child.ask("cut", {"how": how})

    async def counts(self) -> ProxyCounts:
        """Ask what went through."""
        return ProxyCounts(**await self._child.ask("counts", {}))

    def freeze(self) -> None:
        """SIGSTOP: its kernel takes and acknowledges, nothing is forwarded."""
        self._child.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self._child.thaw()

    def kill(self) -> None:
        """SIGKILL: the kernel ends its connections, dialling is refused."""
        self._child.kill()

    async def _set(self, direction: Direction, **changes: float | bool) -> None:
        if direction not in ("inbound", "outbound", "both"):
            raise UsageError(
                "direction", wanted="inbound | outbound | both", got=direction
            )
        sides = ["inbound", "outbound"] if direction == "both" else [direction]
        await self._child.ask("set", {"sides": sides, "changes": changes})


def _check(name: str, value: float) -> float:
    if not isfinite(value) or value < 0:
        raise UsageError(name, wanted="a finite number >= 0", got=value)
    return float(value)
