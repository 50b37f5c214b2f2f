"""How a server's clients are beaten to, and what that promises."""

from __future__ import annotations

from heartline.core.detector import Liveness
from heartline.core.evidence import Evidence, Kernel
from heartline.core.items import Bounds
from heartline.core.link import Link
from heartline.core.promises import bounds

from .wheel import GRAIN

SETTLE = 0.25
"""A beat that is unanswered for this long is the link's business, seconds: sooner
than anything a link would find."""
LOOKS = 3
"""A client is asked at one look, doubted at another and judged at a third; each may
be late."""
_NEAR = Evidence(
    Kernel(
        segments_in=1,
        heard_age=0.0,
        unacked_segments=0,
        outstanding_bytes=0,
        unsent_bytes=0,
        acked_bytes=0,
        received_bytes=0,
        retransmits=0,
        total_retransmits=0,
        probes_unanswered=0,
        round_trip=0.001,
        round_trip_deviation=0.001,
        min_round_trip=0.001,
        send_window_bytes=65_535,
    )
)
"""What the kernel says of a client nearby that has nothing to say."""


class Pace:
    """One value for all clients of a server."""

    __slots__ = ("every", "grain", "policy", "relaxed", "settle")

    def __init__(self, policy: Liveness) -> None:
        self.policy = policy
        self.every = policy.ping_every
        self.settle = min(SETTLE, policy.stall_after / 2, policy.peer_busy / 2)
        self.grain = min(GRAIN, policy.stall_after / 4)
        """How late a look may be, seconds: never so late that a link would take it
        for a stall."""
        self.relaxed = policy.kernel_interval >= policy.ping_every
        """Whether a client that answers may go without a link: not if its kernel is
        to be asked between two beats."""

    def bounds(self, link: Link, *, now: float, unwatched: float = 0.0) -> Bounds:
        """What silence is told after, if each look is as late as it may be.

        `unwatched` is how long it may take until the link is there at all.
        """
        promised, late = bounds(link, now=now), unwatched + LOOKS * self.grain
        return Bounds(
            path=promised.path + late,
            peer=promised.peer + late,
            channels=promised.channels,
        )

    @property
    def quiet_bound(self) -> float:
        """The bound of a client nearby that only answers beats, seconds."""
        unwatched = self.settle if self.relaxed else 0.0
        peer = Link(0, policy=self.policy, now=0.0)
        path = Link(0, policy=self.policy, now=0.0, evidence=_NEAR)
        return max(
            self.bounds(peer, now=0.0, unwatched=unwatched).peer,
            self.bounds(path, now=0.0, unwatched=unwatched).path,
        )
