"""Fields, templates, patterns and matches: what is written is what is found again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from heartline.errors import UsageError
from heartline.venue.field import (
    MOST_ROWS,
    TooManyRows,
    find,
    parse_field,
    rows,
    written,
)
from heartline.venue.match import compile_match
from heartline.venue.pattern import Pattern
from heartline.venue.payload import Payload
from heartline.venue.template import FrameTemplate, Fresh, fill
from heartline.venue.vocabulary import Frame, Match

keys = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).map(
    lambda text: f"k{text[:8]}"
)
texts = st.text(max_size=12).filter(lambda text: "$" not in text and "*" not in text)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
documents: Any = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


def payload_of(document: Any) -> Payload:
    return Payload(msgspec.json.encode(document).decode())


def captured(match: Match, document: Any, **sent: object) -> dict[str, object] | None:
    return compile_match(match).captures(payload_of(document), sent)


def paths_of(document: Any, *, at: str = "") -> list[str]:
    """Every field that leads to something in a document, itself excluded."""
    found: list[str] = [at] if at else []
    if isinstance(document, dict):
        for key, value in document.items():
            found += paths_of(value, at=f"{at}.{key}" if at else key)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            found += paths_of(value, at=f"{at}[{index}]")
    return found


# --- fields -----------------------------------------------------------------------


@given(documents)
def test_a_field_leads_to_what_stands_there(document: Any) -> None:
    for text in paths_of(document):
        steps = parse_field(text)
        value: Any = document
        for step in steps:
            value = value[step]
        assert find(document, steps) == value
        assert written(steps) == text


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a]", "a[x]", "[]a", "a{b}", "a.[0]"]
)
def test_what_is_no_field_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="rule"):
        parse_field(text, field="rule")


def test_what_is_not_there_is_not_null() -> None:
    assert find({"a": None}, parse_field("a")) is None
    assert find({"a": None}, parse_field("b")) is UNSET
    assert find({"a": [1]}, parse_field("a[1]")) is UNSET
    assert find({"a": 5}, parse_field("a.b[0]")) is UNSET


def test_fields_through_the_same_list_speak_of_the_same_element() -> None:
    document = {"t": 9, "d": [{"s": "x", "n": [1, 2]}, {"s": "y", "n": [3]}]}
    fields = [parse_field(text) for text in ("t", "d[].s", "d[].n[]")]
    assert list(rows(document, fields)) == [(9, "x", 1), (9, "x", 2), (9, "y", 3)]


def test_members_of_an_object_are_rows_as_well() -> None:
    document = {"subs": {"a": [1, 2], "b": []}}
    fields = [parse_field(text) for text in ("subs{}.key", "subs{}.value[]")]
    assert list(rows(document, fields)) == [("a", 1), ("a", 2)]


@given(documents, st.sampled_from(["[]", "{}.key", "{}.value", "a[]", "[].a[]"]))
def test_what_is_no_list_has_no_rows(document: Any, text: str) -> None:
    for values in rows(document, [parse_field(text)]):
        assert isinstance(document, list | dict)
        assert len(values) == 1


def test_an_endless_list_is_refused() -> None:
    endless = [0] * (MOST_ROWS + 1)
    with pytest.raises(TooManyRows):
        list(rows(endless, [parse_field("[]")]))


# --- patterns ---------------------------------------------------------------------


@given(st.integers(0, 10**17), st.text(min_size=1, max_size=40))
def test_a_name_is_taken_apart_into_what_it_was_made_of(depth: int, pair: str) -> None:
    parts = Pattern("book-{depth:int}:{pair}").parts(f"book-{depth}:{pair}")
    assert parts == {"depth": depth, "pair": pair}


def test_a_part_ends_before_the_text_that_follows_it() -> None:
    pattern = Pattern("book.{instrument}.{interval}")
    assert pattern.parts("book.A.B.C") == {"instrument": "A", "interval": "B.C"}
    assert pattern.parts("book.A") is None
    assert pattern.parts("book..A") is None


@pytest.mark.parametrize("text", ["", "{a}{b}", "{a}-{a}", "{a", "a}", "{}", "{a:str}"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="name"):
        Pattern(text, field="name")


# --- templates --------------------------------------------------------------------


@given(documents)
def test_a_lone_variable_keeps_its_type(value: Any) -> None:
    rendered = FrameTemplate(Frame(json={"v": "${x}"})).render({"x": value})
    assert msgspec.json.decode(rendered) == {"v": value}
    assert fill("${x}", {"x": value}) == value


def test_within_longer_text_a_variable_is_text() -> None:
    frame = FrameTemplate(Frame(json={"v": "a-${n}-${s|upper}", "none": "${null}"}))
    assert json.loads(frame.render({"n": 7, "s": "btc"})) == {
        "v": "a-7-BTC",
        "none": None,
    }


def test_a_list_stands_in_place_of_its_name() -> None:
    frame = FrameTemplate(Frame(json=[{"id": 1}, "${item[]}", "${name[,]}"]))
    values = {"item[]": [{"a": 1}, {"a": 2}], "name[,]": "x,y"}
    assert json.loads(frame.render(values)) == [{"id": 1}, {"a": 1}, {"a": 2}, "x,y"]


def test_an_empty_text_is_a_frame() -> None:
    assert FrameTemplate(Frame(text="")).render({}) == ""


def test_a_missing_variable_is_named_and_no_value_is_shown() -> None:
    frame = FrameTemplate(Frame(json={"k": "${key}", "s": "${secret}"}), field="login")
    with pytest.raises(UsageError, match=r"login: .*\$\{secret\}") as told:
        frame.render({"key": "a very private key"})
    assert "private" not in str(told.value)


@pytest.mark.parametrize("frame", [Frame(), Frame(text="a", json={}), Frame(text="${")])
def test_what_is_no_frame_is_refused(frame: Frame) -> None:
    with pytest.raises(UsageError, match="send"):
        FrameTemplate(frame, field="send")


def test_every_message_has_values_of_its_own() -> None:
    fresh, other = Fresh(seed="one"), Fresh(seed="two")
    first, second = fresh.values(unix=1.5), fresh.values(unix=2.0)
    assert (first["id"], first["id_s"], second["id"]) == (1, "1", 2)
    assert (first["now_ms"], first["now_s"]) == (1500, 1)
    uuids = {v["uuid"] for v in (first, second, other.values(unix=1.0))}
    assert len(uuids) == 3


# --- matches ----------------------------------------------------------------------


@given(st.dictionaries(keys, scalars, min_size=1, max_size=5))
def test_what_was_sent_is_recognised(values: dict[str, Any]) -> None:
    """A frame of variables, and the match that expects the same ones back."""
    body = {f"f{n}": f"${{{name}}}" for n, name in enumerate(values)}
    sent = FrameTemplate(Frame(json=body)).render(values)
    expect = compile_match(Match(json=body))
    assert expect.captures(Payload(sent), values) == {}
    assert expect.captures(Payload(sent)) is None


@given(documents)
def test_literals_of_a_document_match_it(document: Any) -> None:
    plain = {
        text: value
        for text in paths_of(document)
        if isinstance(value := find(document, parse_field(text)), int | str | None)
        and value != ""
    }
    if plain:
        first = dict(list(plain.items())[:60])
        assert captured(Match(json=first), document) == {}


@given(documents)
def test_captures_keep_their_type(document: Any) -> None:
    for number, text in enumerate(paths_of(document)[:20]):
        found = captured(Match(json={text: f"$c{number}"}), document)
        value = find(document, parse_field(text))
        assert found == {f"c{number}": value}
        assert type(found[f"c{number}"]) is type(value)


@pytest.mark.parametrize(
    ("literal", "value"),
    [(1, True), (True, 1), (0, False), (1, "1"), ("1", 1), (None, 0), ([], {}), (1, 2)],
)
def test_a_literal_minds_the_type(literal: Any, value: Any) -> None:
    assert captured(Match(json={"a": literal}), {"a": value}) is None
    assert captured(Match(json={"a": value}), {"a": value}) == {}


def test_a_trailing_star_is_a_beginning() -> None:
    match = Match(json={"topic": "book.1.*"})
    assert captured(match, {"topic": "book.1.X"}) == {}
    assert captured(match, {"topic": "book.10.X"}) is None
    assert captured(match, {"topic": 1}) is None


def test_anything_is_taken_if_it_is_there() -> None:
    assert captured(Match(json={"a": "*"}), {"a": None}) == {}
    assert captured(Match(json={"a": "*"}), {"b": None}) is None


def test_an_array_gives_the_beginning_of_a_list() -> None:
    match = Match(array=("$channel", "hb"))
    assert captured(match, [101, "hb"]) == {"channel": 101}
    assert captured(match, [101, "hb", 6]) == {"channel": 101}
    assert captured(match, [101, "te"]) is None
    assert captured(match, [101]) is None
    assert captured(match, {"0": 101}) is None


def test_the_first_alternative_that_fits_is_taken() -> None:
    match = Match(any=(Match(text="pong"), Match(json={"op": "pong", "at": "$at"})))
    compiled = compile_match(match)
    assert compiled.captures(Payload("pong")) == {}
    assert compiled.captures(Payload(b"pong")) == {}
    assert compiled.captures(Payload('{"op":"pong","at":3}')) == {"at": 3}
    assert compiled.captures(Payload("ping")) is None


def test_a_match_through_a_list_holds_for_an_element() -> None:
    match = Match(json={"d[].a": 1, "d[].b": "$b"})
    assert captured(match, {"d": [{"a": 2, "b": 3}, {"a": 1, "b": 4}]}) == {"b": 4}
    assert captured(match, {"d": [{"a": 2, "b": 1}]}) is None


@pytest.mark.parametrize(
    "match", [Match(), Match(text="a", json={"a": 1}), Match(any=())]
)
def test_what_is_no_match_is_refused(match: Match) -> None:
    with pytest.raises(UsageError, match="expect"):
        compile_match(match, field="expect")


@given(st.binary(max_size=60))
def test_any_bytes_can_be_asked(data: bytes) -> None:
    payload = Payload(data)
    for match in (Match(text="a"), Match(json={"a": 1}), Match(array=(1,))):
        assert compile_match(match).captures(payload) in (None, {})
