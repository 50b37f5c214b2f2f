"""What a simulated venue says, read with no care; and what it can be asked for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET

from heartline.testing.venue_side.shapes import Shape
from heartline.testing.venue_side.speech import TOLD, Speech
from heartline.venue.classify import Contract
from heartline.venue.decode import Undecodable, gunzipped
from heartline.venue.payload import Payload
from heartline.venue.reading import Reading, Update
from heartline.venue.template import names_in

from .hostile import Data


def plain(reading: Reading) -> Any:
    """A reading without the identity of what its messages share."""
    built = msgspec.to_builtins(reading)
    return built if isinstance(reading, Update) else (type(reading).__name__, built)


def is_json(data: Data) -> bool:
    try:
        return Payload(gunzipped(data)).document is not UNSET
    except Undecodable:
        return Payload(data).document is not UNSET


def text_of(data: Data) -> str:
    """What the simulated venue said, out of its envelope; protobuf is no text."""
    plain = gunzipped(data) if data[:2] == b"\x1f\x8b" else data
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain


def json_of(data: Data) -> Any:
    try:
        return json.loads(text_of(data))
    except ValueError:
        return None


def channels_of(contract: Contract) -> list[str]:
    """The examples of the profile of which a message can be made."""
    told = contract.endpoint.subscribe
    found: list[str] = []
    for form in told.forms if told else ():
        try:
            Shape(contract, contract.names.read(form.example))
        except LookupError:
            continue
        found.append(form.example)
    return list(dict.fromkeys(found))


def questions_of(contract: Contract) -> list[Any]:
    """What the venue may say of itself: its questions, signs of life and refusals."""
    control = contract.control
    matchers = [*control.probes, *(matcher for _, matcher in control.beacons)]
    matchers += [each.matcher for each in (*control.expected, *control.refusals)]
    speech = Speech(contract, variables=TOLD)
    said = (
        speech.say(each, counted=lambda draft: None, sent={"id": 1, "id_s": "1"})
        for each in matchers
    )
    return [each for each in said if isinstance(each, dict | list)]


def variables_of(contract: Contract) -> dict[str, object]:
    """A value for each thing that is said on opening, and those of a bootstrap."""
    opening = contract.endpoint.on_open
    frames = [step.send for step in opening.steps if step.send] if opening else []
    wanted = {name for f in frames for name in names_in(f.text or f.json)}
    own = contract.endpoint.variables
    return {**{name: "fuzz" for name in wanted - own.keys()}, **TOLD}
