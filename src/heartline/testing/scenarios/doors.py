"""Faults of connecting: no name, no answer, a refusal, a door that slams shut."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from heartline.core.backoff import Backoff
from heartline.core.events import BackingOff, Connected, Connecting, Lost
from heartline.core.items import Cause
from heartline.core.terms import Dialling
from heartline.observe.words import duration
from heartline.testing.faults import Fault
from heartline.testing.faulty import FaultyServer
from heartline.wire.resolve import AddrInfo, SystemResolver

from .trial import DIAL_TAKES, RATE, TOLD_AT_ONCE, Trial

SHORT = Dialling(resolve=1.0, connect=2.0)
"""Shorter deadlines than the default 5 s and 10 s, so that the trial is short."""
FLAPPING = 10.0
TRY_AGAIN_LATER = 1013


async def hang(trial: Trial) -> None:
    given = f"{SHORT.connect:g} s given here, {Dialling().connect:g} by default"
    what = f"the venue takes the call and never answers ({given})"
    await _shut_door(trial, "hang", what, Cause.HANDSHAKE_TIMEOUT, None)


async def refuse(trial: Trial) -> None:
    what = "the venue answers “503 Service Unavailable”"
    await _shut_door(trial, "refuse", what, Cause.REFUSED, 503)


async def _shut_door(
    trial: Trial, fault: Fault, what: str, cause: Cause, status: int | None
) -> None:
    async with FaultyServer(rate=RATE) as server:
        await server.do(fault)
        began_at = trial.strike(what)
        async with trial.streaming(server.url, dialling=SHORT) as stream:
            bound = SHORT.connect + TOLD_AT_ONCE
            at = await trial.dial_loss(
                cause, began_at=began_at, bound=bound, status=status
            )
            lifted_at = time.monotonic()
            await server.do("restore")
            if at is not None:
                trial.tell("fault", "the venue is well again", at=lifted_at)
                limit = trial.announced_wait(at) + DIAL_TAKES
                since = "the venue is well"
                back_at = await trial.recovery(
                    stream, since_at=lifted_at, since=since, limit=limit
                )
                trial.excuse(cause, until_at=back_at)


# --- names ------------------------------------------------------------------------


class NameService:
    """Stands for the system's: what it does is chosen here, and no packet is sent."""

    def __init__(self, port: int, *, hangs: bool) -> None:
        self._port = port
        self._hangs = hangs
        self._well = threading.Event()

    def heal(self) -> None:
        self._well.set()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> Sequence[AddrInfo]:
        if self._hangs:
            self._well.wait()
        elif not self._well.is_set():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = ("127.0.0.1", self._port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


async def dns(trial: Trial) -> None:
    """Two streams, one whose name is not known and one whose resolver hangs.

    The slower of the two is what is shown; a broken promise of either breaks the row.
    """
    other = Trial(trial.fault, trial.title)
    async with FaultyServer(rate=RATE) as server:
        given = f"{SHORT.resolve:g} s given here, {Dialling().resolve:g} by default"
        trial.strike(f"one resolver hangs ({given}); another does not know the name")
        other.struck_at = trial.struck_at
        await asyncio.gather(
            _lost_name(trial, NameService(server.port, hangs=True)),
            _lost_name(other, NameService(server.port, hangs=False)),
        )
    unknown = other.outcome()
    trial.expect(unknown.ok, "; ".join(unknown.broken))
    trial.attempts += other.attempts
    if other.told_after is not None and other.recovered_after is not None:
        trial.figures["unknown_told_after_s"] = other.told_after
        told, back = duration(other.told_after), duration(other.recovered_after)
        trial.tell(
            "stream",
            f"the unknown name: {other.cause} after {told}, OPEN {back} after "
            f"{other.recovered_since}",
        )


async def _lost_name(trial: Trial, names: NameService) -> None:
    resolver = SystemResolver(names.getaddrinfo)
    began_at = time.monotonic()
    url = "ws://venue.example:80/"
    async with trial.streaming(url, dialling=SHORT, resolver=resolver) as stream:
        bound = SHORT.resolve + TOLD_AT_ONCE
        at = await trial.dial_loss(
            Cause.NAME_RESOLUTION, began_at=began_at, bound=bound
        )
        lifted_at = time.monotonic()
        names.heal()
        if at is not None:
            limit = trial.announced_wait(at) + DIAL_TAKES
            since = "names resolve"
            back_at = await trial.recovery(
                stream, since_at=lifted_at, since=since, limit=limit
            )
            trial.excuse(Cause.NAME_RESOLUTION, until_at=back_at)


# --- a loop of accepting and closing ----------------------------------------------


async def flap(trial: Trial) -> None:
    async with FaultyServer(rate=RATE) as server:
        await server.do("flap", code=TRY_AGAIN_LATER)
        trial.strike("the venue accepts every connection and closes it at once (1013)")
        async with trial.streaming(server.url, dialling=SHORT) as stream:
            await asyncio.sleep(FLAPPING)
            lifted_at = time.monotonic()
            limit = trial.left_to_wait(stream.status) + DIAL_TAKES
            await server.do("restore")
            _judge_flapping(trial)
            trial.tell("fault", "the venue is well again", at=lifted_at)
            since = "the venue is well"
            back_at = await trial.recovery(
                stream, since_at=lifted_at, since=since, limit=limit
            )
            trial.excuse(Cause.CLOSED_BY_PEER, until_at=back_at)


def _judge_flapping(trial: Trial) -> None:
    """Each end told at once, and no more dials than the backoff allows."""
    witness = trial.witness
    opened = [at for at, _ in witness.every(Connected)]
    lost = witness.every(Lost)
    dials = [at for at, _ in witness.every(Connecting)]
    most = most_dials(FLAPPING, status=TRY_AGAIN_LATER)
    trial.expect(len(lost) == len(opened) > 0, "not every end was told")
    trial.bound, trial.since = TOLD_AT_ONCE, "the accepted connection"
    for (at, event), opened_at in zip(lost, opened, strict=False):
        trial.cause, trial.status = event.cause, event.status
        trial.right(Cause.CLOSED_BY_PEER, TRY_AGAIN_LATER)
        trial.told_after = max(trial.told_after or 0.0, at - opened_at)
    if lost:
        after = trial.told_after or 0.0
        trial.expect(after <= TOLD_AT_ONCE, f"told {duration(after)} after it opened")
        told = f"CLOSED_BY_PEER {TRY_AGAIN_LATER}, told {len(lost)} times"
        trial.tell("stream", f"{told}, each within {duration(after)}", at=lost[0][0])
    for announced_at, backing_off in witness.every(BackingOff):
        following = [at for at in dials if at > announced_at]
        if following:
            early = announced_at + backing_off.delay - following[0]
            trial.expect(early < 0.01, f"dialled {early:.2f} s before it was announced")
    trial.figures["most_attempts"] = most
    trial.expect(len(dials) <= most, f"{len(dials)} attempts, at most {most} wanted")
    trial.tell(
        "stream",
        f"{len(dials)} attempts in {FLAPPING:g} s, each after the wait that was "
        f"announced; at most {most} allowed",
    )


def most_dials(seconds: float, *, status: int) -> int:
    """How many dials the default backoff allows in that time, if luck makes it hurry.

    The first is at once; being accepted is not yet being useful.
    """
    backoff, at, dials = Backoff(), 0.0, 0
    while at <= seconds:
        dials += 1
        at += backoff.delay(dials, draw=0.0, status=status)
    return dials
