"""Variables of a link that the venue tells: from a call before it, or its welcome."""

from __future__ import annotations

from ..errors import UsageError
from .field import find, parse_field
from .profile import Bootstrap
from .shape import LARGEST

_SECONDS = {None: 1, "s": 1.0, "ms": 1e-3}
LONGEST_S = 86_400.0
"""No venue wants a heartbeat less often than once a day."""


def extracted(bootstrap: Bootstrap, document: object) -> dict[str, object]:
    """The values of `bootstrap.extract`; numbers with a unit become seconds.

    Raises UsageError that names a field which the answer does not hold, or holds as
    what it cannot be, and for which the profile has no default. The answer is not
    shown: it may hold a token.
    """
    variables: dict[str, object] = {}
    for name, extract in bootstrap.extract.items():
        field = f"bootstrap.extract.{name}"
        value = find(document, parse_field(extract.field, field=field))
        number = _number(value, _SECONDS[extract.unit])
        if number is not None and (extract.unit is None or 0 < number <= LONGEST_S):
            variables[name] = number
        elif extract.unit is None and isinstance(value, str):
            variables[name] = value
        elif extract.default is not None:
            variables[name] = extract.default
        else:
            raise UsageError(field, wanted=f"a value at {extract.field}", got=None)
    return variables


def _number(value: object, unit: float) -> float | None:
    """A number of the answer in our own unit; None if it is none, or beyond 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value * unit if -LARGEST <= value <= LARGEST else None
