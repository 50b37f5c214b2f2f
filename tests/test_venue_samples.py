"""Each venue's own frames go through its profile: what is heard, and what is said.

The oracle is a file of samples that knows nothing of the profiles: a small one beside
this test, and the research's, where it is at hand.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heartline.venue.classify import Classifier, Contract
from heartline.venue.field import lead, rows
from heartline.venue.load import load
from heartline.venue.numbering import RuleFields
from heartline.venue.reading import Answer, Beacon, Probe, Update
from heartline.venue.writer import Writer
from test_venue_profiles import ENDPOINTS, FURTHER

OWN = Path(__file__).with_name("venue_samples.json")
RESEARCH = Path(__file__).parents[2] / "shared" / "research" / "venues.yaml"
PLACES = ENDPOINTS | FURTHER


def own_samples() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, samples in json.loads(OWN.read_text()).items():
        yield from ((place, sample) for sample in samples)


@cache
def research_samples() -> list[tuple[str, dict[str, Any]]]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    if not RESEARCH.exists():
        return []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(RESEARCH.read_text(), Loader=loader)
    return [
        (
            PLACES[venue["id"]],
            sample
            if sample["kind"] != "sequence"
            else {**venue["sequence"][sample["index"]], **sample},
        )
        for venue in (*document["venues"], *document["extras"])
        if venue["id"] in PLACES
        for sample in venue.get("samples") or ()
    ]


@cache
def contract_of(place: str) -> Contract:
    venue, _, name = place.partition("/")
    return Contract(load(venue).endpoint(name))


def link(place: str) -> tuple[Classifier, Writer]:
    """Both directions of one link, whose next message has the number 7."""
    contract = contract_of(place)
    classifier = Classifier(contract)
    writer = Writer(
        contract,
        pending=classifier.pending,
        book=classifier.book,
        variables={"ping_interval_s": 18.0, "ping_timeout_s": 10.0},
        first=7,
    )
    return classifier, writer


def on_the_wire(place: str, text: str) -> str | bytes:
    payload = contract_of(place).endpoint.decode.payload
    if payload == "gzip":
        return gzip.compress(text.encode())
    return text.encode() if payload == "utf8" else text


def same_message(one: str, other: str) -> bool:
    """Equal as JSON, types included, or as text."""
    try:
        return repr(sorted_keys(json.loads(one))) == repr(
            sorted_keys(json.loads(other))
        )
    except ValueError:
        return one == other


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(each) for each in value] if isinstance(value, list) else value


# --- what a sample asks for -------------------------------------------------------


def probe_is_answered(place: str, sample: dict[str, Any]) -> None:
    classifier, writer = link(place)
    reading = classifier.read(on_the_wire(place, sample["received"]))
    assert isinstance(reading, Probe)
    assert same_message(writer.reply(reading, unix=1.0).text, sample["reply"])


def beacon_is_seen(place: str, sample: dict[str, Any]) -> None:
    classifier, _ = link(place)
    reading = classifier.read(on_the_wire(place, sample["received"]))
    index = reading.source.beacon if isinstance(reading, Update) else None
    assert isinstance(reading, Beacon) or index is not None


def beat_is_sent_and_its_answer_known(place: str, sample: dict[str, Any]) -> None:
    """At second 7, or millisecond 7, as the sample's message is numbered by time."""
    beats = contract_of(place).endpoint.liveness.msg_out
    for index in range(len(beats)):
        for unix in (7.0, 0.007):
            classifier, writer = link(place)
            sent = writer.beat(index, unix=unix)
            wanted = with_our_uuid(sample["sent"], sent.text)
            if same_message(sent.text, wanted):
                answer = with_our_uuid(sample["answer"], sent.text)
                reading = classifier.read(on_the_wire(place, answer))
                assert isinstance(reading, Answer)
                told = (reading.of, reading.index, reading.number)
                assert told == ("msg_out", index, sent.number)
                return
    pytest.fail(f"no heartbeat of {place} is {sample['sent']}")


def with_our_uuid(text: str, sent: str) -> str:
    """The sample's made-up uuid, replaced by the one that we sent."""
    if '"u-7"' not in text:
        return text
    return text.replace("u-7", next(v for v in json.loads(sent).values() if "-" in v))


def loss_is_told_from_none(place: str, sample: dict[str, Any]) -> None:
    fields = sample["fields"]
    names = ("prev", "cur", "first", "last")
    rules = contract_of(place).endpoint.sequence
    assert rules is not None
    index, rule = next(
        (index, rule)
        for index, rule in enumerate(rules.rules)
        if rule.rule == sample["rule"]
        and all(getattr(rule, name) == fields.get(name) for name in names)
    )
    compiled = RuleFields(rule, index)
    first, second = (numbers_of(compiled, text) for text in sample["contiguous"])
    lost = numbers_of(compiled, sample["with_loss"])
    assert follows(rule.rule, second[0], first[-1])
    assert not follows(rule.rule, lost[0], second[-1])


def numbers_of(rule: RuleFields, text: str) -> list[Any]:
    fields = [steps for steps in rule.fields if steps is not None]
    table: list[Any] = []
    for values in rows(msgspec.json.decode(text), fields):
        given = iter(values)
        full = [msgspec.UNSET if s is None else next(given) for s in rule.fields]
        table.append(rule.row(full))
    assert all(table)
    assert len(table) == 1 or any(lead(steps) for steps in fields)
    return table


def follows(rule: str, row: Any, before: Any) -> bool:
    prev, first, _ = row
    if rule == "chain":
        return bool(prev == before[2])
    return bool(first == before[2] + 1)


KINDS = {
    "msg_in": probe_is_answered,
    "beacon": beacon_is_seen,
    "msg_out": beat_is_sent_and_its_answer_known,
    "sequence": loss_is_told_from_none,
}


def named(samples: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        pytest.param(place, sample, id=f"{place}-{sample['kind']}-{number}")
        for number, (place, sample) in enumerate(samples)
    ]


@pytest.mark.parametrize(("place", "sample"), named(list(own_samples())))
def test_a_sample_of_our_own_goes_through(place: str, sample: dict[str, Any]) -> None:
    KINDS[sample["kind"]](place, sample)


def test_every_sample_of_the_research_goes_through() -> None:
    samples = research_samples()
    if not samples:
        pytest.skip("the research is not beside this repository")
    failed: list[str] = []
    for number, (place, sample) in enumerate(samples):
        try:
            KINDS[sample["kind"]](place, sample)
        except (AssertionError, StopIteration, pytest.fail.Exception) as error:
            failed.append(f"{number} {place} {sample['kind']}: {error}")
    assert not failed
    assert len(samples) > 85
