"""Faults made against the real client, and its promises checked: what `demo` shows.

Each scenario starts a venue of its own, connects under `connect`'s defaults, makes
one fault, and returns an `Outcome`. `SideBySide` plays several at once, each in a
process of its own. Needs nothing but this machine.
"""

from __future__ import annotations

from .outcome import Beat, Outcome
from .repertoire import FAULTS, TITLES
from .side_by_side import SideBySide

__all__ = ["FAULTS", "TITLES", "Beat", "Outcome", "SideBySide"]
