"""How far a dial has come."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """How far a dial has come; decides what a dial that ran out of time is called."""

    ADDRESSING = "asking where to dial"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    SECURING = "securing"
    UPGRADING = "upgrading"
