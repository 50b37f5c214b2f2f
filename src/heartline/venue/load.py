"""From a name or a file to a `Profile`; what cannot be used is refused and told why.

    profile = load("deribit")
    profile = load("./mine.toml")

A file of the user's is held to the same rules as those that ship.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

from msgspec import structs

from heartline.errors import UsageError, VenueError

from .contract_checks import check
from .profile import Endpoint, Profile
from .strict import read_as

LARGEST_BYTES = 1_000_000
"""Of a file; the largest that ships has about 30 kB."""


def names() -> tuple[str, ...]:
    """The venues that ship with heartline, in order."""
    shipped = (entry.name for entry in _shipped().iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in shipped if _is_toml(n)))


def load(name_or_path: str) -> Profile:
    """Read a venue that ships, by its name, or a file: a path that ends in .toml.

    `binance/usdm` has that endpoint of the venue alone.

    Raises VenueError over a file that cannot be used; its text names file, key, what
    was wanted there and what stands there. Raises UsageError for a name that is none.
    """
    venue, slash, endpoint = name_or_path.partition("/")
    is_path = slash and (venue in ("", ".", "..", "~") or "/" in endpoint)
    is_file = slash and Path(name_or_path).is_file()
    if _is_toml(name_or_path) or is_path or is_file:
        return _load(Path(name_or_path), name_or_path)
    if venue not in names():
        raise UsageError("venue", wanted=_wanted(venue), got=name_or_path)
    profile = _load(_shipped() / f"{venue}.toml", f"{venue}.toml")
    if not slash:
        return profile
    chosen = profile.endpoint(endpoint)
    return structs.replace(profile, endpoints={endpoint: chosen})


def _wanted(name: str) -> str:
    """The names that are nearest, and where all of them are."""
    near = get_close_matches(name.lower(), names(), n=3)
    meant = f"{', '.join(near)} or " if near else ""
    every = f"`heartline venues` lists all {len(names())}"
    return f"{meant}a file such as ./mine.toml ({every})"


def _shipped() -> Traversable:
    return files("heartline") / "venues"


def _is_toml(name: str) -> bool:
    return name.endswith(".toml")


def _load(path: Traversable, file: str) -> Profile:
    profile = _profile(_document(path, file), file)
    try:
        for endpoint in profile.endpoints.values():
            check(endpoint, at=f"endpoints.{endpoint.name}")
    except UsageError as error:
        wanted, got = error.wanted, error.got
        raise VenueError(file, error.field, wanted=wanted, got=got) from None
    return profile


def _document(path: Traversable, file: str) -> dict[str, Any]:
    try:
        with path.open("rb") as opened:
            raw = opened.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            wanted, got = f"at most {LARGEST_BYTES} bytes", "more"
            raise VenueError(file, "the file", wanted=wanted, got=got)
        return tomllib.loads(raw.decode())
    except OSError as error:
        got = error.strerror or str(error)
        raise VenueError(file, "the file", wanted="one to read", got=got) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise VenueError(file, "the file", wanted="TOML", got=str(error)) from None


def _profile(document: dict[str, Any], file: str) -> Profile:
    """One endpoint after the other, so that an error can say which."""
    raw: object = document.get("endpoints")
    outline = read_as(_Outline, {**document, "endpoints": raw and {}}, file=file)
    if not isinstance(raw, dict):
        wanted = "a table for each socket, such as [endpoints.main]"
        raise VenueError(file, "endpoints", wanted=wanted, got=raw)
    endpoints: dict[str, Endpoint] = {}
    for name, body in cast("dict[str, Any]", raw).items():
        at = f"endpoints.{name}"
        endpoint = read_as(Endpoint, body, file=file, at=at)
        if endpoint.name:
            wanted = "nothing: the table's own name is its name"
            raise VenueError(file, f"{at}.name", wanted=wanted, got=endpoint.name)
        endpoints[name] = structs.replace(endpoint, name=name)
    return Profile(name=outline.name, title=outline.title, endpoints=endpoints)


class _Outline(Profile, frozen=True, kw_only=True):
    """A profile before its endpoints are read."""

    endpoints: dict[str, Any]
