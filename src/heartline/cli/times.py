"""Times and durations as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)\Z")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\Z")


def moment(text: str, *, option: str, now: datetime) -> datetime:
    """Read `03:12`, the last time it was that in UTC, or a date with a time.

    A time without a zone is UTC. Raises typer.BadParameter, which names `option`.
    """
    try:
        if clock := _CLOCK.match(text):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            at = now.astimezone(UTC).replace(
                hour=hour, minute=minute, second=second, microsecond=0
            )
            return at if at <= now else at - timedelta(days=1)
        at = datetime.fromisoformat(text)
    except ValueError:
        wanted = "03:12, 03:12:45 or 2026-01-31T03:12"
        raise typer.BadParameter(f"{option}: wanted {wanted}, got {text!r}") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def span(text: str, *, option: str) -> timedelta:
    """Read `90s`, `5m`, `2h`, `1d` or plain seconds.

    Raises typer.BadParameter, which names `option`.
    """
    if not (match := _DURATION.match(text)):
        raise typer.BadParameter(f"{option}: wanted 90s, 5m, 2h or 1d, got {text!r}")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        wanted = "a shorter time"
        raise typer.BadParameter(f"{option}: wanted {wanted}, got {text!r}") from None
