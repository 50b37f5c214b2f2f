"""What one fault did to one stream, as values: figures for a program, beats to tell."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

Who: TypeAlias = Literal["fault", "stream", "ledger", "broken"]
"""Who a beat is of: what was done, what the stream said, what the count came to, and
a promise that was not kept."""


class Beat(Struct, frozen=True):
    """One line of the story; `after_s` is seconds since the fault, None for no time."""

    who: Who
    text: str
    after_s: float | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """One fault, what was told of it, and whether every promise was kept.

    Seconds end in `_s`; None is what does not apply to this fault.
    """

    fault: str
    title: str = ""
    cause: str | None = None
    where: str | None = None
    status: int | None = None
    """Close code or HTTP status."""
    told_after_s: float | None = None
    bound_s: float | None = None
    """What `told_after_s` was promised not to exceed."""
    since: str = ""
    """What `told_after_s` is counted from."""
    false_alarm: bool = False
    """Something was called dead, doubtful or stalled without the fault's doing."""
    delivered: int = 0
    lost: int = 0
    """Numbered by the venue and not delivered, between the first and last that was."""
    reported_lost: int = 0
    """Of these, those that lie where the stream delivered a Gap."""
    duplicates: int = 0
    disordered: int = 0
    recovered_after_s: float | None = None
    recovered_since: str = ""
    """What `recovered_after_s` is counted from."""
    attempts: int = 0
    """Connections that were dialled, the first included."""
    conditions: list[str] = field(default_factory=list[str])
    evidence: str = ""
    figures: dict[str, float] = field(default_factory=dict[str, float])
    """What is particular to this fault; each name ends in its unit."""
    skipped: str | None = None
    """Why this system cannot make the fault; then nothing was tried."""
    broken: list[str] = field(default_factory=list[str])
    """Every promise that was not kept, in words."""
    ok: bool
    """No promise was broken."""
    story: list[Beat] = field(default_factory=list[Beat])


def failed(fault: str, title: str, why: str) -> Outcome:
    """The outcome of a trial that came to no end of its own."""
    return Outcome(
        fault=fault,
        title=title,
        broken=[why],
        ok=False,
        story=[Beat("broken", why)],
    )


def skipped(fault: str, title: str, why: str) -> Outcome:
    return Outcome(fault=fault, title=title, skipped=why, ok=True)
