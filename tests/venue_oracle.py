"""What is known of each venue's heartbeats, apart from the profiles under test.

Frames and timings come from the research's own file where it is at hand, so that the
two sides of a contract are held against something neither was made from; elsewhere
they come from the profile, in the same words. The few functions here read frames on
their own, without heartline's templates and matches.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from heartline.venue.load import load, names

RESEARCH = Path(__file__).parents[2] / "shared" / "research" / "venues.yaml"
UNNAMED = "nobody says"
VARIABLES: dict[str, float] = {
    "heartbeat_s": 10.0,
    "ping_interval_s": 18.0,
    "ping_timeout_s": 10.0,
}


@dataclass(frozen=True, slots=True)
class Oracle:
    """One endpoint's heartbeats; `liveness` holds objects with a `kind`."""

    place: str
    on_open: list[dict[str, Any]]
    liveness: list[dict[str, Any]]
    idle: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.liveness if each["kind"] == kind]

    @property
    def longest_period(self) -> float:
        timers = [
            timer
            for each in (*self.liveness, *self.idle)
            for name in ("every_s", "idle_s", "close_after_s", "deadline_s")
            if (timer := number(each.get(name))) is not None
        ]
        return max(timers, default=20.0)


@cache
def oracles() -> dict[str, Oracle]:
    """By place: `deribit/main`."""
    known = {
        f"{name}/{endpoint.name}": _of_profile(name, endpoint.name)
        for name in names()
        for endpoint in load(name).endpoints.values()
    }
    return known | _of_research()


def _of_profile(name: str, endpoint: str) -> Oracle:
    told: dict[str, Any] = msgspec.to_builtins(load(name).endpoint(endpoint))
    kinds = ("ws_ping_in", "ws_ping_out", "msg_out", "msg_in", "beacon")
    liveness = [
        {"kind": kind, **each}
        for kind in kinds
        for each in told["liveness"].get(kind) or ()
    ]
    return Oracle(
        place=f"{name}/{endpoint}",
        on_open=list((told.get("on_open") or {}).get("steps") or ()),
        liveness=liveness,
        idle=list((told.get("idle") or {}).get("clocks") or ()),
    )


def _of_research() -> dict[str, Oracle]:
    if not RESEARCH.exists():
        return {}
    try:
        import yaml
    except ImportError:
        return {}
    from test_venue_profiles import ENDPOINTS, FURTHER

    places = ENDPOINTS | FURTHER
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(RESEARCH.read_text(), Loader=loader)
    known: dict[str, Oracle] = {}
    for venue in (*document["venues"], *document["extras"]):
        told = venue.get("profile")
        if venue["id"] not in places or not told:
            continue
        idle = told.get("idle") or []
        place = places[venue["id"]]
        known[place] = Oracle(
            place=place,
            on_open=list(told.get("on_open") or ()),
            liveness=list(told.get("liveness") or ()),
            idle=[idle] if isinstance(idle, dict) else list(idle),
        )
    return known


def number(timer: object) -> float | None:
    """Seconds; None where nobody says."""
    if isinstance(timer, str):
        return VARIABLES[timer.removeprefix("${").removesuffix("}")]
    return None if timer is None else float(timer)  # type: ignore[arg-type]


# --- frames -----------------------------------------------------------------------


def written(frame: dict[str, Any], values: dict[str, Any]) -> str:
    """A frame with its variables filled in."""
    if frame.get("text") is not None:
        return frame["text"]
    return json.dumps(filled(frame["json"], values))


def filled(body: Any, values: dict[str, Any]) -> Any:
    if isinstance(body, dict):
        return {key: filled(value, values) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(value, values) for value in body]
    if not isinstance(body, str):
        return body
    alone = re.fullmatch(r"\$\{(\w+)\}", body)
    if alone:
        return values[alone[1]]
    return re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), body)


def captures(match: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The named values of a message, or None if it is not what is described."""
    if match.get("any") is not None:
        found = (captures(each, text) for each in match["any"])
        return next((each for each in found if each is not None), None)
    if match.get("text") is not None:
        return {} if text == match["text"] else None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    wanted = match.get("json")
    if wanted is None:
        wanted = {f"[{at}]": each for at, each in enumerate(match["array"])}
    named: dict[str, Any] = {}
    for path, literal in wanted.items():
        value = at_path(document, path)
        if value is None and literal is not None:
            return None
        if isinstance(literal, str) and literal.startswith("$"):
            named[literal[1:]] = value
        elif isinstance(literal, str) and literal.endswith("*"):
            if literal != "*" and not str(value).startswith(literal[:-1]):
                return None
        elif value != literal:
            return None
    return named


def at_path(document: Any, path: str) -> Any:
    for key, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", path):
        try:
            document = document[key] if key else document[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return document
