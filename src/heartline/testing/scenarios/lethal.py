"""Faults that end an established link: told ends, dead paths, frozen venues."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from contextlib import suppress

from heartline.client import Stream
from heartline.core.events import Lost
from heartline.core.items import Cause
from heartline.errors import NotOpen, OutboxFull
from heartline.testing.faults import Fault
from heartline.testing.faulty import FaultyServer
from heartline.testing.halfopen import drop_inbound

from .trial import DIAL_TAKES, RATE, RHYTHM, TOLD_AT_ONCE, WARM_UP, Trial

STAYS_FROZEN = 1.5
"""Seconds that a venue stays frozen after it was found out."""
CHUNK = "x" * 16_384
WRITE_EVERY = 0.005
MOST_AT_ONCE = 64


async def close(trial: Trial) -> None:
    await _told_end(trial, "close", Cause.CLOSED_BY_PEER, 1001)


async def reset(trial: Trial) -> None:
    await _told_end(trial, "reset", Cause.RESET, None)


async def eof(trial: Trial) -> None:
    await _told_end(trial, "eof", Cause.CLOSED_BY_PEER, 1006)


async def _told_end(
    trial: Trial, fault: Fault, cause: Cause, status: int | None
) -> None:
    done = {
        "close": "the venue closes the connection with code 1001",
        "reset": "the venue's machine resets the connection (RST)",
        "eof": "the venue hangs up without a closing handshake (FIN)",
    }
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, WARM_UP)
        trial.strike(done[fault])
        await server.do(fault)
        at = await trial.loss(cause, bound=TOLD_AT_ONCE, status=status)
        await _return(trial, stream, cause, at)


async def _return(
    trial: Trial, stream: Stream, cause: Cause, lost_at: float | None
) -> None:
    """The fault is over with the link: back within the wait that was announced."""
    if lost_at is None:
        return
    limit = trial.announced_wait(lost_at) + DIAL_TAKES
    back_at = await trial.recovery(
        stream, since_at=lost_at, since="the loss", limit=limit
    )
    trial.excuse(cause, until_at=back_at)


# --- a dead path ------------------------------------------------------------------


async def blackhole(trial: Trial) -> None:
    await _dead_path(trial, inbound=True, outbound=True)


async def blackhole_in(trial: Trial) -> None:
    await _dead_path(trial, inbound=True, outbound=False)


async def blackhole_out(trial: Trial) -> None:
    await _dead_path(trial, inbound=False, outbound=True)


async def _dead_path(trial: Trial, *, inbound: bool, outbound: bool) -> None:
    """Segments vanish below TCP, so that neither end is told anything.

    Outbound, the venue's data goes on coming until its window is full: signs of life
    stop with the last of it.
    """
    what = {
        (True, True): "the network swallows everything, both ways",
        (True, False): "the network swallows all that comes to us",
        (False, True): "the network swallows all that we send; data still comes",
    }[inbound, outbound]
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, RHYTHM)
        own = own_socket(server.port)
        bound = stream.status.bounds.path
        trial.strike(f"{what}; the connection stays “open”")
        if inbound:
            drop_inbound(own)
        if outbound:
            await server.do("drop_filter", scope="present")
        last_sign, since = None, "the fault"
        if not inbound:
            last_sign, since = (lambda: trial.witness.heard_at), "the last data"
        at = await trial.loss(
            Cause.PATH_DEAD, bound=bound, last_sign=last_sign, since=since
        )
        await _return(trial, stream, Cause.PATH_DEAD, at)


def own_socket(port: int) -> int:
    """The descriptor of this process's connection to that port on this machine.

    Raises `LookupError` if there is none.
    """
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as twin:
                if twin.getpeername() == ("127.0.0.1", port):
                    return fd
    raise LookupError(f"no connection to port {port}")


# --- a frozen venue ---------------------------------------------------------------


async def frozen(trial: Trial) -> None:
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, RHYTHM)
        bound = stream.status.bounds.peer
        trial.strike("the venue's process is frozen; its kernel goes on answering")
        server.freeze()
        await _found_frozen(trial, server, stream, bound)


async def frozen_writing(trial: Trial) -> None:
    async with FaultyServer(rate=RATE) as server, trial.streaming(server.url) as stream:
        await trial.settle_in(stream, RHYTHM)
        bound = stream.status.bounds.peer
        writing = asyncio.create_task(_write(stream, trial))
        try:
            await asyncio.sleep(0.1)
            trial.strike("the venue's process is frozen while we write megabytes to it")
            server.freeze()
            await _found_frozen(trial, server, stream, bound)
        finally:
            writing.cancel()
        trial.expect(trial.figures["outbox_full"] > 0, "the outbox never became full")


async def _found_frozen(
    trial: Trial, server: FaultyServer, stream: Stream, bound: float
) -> None:
    at = await trial.loss(Cause.PEER_FROZEN, bound=bound)
    if "written_bytes" in trial.figures:
        _tell_written(trial)
    await asyncio.sleep(STAYS_FROZEN)
    limit = trial.left_to_wait(stream.status) + DIAL_TAKES
    thawed_at = time.monotonic()
    server.thaw()
    if at is None:
        return
    trial.tell("fault", "the venue goes on", at=thawed_at)
    back_at = await trial.recovery(
        stream, since_at=thawed_at, since="the venue goes on", limit=limit
    )
    trial.excuse(Cause.PEER_FROZEN, until_at=back_at)


async def _write(stream: Stream, trial: Trial) -> None:
    """Send until the outbox is full, and keep trying, until the link is lost."""
    figures = trial.figures
    figures["written_bytes"] = figures["outbox_full"] = 0
    while True:
        try:
            for _ in range(MOST_AT_ONCE):
                stream.send(CHUNK)
                figures["written_bytes"] += len(CHUNK)
        except OutboxFull:
            figures["outbox_full"] += 1
        except NotOpen:
            return
        await asyncio.sleep(WRITE_EVERY)


def _tell_written(trial: Trial) -> None:
    written = trial.figures["written_bytes"] / 1e6
    seen = trial.witness.past(Lost, since=trial.struck_at)
    unsent = 0 if seen is None else seen[1].unsent
    trial.figures["unsent"] = unsent
    trial.tell(
        "stream",
        f"{written:.1f} MB had been written, then the pipe was full; "
        f"{unsent} messages are reported unsent",
    )
