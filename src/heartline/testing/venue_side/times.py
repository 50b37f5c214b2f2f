"""Instants as venues write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from heartline.venue.channels import Unit

PER_SECOND: Final[dict[str, float]] = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}


def stamp(unix: float, unit: Unit) -> int | float | str:
    """An instant, seconds since 1970, in the unit of a profile.

    Seconds keep their microseconds, as text does; the others are whole.
    """
    if unit == "rfc3339":
        text = datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    if unit == "s":
        return round(unix, 6)
    return ticks(unix, unit)


def ticks(unix: float, unit: Unit) -> int:
    """The same as a whole number, for venues whose numbers are times."""
    # In whole microseconds first: a float holds no nanoseconds of our century.
    micros = round(unix * 1e6)
    per_second = int(PER_SECOND.get(unit, 1e6))
    return micros * per_second // 1_000_000
