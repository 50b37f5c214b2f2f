"""Where a message stands among others, as far as its numbers say."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from .feed_terms import Numbered
from .sequence import Rule, Scope

COUNTED = (Rule.CHAIN, Rule.RANGE, Rule.STEP)
"""Rules by which a number says which message it is, on whatever link."""

OF_A_LINK = (Scope.CONNECTION, Scope.SID)
"""Scopes whose numberings each link has for itself."""


def is_common(numbered: Numbered | None) -> bool:
    """Whether the numbers are the venue's, and not those of one link."""
    if numbered is None:
        return False
    terms = numbered.numbering
    alone = terms.scope in OF_A_LINK or terms.starts_at is not None
    return terms.rule in COUNTED and not alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The numbers of a message: those above `low`, up to and with `high`, under the
    rule of this place; None where it has none. `whole`: a snapshot."""

    is_new: bool
    rule: int | None = None
    track: Hashable = None
    low: int | None = None
    high: int | None = None
    whole: bool = False
