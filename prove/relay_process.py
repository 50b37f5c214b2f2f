"""`heartline relay` as a process that can be killed, and how it says it stands."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from functools import partial
from typing import Any

import httpx

from heartline.testing.orders import die_with

LIVE = 120.0
"""Seconds a relay may take to be live, on a busy machine too."""


class RelayProcess:
    """One relay of a venue simulator, on a port that it keeps through restarts."""

    def __init__(self, url: str, channels: list[str], *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        self._command = [
            *(sys.executable, "-m", "heartline", "relay", url, *channels),
            *("--venue", "deribit", "--listen", f"127.0.0.1:{self.port}", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            preexec_fn=partial(die_with, os.getpid()),
        )

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def page(self, path: str) -> dict[str, Any]:
        """What a page of it says; empty while it does not answer."""
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                url = f"http://127.0.0.1:{self.port}{path}"
                said: dict[str, Any] = (await client.get(url, timeout=2.0)).json()
            except httpx.HTTPError:
                return {}
        return said

    async def live(self, *, leased: bool = False) -> dict[str, Any]:
        """Wait until its upstream is live, and its lease stands; what it says then."""
        async with asyncio.timeout(LIVE):
            while True:
                said = await self.page("/healthz")
                bus = said.get("bus", {})
                if said.get("status") == "LIVE" and (bus.get("leased") or not leased):
                    return said
                await asyncio.sleep(0.05)
