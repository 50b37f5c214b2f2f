"""Events of every kind, as examples and as strategies, for the tests of `observe`."""

from __future__ import annotations

import types
import typing

import msgspec
from hypothesis import strategies as st

from heartline.core.events import Connected, DialLost, Event, Lost
from heartline.core.items import Bounds, Cause, Phase, Status, Verdict, Where

KINDS: tuple[type[msgspec.Struct], ...] = typing.get_args(Event)

_floats = st.floats(allow_nan=False, allow_infinity=False)
_ints = st.integers(-(2**53), 2**53)


def values(kind: object) -> st.SearchStrategy[typing.Any]:
    """Build any value of an annotation used by the events."""
    if kind is float:
        return _floats
    if kind is int:
        return _ints
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values(arg) for arg in args])
    if origin is dict:
        # The channels of bounds; the journal leaves them out.
        return st.just({})
    if origin is frozenset:
        return st.frozensets(values(args[0]))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    return st.from_type(kind)  # type: ignore[arg-type]


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[typing.Any]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: values(field.type) for field in fields})


any_event: st.SearchStrategy[Event] = st.one_of([structs(kind) for kind in KINDS])
any_status: st.SearchStrategy[Status] = structs(Status)


def lost(at: float = 101.21, **changes: object) -> Lost:
    fields: dict[str, typing.Any] = {
        "at": at,
        "epoch": 1,
        "cause": Cause.PATH_DEAD,
        "where": Where.BOTH,
        "status": None,
        "reason": "",
        "evidence": "3 pings in 0.51 s, no segment came back",
        "since_at": 100.0,
        "bound": 1.57,
        "unsent": 0,
        "unconfirmed_bytes": 0,
    }
    return Lost(**(fields | changes))


def dial_lost(at: float = 1.0, attempt: int = 1, **changes: object) -> DialLost:
    fields: dict[str, typing.Any] = {
        "at": at,
        "epoch": 1,
        "attempt": attempt,
        "cause": Cause.REFUSED,
        "where": None,
        "status": 503,
        "reason": "overloaded",
    }
    return DialLost(**(fields | changes))


def connected(at: float = 1.0, outage: float = 0.0, attempt: int = 1) -> Connected:
    return Connected(
        at=at,
        epoch=1,
        address="127.0.0.1:8765",
        attempt=attempt,
        outage=outage,
        kernel=True,
    )


def status(at: float = 1.0, **changes: object) -> Status:
    fields: dict[str, typing.Any] = {
        "at": at,
        "phase": Phase.OPEN,
        "verdict": Verdict.ALIVE,
        "live": True,
        "cause": None,
        "bounds": Bounds(path=1.5, peer=2.5),
        "ceilings": Bounds(path=3.0, peer=5.0),
        "detection_bound": 2.5,
        "address": "127.0.0.1:8765",
    }
    return Status(**(fields | changes))
