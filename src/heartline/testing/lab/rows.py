"""Every fault as data: what is done, what must be told, by when, or why nothing can.

Written before any run. `truth` is what is injected, in the words of the confusion
matrix. Where it cannot be seen from where the client sits, `unseen` says why, and
`right` is what can be known instead: such rows are not in the figure for right causes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from shutil import which
from typing import TypeAlias

from . import acts, calm_acts, crowd_acts, limits
from .outcome import Outcome
from .stage import Setting
from .trial import Trial

Act: TypeAlias = Callable[[Trial], Awaitable[Outcome | None]]

NOTHING = "nothing"
"""Told of a link that lives, and told when nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, as it is tried again and again."""

    name: str
    title: str
    act: Act
    truth: str
    right: tuple[str, ...] = ()
    """The causes that are right to tell; the truth alone, if none are named."""
    status: int | None = None
    """The close code or HTTP status that must be told with it."""
    where: tuple[str, ...] = ()
    """Which parts of a dead path may be named; any, if none are."""
    conditions: tuple[str, ...] = ()
    """What must be told beside the verdict, and nothing else."""
    allowed: tuple[str, ...] = ()
    """Conditions that may be told as well."""
    unseen: str = ""
    setting: Setting = field(default_factory=Setting)
    weight: int = 1
    """Places it takes among those side by side."""
    lasts: float = 15.0
    """About how long one trial takes, seconds."""
    missing: Callable[[], str | None] = lambda: None
    """Why this system cannot make it; None if it can."""

    @property
    def accepted(self) -> tuple[str, ...]:
        return self.right or (self.truth,)


def _no_openssl() -> str | None:
    return None if which("openssl") else "the `openssl` command makes the certificate"


def _no_memory_group() -> str | None:
    return limits.missing("memory")


def _no_cpu_group() -> str | None:
    return limits.missing("cpu")


_ENDS = (
    Row(
        name="close",
        title="the venue closes with 1001",
        act=acts.close,
        truth="CLOSED_BY_PEER",
        status=1001,
        lasts=7.0,
    ),
    Row(
        name="reset",
        title="the connection is reset",
        act=acts.reset,
        truth="RESET",
        lasts=7.0,
    ),
    Row(
        name="eof",
        title="FIN without a close frame",
        act=acts.eof,
        truth="CLOSED_BY_PEER",
        status=1006,
        lasts=7.0,
    ),
    Row(
        name="restart",
        title="the venue's process dies; another has its address",
        act=acts.restart,
        truth="CLOSED_BY_PEER",
        # A dying process's kernel says FIN, or RST if it had not read all of ours.
        right=("CLOSED_BY_PEER", "RESET"),
        lasts=9.0,
    ),
    Row(
        name="compression-lost",
        title="the venue goes on with a compressor that knows nothing",
        act=acts.lost_compression,
        truth="PROTOCOL",
        setting=Setting(deflate=True),
        lasts=7.0,
    ),
)

_PATHS = (
    Row(
        name="blackhole",
        title="nothing passes, either way; 50 messages/s before",
        act=acts.blackhole,
        truth="PATH_DEAD",
    ),
    Row(
        name="blackhole-idle",
        title="nothing passes, either way; an idle link",
        act=acts.blackhole_idle,
        truth="PATH_DEAD",
    ),
    Row(
        name="blackhole-in",
        title="nothing comes to us",
        act=acts.blackhole_in,
        truth="PATH_DEAD",
    ),
    Row(
        name="blackhole-out",
        title="nothing of ours arrives; data still comes for a while",
        act=acts.blackhole_out,
        truth="PATH_DEAD",
    ),
    Row(
        name="in-then-out",
        title="two routes: the one to us dies, then the one from us",
        act=acts.in_then_out,
        truth="PATH_DEAD",
    ),
    Row(
        name="out-then-in",
        title="two routes: the one from us dies, then the one to us",
        act=acts.out_then_in,
        truth="PATH_DEAD",
    ),
    Row(
        name="nat-forgets",
        title="a NAT loses its table and drops what it does not know; idle link",
        act=acts.nat_forgets,
        truth="PATH_DEAD",
        setting=Setting(network="nat"),
    ),
    Row(
        name="link-flaps",
        title="an interface on the way goes down and up, a second each",
        act=acts.link_flaps,
        truth="PATH_DEAD",
        lasts=24.0,
    ),
    Row(
        name="mtu-blackhole",
        title="long packets vanish, short ones pass",
        act=acts.mtu_blackhole,
        truth="PATH_DEAD",
        right=("PEER_FROZEN", "PATH_DEAD"),
        unseen=(
            "short packets pass both ways: pings are acknowledged and segments come"
            " in, and what waits behind the missing long one is not shown by"
            " TCP_INFO as a frame. It looks like a venue that sends nothing whole:"
            " PEER_FROZEN is what can be known, PATH_DEAD is what happened"
        ),
    ),
    Row(
        name="thousand",
        title="a thousand streams of one process lose their path at once",
        act=crowd_acts.all_at_once,
        truth="PATH_DEAD",
        setting=Setting(client="crowd"),
        weight=6,
        lasts=30.0,
    ),
)

_PEERS = (
    Row(
        name="frozen",
        title="the venue's process is stopped",
        act=acts.frozen,
        truth="PEER_FROZEN",
    ),
    Row(
        name="frozen-writing",
        title="the same while we write megabytes",
        act=acts.frozen_writing,
        truth="PEER_FROZEN",
        weight=2,
    ),
    Row(
        name="half-a-record",
        title="the venue is stopped in the middle of a TLS record",
        act=acts.half_a_record,
        truth="PEER_FROZEN",
        setting=Setting(tls=True),
        missing=_no_openssl,
    ),
    Row(
        name="mute",
        title="pongs come, data does not; a contract of 2 s is declared",
        act=acts.mute,
        truth="CHANNEL_STALLED",
        lasts=8.0,
    ),
    Row(
        name="balancer",
        title="a load balancer answers pings, the venue behind it is dead;"
        " a contract of 2 s is declared",
        act=acts.dead_behind_a_balancer,
        truth="PEER_FROZEN",
        right=("CHANNEL_STALLED",),
        unseen=(
            "everything a connection can show is shown by the balancer, which is"
            " well. Only the data is missing, and only a declared contract"
            " (Freshness) makes its absence a fault: CHANNEL_STALLED is what can be"
            " known. Without a contract nothing can be told at all"
        ),
        setting=Setting(balancer=True),
        lasts=8.0,
    ),
)

_OWN = (
    Row(
        name="self-stall",
        title="our own loop is blocked for 3 s",
        act=calm_acts.self_stall,
        truth="SELF_STALLED",
    ),
    Row(
        name="suspend",
        title="our own process is stopped for 20 s",
        act=calm_acts.suspend,
        truth="SELF_STALLED",
        lasts=27.0,
    ),
    Row(
        name="slow-consumer",
        title="200,000 messages against a consumer of 5,000/s",
        act=calm_acts.slow_consumer,
        truth=NOTHING,
        conditions=("SLOW_CONSUMER",),
        weight=3,
        lasts=16.0,
    ),
    Row(
        name="starved",
        title="our own process has 5 % of a core, and 4,000 messages/s",
        act=calm_acts.starved,
        truth=NOTHING,
        # What waits in a starved process's socket may meet a full kernel buffer.
        missing=_no_cpu_group,
        lasts=20.0,
    ),
    Row(
        name="squeezed",
        title="our own process is short of memory",
        act=calm_acts.squeezed,
        truth=NOTHING,
        missing=_no_memory_group,
        weight=2,
        lasts=18.0,
    ),
    Row(
        name="wall-clock",
        title="the wall clock jumps by up to a day, four times a second"
        " (time.time is replaced in the client's process)",
        act=calm_acts.wall_clock,
        truth=NOTHING,
    ),
    Row(
        name="no-files",
        title="the venue resets, and no descriptor is left to dial again",
        act=calm_acts.no_files,
        truth="RESET",
        lasts=14.0,
    ),
)

_HARMLESS = (
    Row(
        name="healthy",
        title="nothing at all is done",
        act=calm_acts.healthy,
        truth=NOTHING,
    ),
    Row(
        name="no-pong",
        title="data flows, pongs never come",
        act=calm_acts.no_pong,
        truth=NOTHING,
        conditions=("NO_PONG",),
    ),
    Row(
        name="unsolicited",
        title="stray and duplicate pongs",
        act=calm_acts.unsolicited,
        truth=NOTHING,
    ),
    Row(
        name="late-pong",
        title="an idle venue answers every ping 1 s late",
        act=calm_acts.late_pong,
        truth=NOTHING,
    ),
    Row(
        name="loss-1",
        title="1 % of all packets is lost, each way",
        act=calm_acts.loses_1,
        truth=NOTHING,
        lasts=30.0,
    ),
    Row(
        name="loss-5",
        title="5 % of all packets is lost, each way",
        act=calm_acts.loses_5,
        truth=NOTHING,
        lasts=30.0,
    ),
    Row(
        name="loss-20",
        title="20 % of all packets is lost, each way",
        act=calm_acts.loses_20,
        truth=NOTHING,
        right=(NOTHING, "PATH_DEAD", "PEER_FROZEN"),
        allowed=("NO_PONG",),
        unseen=(
            "TCP itself falls silent under such loss: what is lost again and again is"
            " sent after 0.2, 0.4, 0.8, 1.6 s, and nothing behind it can be read. A"
            " silence past the published bound must be told, and what it is called"
            " depends on which packets were lucky. No false alarm is a loss told when"
            " no message had come for a second, by the witness's own clock, on a link"
            " that brings fifty a second; any other is one"
        ),
        lasts=30.0,
    ),
    Row(
        name="reordering",
        title="5 % of all packets are overtaken; 40 ms round trip",
        act=calm_acts.reorders,
        truth=NOTHING,
        setting=Setting(network="tun"),
    ),
    Row(
        name="delay-spikes",
        title="nothing passes for 0.1 to 0.4 s, again and again",
        act=calm_acts.delay_spikes,
        truth=NOTHING,
        setting=Setting(network="tun"),
    ),
)

_DOORS = (
    Row(
        name="hang",
        title="the venue takes the upgrade and never answers; 2 s given",
        act=calm_acts.hangs,
        truth="HANDSHAKE_TIMEOUT",
        lasts=10.0,
    ),
    Row(
        name="refuse",
        title="the venue answers 503",
        act=calm_acts.refuses,
        truth="REFUSED",
        status=503,
        lasts=12.0,
    ),
    Row(
        name="dns",
        title="the name is not known",
        act=calm_acts.unknown_name,
        truth="NAME_RESOLUTION",
        lasts=8.0,
    ),
    Row(
        name="dns-hangs",
        title="the resolver hangs; 1 s given",
        act=calm_acts.hanging_resolver,
        truth="NAME_RESOLUTION",
        lasts=9.0,
    ),
    Row(
        name="flap",
        title="every connection is accepted and closed at once with 1013",
        act=calm_acts.slams,
        truth="CLOSED_BY_PEER",
        status=1013,
        lasts=25.0,
    ),
)

ROWS: tuple[Row, ...] = (*_ENDS, *_PATHS, *_PEERS, *_OWN, *_HARMLESS, *_DOORS)
BY_NAME = {row.name: row for row in ROWS}
