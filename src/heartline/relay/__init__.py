"""One upstream stream, many local readers: `Relay`, and what it says of it: notes."""

from .notes import (
    Binary,
    ChannelNote,
    ClosedNote,
    GapNote,
    Note,
    SnapshotNote,
    StateNote,
    StatusNote,
    heard,
)
from .relay import Relay
from .terms import BusStatus, BusTerms

__all__ = [
    "Binary",
    "BusStatus",
    "BusTerms",
    "ChannelNote",
    "ClosedNote",
    "GapNote",
    "Note",
    "Relay",
    "SnapshotNote",
    "StateNote",
    "StatusNote",
    "heard",
]
