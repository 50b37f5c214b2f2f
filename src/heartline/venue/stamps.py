"""A venue's time stamp, as seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from heartline.core.offset import LATEST

from .channels import Unit

_PER_SECOND: Final[dict[str, float]] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
LEAP: Final = 61.0
"""A minute may have a second more."""

_minutes: dict[str, float] = {}
MOST_MINUTES = 64
"""Beginnings of stamps kept, as most stamps of one minute begin alike."""


def unix_seconds(value: object, unit: Unit | None) -> float | None:
    """Read a stamp in its unit; None if it is none, or lies out of all reason."""
    if unit is None or isinstance(value, bool):
        return None
    seconds = _rfc3339(value) if unit == "rfc3339" else _counted(value, unit)
    return seconds if seconds is not None and 0.0 <= seconds < LATEST else None


def _counted(value: object, unit: Unit) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        return float(value) / _PER_SECOND[unit]
    except (ValueError, OverflowError):
        return None


def _rfc3339(text: object) -> float | None:
    """`2021-04-17T16:43:36.819000Z`: the minute is looked up, the seconds are read."""
    if not isinstance(text, str):
        return None
    start, seconds = text[:17], text[17:-1]
    try:
        if text[-1:] == "Z" and len(seconds) >= 2 and seconds[:2].isdigit():
            minute = _minutes.get(start)
            if minute is None:
                minute = _minute(start)
            after = float(seconds)
            return minute + after if after <= LEAP else None
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def _minute(start: str) -> float:
    """Remember when a minute began; ValueError if the text is none."""
    moment = datetime.strptime(start, "%Y-%m-%dT%H:%M:").replace(tzinfo=UTC)
    if len(_minutes) >= MOST_MINUTES:
        _minutes.clear()
    _minutes[start] = moment.timestamp()
    return _minutes[start]
