"""The page about the keys of a profile says what the loader takes, and no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec.structs import FieldInfo, fields

from heartline.venue import channels, checksums, profile, vocabulary
from heartline.venue.load import load, names

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "profile.md").read_text()
ENDPOINT = "endpoints.NAME"
TABLES: dict[str, type[msgspec.Struct]] = {
    "the file": profile.Profile,
    "source": vocabulary.Sourced,
    "frame": vocabulary.Frame,
    "match": vocabulary.Match,
    "rate": vocabulary.Rate,
    ENDPOINT: profile.Endpoint,
    "variables.NAME": profile.Variable,
    "address": profile.Address,
    "decode": profile.Decode,
    "decode.message.NAME": profile.Member,
    "bootstrap": profile.Bootstrap,
    "bootstrap.http": profile.Http,
    "bootstrap.extract.NAME": profile.Extract,
    "on_open": profile.OnOpen,
    "on_open.steps": profile.Step,
    "liveness": profile.Liveness,
    "liveness.ws_ping_in": vocabulary.WsPingIn,
    "liveness.ws_ping_out": vocabulary.WsPingOut,
    "liveness.msg_out": vocabulary.MsgOut,
    "liveness.msg_in": vocabulary.MsgIn,
    "liveness.beacon": vocabulary.Beacon,
    "liveness.beacon.counter": vocabulary.Counter,
    "idle": profile.Idle,
    "idle.clocks": profile.Clock,
    "lifetime": profile.Lifetime,
    "lifetime.notices": profile.Notice,
    "limits": profile.Limits,
    "subscribe": channels.Subscribe,
    "subscribe.forms": channels.Form,
    "subscribe.acks": channels.Ack,
    "subscribe.refusals": channels.Refusal,
    "subscribe.data": channels.Data,
    "sequence": channels.Sequence,
    "sequence.rules": channels.Rule,
    "sequence.rules.recover": channels.Recover,
    "sequence.rules.checksum": checksums.Checksum,
    "timestamps": channels.Timestamps,
    "timestamps.stamps": channels.Stamp,
    "freshness": channels.Freshness,
    "freshness.contracts": channels.Contract,
    "deadman": profile.Deadman,
}
NOT_WRITTEN = {(profile.Endpoint, "name")}
"""The loader's own: the name of the table is that of the endpoint."""

WORDS = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "date": "date",
    "Field": "field",
    "Template": "template",
    "Pattern": "pattern",
    "Json": "anything",
    "Seconds": "seconds > 0",
    "Timer": "timer",
    "Frame": "frame",
    "Match": "match",
    "Rate": "rate",
}
BOUNDS = {"gt": "> {}", "ge": ">= {}", "le": "<= {}", "max_length": "of at most {}"}


# --- what the loader takes ----------------------------------------------------------


def own(table: type[msgspec.Struct]) -> list[FieldInfo]:
    """Its keys, without those of the source that every group of facts has."""
    shared = {each.name for each in fields(vocabulary.Sourced)}
    if table is vocabulary.Sourced or not issubclass(table, vocabulary.Sourced):
        shared = set()
    return [
        each
        for each in fields(table)
        if each.name not in shared and (table, each.name) not in NOT_WRITTEN
    ]


def kind_of(table: type[msgspec.Struct], key: str) -> str:
    """The type of a key as the page writes it, from the annotation in the source."""
    module = vars(sys.modules[table.__module__])
    return _spelt(ast.parse(table.__annotations__[key], mode="eval").body, module)


def _spelt(node: ast.expr, module: dict[str, Any]) -> str:
    match node:
        case ast.BinOp(left=left, right=ast.Constant(value=None)):
            return _spelt(left, module)
        case ast.BinOp(left=left, right=right):
            return f"{_spelt(left, module)} or {_spelt(right, module)}"
        case ast.Name(id=name) if name in WORDS:
            return WORDS[name]
        case ast.Name(id=name):
            named = module[name]
            return _choice(get_args(named)) if get_origin(named) is Literal else "table"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=words):
            listed = ast.literal_eval(words)
            return _choice(listed if isinstance(listed, tuple) else (listed,))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=elts)):
            return _bounded(_spelt(elts[0], module), elts[1])
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=elts)):
            return f"list of {_plural(_spelt(elts[0], module))}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=elts)):
            return f"{_plural(_spelt(elts[1], module))} by {_spelt(elts[0], module)}"
        case _:
            raise AssertionError(ast.dump(node))


def _choice(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _plural(word: str) -> str:
    if word in ("table", "field", "template", "pattern"):
        return f"{word}s"
    return "matches" if word == "match" else word


def _bounded(told: str, meta: ast.expr) -> str:
    assert isinstance(meta, ast.Call)
    for bound in meta.keywords:
        value = eval(ast.unparse(bound.value))  # numbers of the source
        if bound.arg == "min_length":
            told += ", not empty"
        elif bound.arg != "pattern":
            assert bound.arg is not None
            told += f" {BOUNDS[bound.arg].format(value)}"
    return told


def default_of(each: FieldInfo) -> str:
    if each.required:
        return "required"
    value = each.default
    if value is msgspec.NODEFAULT:
        value = each.default_factory()
    if value is None:
        return "none"
    if value in ("", ()) or value == {}:
        return "empty"
    return f"`{value.lower() if isinstance(value, str) else str(value).lower()}`"


# --- what the page says ---------------------------------------------------------------


def told() -> Iterator[tuple[str, str]]:
    """Each heading of a table, and what stands below it."""
    for section in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        if named := re.match(r"`(.+?)`|(The file)$", heading):
            yield named[1] or "the file", body


def rows(body: str) -> dict[str, list[str]]:
    """The cells after each key of its table."""
    cells = [
        [cell.strip().replace("\\|", "|") for cell in line.strip("|").split(" | ")]
        for line in body.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("` "): row[1:] for row in cells}


SECTIONS = dict(told())


def reached(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """All tables that a file may hold."""
    found = list[Any]([kind])
    for each in found:
        inner = get_args(each)
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            inner = tuple(get_type_hints(each, include_extras=True).values())
        found += (one for one in inner if one not in found)
    return (e for e in found if isinstance(e, type) and issubclass(e, msgspec.Struct))


def test_every_table_of_a_profile_has_its_place_on_the_page() -> None:
    assert {*reached(profile.Profile), vocabulary.Sourced} == {*TABLES.values()}
    assert [*SECTIONS] == [*TABLES]


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_has_the_keys_that_the_loader_takes_and_no_other(heading: str) -> None:
    table = TABLES[heading]
    keys = rows(SECTIONS[heading])
    assert [*keys] == [each.name for each in own(table)]
    for each in own(table):
        kind, default, example, meaning = keys[each.name]
        assert kind == kind_of(table, each.name), each.name
        assert default == default_of(each), each.name
        assert len(meaning) > 10, each.name
        if example == "below":
            assert "table" in kind
            continue
        value = tomllib.loads(f"x = {example.strip('`')}")["x"]
        msgspec.convert(value, get_type_hints(table, include_extras=True)[each.name])
    has_source = "source" in SECTIONS[heading].partition("|")[0]
    if table is not vocabulary.Sourced:
        assert has_source == issubclass(table, vocabulary.Sourced)


def test_the_profile_that_the_page_shows_is_taken(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    mine = tmp_path / "mine.toml"
    mine.write_text(shown)
    (endpoint,) = load(str(mine)).endpoints.values()
    assert endpoint.subscribe is not None
    assert load(str(mine)).name not in names()
