"""Each venue's contract, held from the venue's side against frames of its own docs.

The client here is a script: it knows the research's frames and timings and nothing of
heartline's own reading and writing, but for the request that subscribes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Link, Venue
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load
from heartline.venue.writer import Writer
from venue_oracle import Oracle, at_path, captures, number, oracles, written

PLACES = sorted(oracles())
OPENING = 1.0
"""Seconds after which the client first speaks: one venue wants that much."""
MOST_STEPS = 100_000


@cache
def contract_of(place: str) -> Contract:
    venue, _, name = place.partition("/")
    return Contract(load(venue).endpoint(name))


class Client:
    """Keeps a contract as the oracle tells it, or sends no heartbeat at all."""

    def __init__(self, oracle: Oracle, *, beats: bool, subscribes: bool = True) -> None:
        self.oracle = oracle
        self.beats = beats
        self.subscribes = subscribes
        self.deadline: float | None = OPENING
        self.pings_at: list[float] = []
        self.probes_at: list[float] = []
        self.said_at: list[float] = []
        self.heard_at: list[float] = []
        self.signs: dict[int, list[tuple[float, str]]] = {}
        """Beacons by their place in the oracle: when, and what."""
        self.cut: tuple[float, Cut] | None = None
        self._opened = False
        self._due: list[tuple[float, float, Callable[[], Frame]]] = []
        self._number = 0
        self._endpoint = contract_of(oracle.place).endpoint

    def values(self) -> dict[str, Any]:
        self._number += 1
        return {
            "id": self._number,
            "id_s": str(self._number),
            "uuid": f"u-{self._number}",
            "now_ms": 1_767_225_600_000 + self._number,
            "now_s": 1_767_225_600 + self._number,
            "heartbeat_s": 10,
            "key": "k",
            "secret": "s",
            "token": "t",
            "symbol": "BTC-USD",
        }

    def open(self, now: float) -> list[Frame]:
        """What a new connection begins with, and the rhythm of the heartbeats."""
        steps = [step["send"] for step in self.oracle.on_open if step.get("send")]
        frames = [text_frame(written(step, self.values())) for step in steps]
        if self.subscribes:
            frames += self._requests()
        if self.beats:
            frames += self._enabled()
            self._begin(now)
        self.said_at += [now] * len(frames)
        return frames

    def due(self, now: float) -> list[Frame]:
        if not self._opened:
            self._opened = True
            frames = self.open(now)
        else:
            frames = [make() for at, _, make in self._due if at <= now]
            self._due = [
                (at + every if at <= now else at, every, make)
                for at, every, make in self._due
            ]
        self.deadline = min((at for at, _, _ in self._due), default=None)
        return frames

    def hear(self, frame: Frame | Cut, now: float) -> list[Frame]:
        """Take what the venue sent; the answers that its contract asks for."""
        if isinstance(frame, Cut):
            self.cut = (now, frame)
            return []
        if frame.opcode is Opcode.PING:
            self.pings_at.append(now)
            return [Frame(Opcode.PONG, frame.payload)] if self.beats else []
        if frame.opcode is Opcode.PONG:
            return []
        self.heard_at.append(now)
        text = opened(frame, self._endpoint.decode.payload)
        for at, beacon in enumerate(self.oracle.of("beacon")):
            if captures(beacon["match"], text) is not None:
                self.signs.setdefault(at, []).append((now, text))
        replies: list[Frame] = []
        for probe in self.oracle.of("msg_in"):
            named = captures(probe["match"], text)
            if named is not None:
                self.probes_at.append(now)
                if self.beats:
                    reply = written(probe["reply"], {**self.values(), **named})
                    replies.append(text_frame(reply))
        return replies

    def _begin(self, now: float) -> None:
        for each in (*self.oracle.of("msg_out"), *self.oracle.of("ws_ping_out")):
            every = number(each.get("every_s") or each.get("idle_s"))
            if every is not None and not each.get("once"):
                self._due.append((now + every, every, self._maker(each)))

    def _maker(self, each: dict[str, Any]) -> Callable[[], Frame]:
        if each["kind"] == "ws_ping_out":
            return lambda: Frame(Opcode.PING, b"beat")
        return lambda: text_frame(written(each["send"], self.values()))

    def _enabled(self) -> list[Frame]:
        switches = (*self.oracle.of("beacon"), *self.oracle.of("msg_in"))
        frames = [each["enable"] for each in switches if each.get("enable")]
        plain = [frame for frame in frames if "[]" not in str(frame)]
        return [text_frame(written(frame, self.values())) for frame in plain]

    def _requests(self) -> list[Frame]:
        told = self._endpoint.subscribe
        if told is None:
            return []
        contract = contract_of(self.oracle.place)
        classifier = Classifier(contract)
        writer = Writer(contract, pending=classifier.pending, book=classifier.book)
        requests = writer.subscribe([told.forms[0].example], unix=1_767_225_600.0)
        return [text_frame(request.text) for request in requests]


def text_frame(text: str) -> Frame:
    return Frame(Opcode.TEXT, text.encode())


def opened(frame: Frame, payload: str) -> str:
    packed = payload == "gzip" and frame.opcode is Opcode.BINARY
    return (gzip.decompress(frame.payload) if packed else frame.payload).decode()


def play(client: Client, *, until: float, options: Any = None) -> Link:
    """Let them talk, without any delay, in virtual time."""
    venue = Venue(contract_of(client.oracle.place).endpoint, options)
    link = venue.connect(now=0.0)
    now = 0.0
    for _ in range(MOST_STEPS):
        talk(venue, link, client, now)
        instants = [client.deadline, venue.deadline]
        now = min((at for at in instants if at is not None), default=until)
        if client.cut is not None or now >= until:
            return link
        if client.deadline is not None and client.deadline <= now:
            for frame in client.due(now):
                link.receive(frame, now=now)
        venue.tick(now=now)
    raise AssertionError(f"{client.oracle.place}: no end after {MOST_STEPS} steps")


def talk(venue: Venue, link: Link, client: Client, now: float) -> None:
    while frames := link.drain():
        for frame in frames:
            for answer in client.hear(frame, now):
                link.receive(answer, now=now)


# --- the claims -------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_client_that_keeps_the_contract_stays_connected(place: str) -> None:
    oracle = oracles()[place]
    client = Client(oracle, beats=True)
    link = play(client, until=OPENING + 3 * oracle.longest_period + 1.0)
    assert client.cut is None
    assert link.breaches == []


@pytest.mark.parametrize("place", PLACES)
def test_a_client_without_heartbeats_is_cut_at_the_documented_moment(
    place: str,
) -> None:
    oracle = oracles()[place]
    client = Client(oracle, beats=False)
    play(client, until=OPENING + 3 * oracle.longest_period + 1.0)
    expected = documented_end(oracle, client)
    if expected is None:
        assert client.cut is None
        return
    assert client.cut is not None
    at, cut = client.cut
    assert at == pytest.approx(expected[0], abs=1e-6)
    if expected[1] is not None:
        assert cut.code == expected[1]


IDLE = [
    p for p in PLACES if any(c["clock"] == "no_subscription" for c in oracles()[p].idle)
]


@pytest.mark.parametrize("place", IDLE)
def test_a_client_that_subscribes_nothing_is_cut_at_the_documented_moment(
    place: str,
) -> None:
    oracle = oracles()[place]
    client = Client(oracle, beats=False, subscribes=False)
    clock = next(c for c in oracle.idle if c["clock"] == "no_subscription")
    after = number(clock["close_after_s"])
    assert after is not None
    play(client, until=after + 1.0)
    assert client.cut is not None
    others = documented_end(oracle, client)
    assert client.cut[0] == min(after, others[0] if others else after)


@pytest.mark.parametrize("place", PLACES)
def test_the_venue_beats_as_often_as_documented(place: str) -> None:
    oracle = oracles()[place]
    client = Client(oracle, beats=True)
    until = OPENING + 3 * oracle.longest_period + 1.0
    play(client, until=until)
    for kind, instants in (
        ("ws_ping_in", client.pings_at),
        ("msg_in", client.probes_at),
    ):
        for each in oracle.of(kind):
            every = number(each.get("every_s"))
            if every is not None:
                start = OPENING if each.get("enable") else 0.0
                times = int((until - start) / every - 1e-9)
                beats = [start + every * (n + 1) for n in range(times)]
                assert instants == pytest.approx(beats)
    for at, each in enumerate(oracle.of("beacon")):
        if each["scope"] == "connection" and number(each.get("every_s")) is not None:
            signs = client.signs.get(at, [])
            signs_come_in_time(each, signs, client, until=until)


def signs_come_in_time(
    beacon: dict[str, Any],
    signs: list[tuple[float, str]],
    client: Client,
    *,
    until: float,
) -> None:
    every = number(beacon["every_s"])
    assert every is not None
    if beacon["when"] == "idle":
        silent = [b - a for a, b in pairwise([*client.heard_at, until])]
        assert max(silent) <= every + 1e-6
        return
    if beacon["when"] == "on_enable" and not beacon.get("enable"):
        assert signs == []
        return
    # What answers the client's own beats may look like the sign itself.
    if not any(beat.get("every_s") for beat in client.oracle.of("msg_out")):
        instants = [at for at, _ in signs]
        apart = [b - a for a, b in pairwise(instants)]
        assert apart[1:]
        assert apart[1:] == pytest.approx([every] * len(apart[1:]))
    counter_is_whole(beacon, [text for _, text in signs])


def counter_is_whole(beacon: dict[str, Any], texts: list[str]) -> None:
    counter = beacon.get("counter")
    if not counter:
        return
    path = counter.get("path") or counter.get("field")
    values = [at_path(json.loads(text), path) for text in texts]
    assert len(values) > 2
    if counter["step"] == "monotonic":
        assert values == sorted(values)
    else:
        step = int(counter["step"])
        assert values == [values[0] + step * n for n in range(len(values))]


def documented_end(oracle: Oracle, client: Client) -> tuple[float, int | None] | None:
    """When and with which code the oracle has a client cut that sends no heartbeat."""
    ends: list[tuple[float, int | None]] = []
    asked_at = min([*client.pings_at, *client.probes_at], default=None)
    last_said = max(client.said_at, default=0.0)
    last_heard = max(client.heard_at, default=0.0)
    deadlines = [
        deadline
        for each in (*oracle.of("ws_ping_in"), *oracle.of("msg_in"))
        if (deadline := number(each.get("deadline_s"))) is not None
    ]
    for clock in oracle.idle:
        after = number(clock.get("close_after_s"))
        since: float | None = None
        match clock["clock"]:
            case "client_ping":
                since = 0.0
            case "client_message" if clock.get("note") or not deadlines:
                since = asked_at if deadlines else last_said
            case "client_message" | "pong":
                since = asked_at
            case "server_message":
                since = last_heard
            case "any_message":
                since = max(last_said, last_heard)
            case _:
                pass
        if since is not None and after is not None:
            ends.append((since + after, clock.get("close_code")))
    said = any(c["clock"] == "pong" and c.get("close_after_s") for c in oracle.idle)
    if deadlines and asked_at is not None and not said:
        ends.append((asked_at + min(deadlines), None))
    # Of two that say the same moment, the one that names its code.
    return min(ends, key=lambda end: (end[0], end[1] is None), default=None)
