"""Variables of a link that the venue tells: from a call before it, or its welcome."""

from __future__ import annotations

from ..errors import UsageError
from .field import find, parse_field
from .profile import Bootstrap

_SECONDS = {None: None, "s": 1.0, "ms": 1e-3}


def extracted(bootstrap: Bootstrap, document: object) -> dict[str, object]:
    """The values of `bootstrap.extract`; numbers with a unit become seconds.

    Raises UsageError that names a field which the answer does not hold and for which
    the profile has no default. The answer is not shown: it may hold a token.
    """
    variables: dict[str, object] = {}
    for name, extract in bootstrap.extract.items():
        field = f"bootstrap.extract.{name}"
        value = find(document, parse_field(extract.field, field=field))
        per_second = _SECONDS[extract.unit]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if per_second is not None and isinstance(value, int | float) and is_number:
            variables[name] = value * per_second
        elif per_second is None and (is_number or isinstance(value, str)):
            variables[name] = value
        elif extract.default is not None:
            variables[name] = extract.default
        else:
            raise UsageError(field, wanted=f"a value at {extract.field}", got=None)
    return variables
