"""What types cannot say of frames, matches and templates; raises UsageError.

`at` is the key in the file, and the error's field begins with it.
"""

from __future__ import annotations

from msgspec import structs

from heartline.errors import UsageError

from .field import EACH, parse_field
from .template import names_in
from .vocabulary import Frame, Match

DEEPEST_MATCH = 3
"""Levels of `any` within `any`."""


def captured(match: Match, at: str, *, rows: bool = False) -> frozenset[str]:
    """The names that every alternative of a match captures; refuses a broken match.

    `rows`: whether it may look at every element of a list.
    """
    return frozenset(_captured(match, at, rows, 0))


def _captured(match: Match, at: str, rows: bool, depth: int) -> set[str]:
    given = [f for f in structs.fields(match) if getattr(match, f.name) is not None]
    if len(given) != 1 or depth > DEEPEST_MATCH:
        got = ", ".join(f.name for f in given) or None
        raise UsageError(at, wanted="exactly one of text, json, array, any", got=got)
    if match.any is not None:
        if not match.any:
            raise UsageError(f"{at}.any", wanted="at least one match", got=[])
        parts = [
            _captured(each, f"{at}.any[{index}]", rows, depth + 1)
            for index, each in enumerate(match.any)
        ]
        return parts[0].intersection(*parts[1:])
    for field in match.json or ():
        steps = parse_field(field, field=f"{at}.json.{field}")
        if EACH in steps and not rows:
            wanted = "an index: only a match of data looks at every element"
            raise UsageError(f"{at}.json.{field}", wanted=wanted, got=field)
    wants = [*(match.json or {}).values(), *(match.array or ())]
    return {name for want in wants if (name := capture_name(want))}


def capture_name(want: object) -> str | None:
    """`name` if a literal of a match is `$name`."""
    if isinstance(want, str) and want.startswith("$") and want[1:].isidentifier():
        return want[1:]
    return None


def check_variables(body: object, known: frozenset[str], at: str) -> None:
    """Refuse a template, or JSON with templates, that uses an unknown variable."""
    unknown = sorted(names_in(body, field=at) - known)
    if unknown:
        wanted = f"variables among {', '.join(sorted(known))}"
        raise UsageError(at, wanted=wanted, got=f"${{{unknown[0]}}}")


def check_frame(frame: Frame, known: frozenset[str], at: str) -> None:
    """Refuse a frame that is not exactly one thing, or uses an unknown variable."""
    if (frame.text is None) == (frame.json is None):
        got = None if frame.text is None else "both"
        raise UsageError(at, wanted="exactly one of text, json", got=got)
    body = frame.json if frame.text is None else frame.text
    check_variables(body, known, f"{at}.{'json' if frame.text is None else 'text'}")


def check_expected(expect: Match, known: frozenset[str], at: str) -> None:
    """Refuse an expected answer that compares with what cannot have been sent."""
    for index, each in enumerate(expect.any or ()):
        check_expected(each, known, f"{at}.any[{index}]")
    for field, want in (expect.json or {}).items():
        check_variables(want, known, f"{at}.json.{field}")
