"""All that one trial needs: three namespaces, the wires, and the processes in them."""

from __future__ import annotations

import asyncio
import mmap
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from heartline.testing.faults import Fault, Scope, check_fault
from heartline.testing.faulty import TRADE
from heartline.testing.faulty_process import PROGRESS
from heartline.testing.process import ChildProcess

from . import links
from .namespaces import Names, ip, make, new_names, remove

Network: TypeAlias = Literal["plain", "nat", "tun"]

VENUE_LIMIT_BYTES = 64 << 20
BEHIND = ("127.0.0.1", 9002)
"""Where the venue listens when a balancer stands before it."""
STARTS = 3
"""Processes that start at once: interpreters are the lab's heaviest load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a row wants to find when it begins."""

    network: Network = "plain"
    tls: bool = False
    deflate: bool = False
    balancer: bool = False
    client: str = "client"
    """The module of the process under test, one of this package."""
    module: str = ""
    """What a `guest` is made of."""


class Stage:
    """An async context; on leaving it nothing of the trial is left.

    `starting` is shared by those side by side: who holds it may start a process.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        seed: int,
        starting: asyncio.Semaphore | None = None,
    ) -> None:
        self._starting = starting or asyncio.Semaphore(STARTS)
        self.setting = setting
        self.names: Names = new_names()
        self.pem = certificate() if setting.tls else None
        self._seed = seed
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self._file.truncate(PROGRESS.size)
        self._progress = mmap.mmap(self._file.fileno(), PROGRESS.size)
        self._children: list[ChildProcess] = []
        self.venue = ChildProcess("lab.venue", what="the lab's venue")
        self.client = ChildProcess(f"lab.{setting.client}", what="the lab's client")
        self.tun: ChildProcess | None = None
        self.balancer: ChildProcess | None = None
        self.filter: links.Filter | None = None
        self.connections: links.Connections | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._lay()
            await self._people()
        except BaseException:
            await self._clear()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._clear()

    @property
    def url(self) -> str:
        return f"{'wss' if self.setting.tls else 'ws'}://{links.VENUE}:{links.PORT}/"

    @property
    def sent(self) -> int:
        """The number of the venue's last message; readable though it is frozen."""
        number: int = PROGRESS.unpack_from(self._progress)[0]
        return number

    def rules(self, text: str) -> None:
        """Have the router obey these rules, within a millisecond."""
        assert self.filter is not None
        self.filter.run(text)

    async def fault(
        self, name: Fault, *, scope: Scope | None = None, **options: object
    ) -> None:
        """Order one of the faulty server's faults."""
        order = check_fault(name, scope, dict(options))
        await self.venue.ask("fault", {"fault": name, **order})

    async def restart_venue(self) -> None:
        """Start it anew at its address, numbering on; it was killed before."""
        self.venue.end()
        self._children.remove(self.venue)
        self.venue = ChildProcess("lab.venue", what="the lab's venue")
        await self._start_venue()

    async def another(self, module: str, options: Mapping[str, Any]) -> ChildProcess:
        """One more process of the lab, ended with the stage."""
        child = ChildProcess(f"lab.{module}", what=f"the lab's {module}")
        async with self._starting:
            await child.start(options)
        self._children.append(child)
        return child

    # --- up -----------------------------------------------------------------------

    async def _lay(self) -> None:
        names, network = self.names, self.setting.network
        await make(names)
        await ip(links.cables(names, tun=network == "tun"))
        if network == "tun":
            ends = [names.router, names.venue]
            options = {"namespaces": ends, "device": "far", "seed": self._seed}
            self.tun = await self.another("tun_link", options)
        for name, batch in links.addresses(names).items():
            await ip(batch, within=name)
        links.forward(names.router)
        self.filter = links.Filter(names.router)
        self.filter.run(links.base_rules(nat=network == "nat"))
        if network == "nat":
            self.connections = links.Connections(names.router)

    async def _people(self) -> None:
        await self._start_venue()
        if self.setting.balancer:
            host, port = BEHIND
            self.balancer = await self.another(
                "balancer",
                {
                    "namespace": self.names.venue,
                    "host": links.VENUE,
                    "port": links.PORT,
                    "venue_host": host,
                    "venue_port": port,
                },
            )
        options = {
            "namespace": self.names.client,
            "path": sys.path,
            "module": self.setting.module,
        }
        async with self._starting:
            await self.client.start(options)
        self._children.append(self.client)

    async def _start_venue(self) -> None:
        fd = self._file.fileno()
        host, port = BEHIND if self.setting.balancer else ("0.0.0.0", links.PORT)
        options: dict[str, Any] = {
            "namespace": self.names.venue,
            "host": host,
            "port": port,
            "rate": 0.0,
            "text": TRADE,
            "answers": {},
            "buffer_limit_bytes": VENUE_LIMIT_BYTES,
            "progress_fd": fd,
            "deflate": self.setting.deflate,
            "pem": self.pem,
        }
        async with self._starting:
            await self.venue.start(options, pass_fds=(fd,))
        self._children.append(self.venue)

    # --- down ---------------------------------------------------------------------

    async def _clear(self) -> None:
        for child in self._children:
            child.end()
        for hand in (self.filter, self.connections):
            if hand is not None:
                hand.close()
        self._file.close()
        await remove(self.names)


@cache
def certificate() -> str:
    """A key and a certificate for the venue's address, by `openssl`, for this run.

    Raises `OSError` where there is no `openssl`. They are never on any disk.
    """
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
        *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=venue"),
        *("-addext", f"subjectAltName=IP:{links.VENUE}"),
        *("-keyout", "/dev/stdout", "-out", "/dev/stdout"),
    ]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        raise OSError(f"openssl: {made.stderr.strip()}")
    return made.stdout
