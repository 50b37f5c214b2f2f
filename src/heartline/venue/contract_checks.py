"""What types cannot say of an endpoint: that its facts fit each other.

Everything here raises UsageError whose field is the key in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import structs

from heartline.errors import UsageError

from .channel_checks import (
    check_freshness,
    check_sequence,
    check_subscribe,
    check_timestamps,
)
from .field import MOST_STEPS, parse_field
from .frame_checks import captured, check_expected, check_frame, check_variables
from .profile import Bootstrap, Decode, Endpoint, Liveness, Member
from .vocabulary import Beacon, Frame, Match, MsgIn, MsgOut, Sourced, WsPingOut

FRESH: Final = frozenset({"id", "id_s", "uuid", "now_ms", "now_s"})
"""Variables that every message may use."""
SECRETS: Final = frozenset({"key", "secret", "token", "account"})
"""Variables that the user gives."""
_KEPT_BY_US: Final = {"client_ping", "client_message", "server_message", "any_message"}


def check(endpoint: Endpoint, *, at: str) -> None:
    """Raise UsageError over the first thing in which an endpoint contradicts itself."""
    known = _variables(endpoint, at)
    _check_sources(endpoint, at)
    _check_address(endpoint, known, at)
    _check_decode(endpoint.decode, f"{at}.decode")
    if endpoint.bootstrap is not None:
        _check_bootstrap(endpoint.bootstrap, known, f"{at}.bootstrap")
    for index, step in enumerate(endpoint.on_open.steps if endpoint.on_open else ()):
        here = f"{at}.on_open.steps[{index}]"
        if step.send is None and step.expect is None:
            raise UsageError(here, wanted="send or expect", got=None)
        _check_exchange(step.send, step.expect, known, here)
    _check_liveness(endpoint.liveness, known, f"{at}.liveness")
    _check_clocks(endpoint, at)
    for index, notice in enumerate(
        endpoint.lifetime.notices if endpoint.lifetime else ()
    ):
        captured(notice.match, f"{at}.lifetime.notices[{index}].match")
    if endpoint.subscribe is not None:
        check_subscribe(endpoint.subscribe, known, f"{at}.subscribe")
    if endpoint.sequence is not None:
        check_sequence(endpoint.sequence, f"{at}.sequence")
    if endpoint.timestamps is not None:
        check_timestamps(endpoint.timestamps, f"{at}.timestamps")
    if endpoint.freshness is not None:
        check_freshness(endpoint.freshness, known, f"{at}.freshness")
    _check_deadman(endpoint, at)


def _variables(endpoint: Endpoint, at: str) -> frozenset[str]:
    """Every variable that a frame of this endpoint may use."""
    for name, variable in endpoint.variables.items():
        least = variable.value if variable.least is None else variable.least
        most = variable.value if variable.most is None else variable.most
        if not least <= variable.value <= most:
            here = f"{at}.variables.{name}.value"
            wanted = f"a number from {least} to {most}"
            raise UsageError(here, wanted=wanted, got=variable.value)
    extracted = endpoint.bootstrap.extract if endpoint.bootstrap else {}
    return FRESH | SECRETS | endpoint.variables.keys() | extracted.keys()


def _check_sources(endpoint: Endpoint, at: str) -> None:
    groups = {f.name: getattr(endpoint, f.name) for f in structs.fields(endpoint)}
    groups |= {f"variables.{name}": v for name, v in endpoint.variables.items()}
    for name, group in groups.items():
        for index, source in enumerate(
            group.source if isinstance(group, Sourced) else ()
        ):
            if not source.startswith(("https://", "http://")):
                here = f"{at}.{name}.source[{index}]"
                raise UsageError(here, wanted="a URL", got=source)


def _check_address(endpoint: Endpoint, known: frozenset[str], at: str) -> None:
    address = endpoint.address
    schemes: tuple[str, ...] = ("wss://", "ws://", "${")
    if address.transport == "http":
        schemes = ("https://", "http://")
    named = {f"variants.{name}": url for name, url in address.variants.items()}
    if address.url is not None:
        named["url"] = address.url
    for name, url in named.items():
        here = f"{at}.address.{name}"
        if not url.startswith(schemes):
            wanted = f"a URL that begins with {' or '.join(schemes[:2])}"
            raise UsageError(here, wanted=wanted, got=url)
        check_variables(url, known | {"symbol"}, here)


def _check_decode(decode: Decode, at: str) -> None:
    if (decode.payload == "protobuf") != bool(decode.message):
        wanted = "the members of messages in protobuf, and of no others"
        raise UsageError(f"{at}.message", wanted=wanted, got=list(decode.message))
    _check_members(decode.message, f"{at}.message", depth=1)


def _check_members(members: Mapping[str, Member], at: str, *, depth: int) -> None:
    if depth > MOST_STEPS:
        wanted = f"at most {MOST_STEPS} messages within each other"
        raise UsageError(at, wanted=wanted, got="more")
    numbers: set[int] = set()
    for name, member in members.items():
        here = f"{at}.{name}"
        if (member.type is None) != bool(member.message):
            raise UsageError(here, wanted="type or message", got=member.type)
        # Numbers that protobuf keeps for itself.
        if member.number in numbers or 19_000 <= member.number < 20_000:
            wanted = "a number of its own, and not one of 19000 to 19999"
            raise UsageError(f"{here}.number", wanted=wanted, got=member.number)
        numbers.add(member.number)
        _check_members(member.message, f"{here}.message", depth=depth + 1)


def _check_bootstrap(bootstrap: Bootstrap, known: frozenset[str], at: str) -> None:
    if bootstrap.http is None and bootstrap.frame is None:
        raise UsageError(at, wanted="http, frame or both", got=None)
    if bootstrap.http is not None:
        check_variables(bootstrap.http.url, known, f"{at}.http.url")
    if bootstrap.frame is not None:
        captured(bootstrap.frame, f"{at}.frame")
    for name, extract in bootstrap.extract.items():
        parse_field(extract.field, field=f"{at}.extract.{name}.field")


def _check_exchange(
    send: Frame | None, expect: Match | None, known: frozenset[str], at: str
) -> None:
    if send is not None:
        check_frame(send, known, f"{at}.send")
    if expect is not None:
        captured(expect, f"{at}.expect")
        check_expected(expect, known, f"{at}.expect")


def _check_liveness(live: Liveness, known: frozenset[str], at: str) -> None:
    if not live.primitives and not live.none_known:
        kinds = "ws_ping_in, ws_ping_out, msg_out, msg_in, beacon"
        raise UsageError(at, wanted=f"one of {kinds}, or none_known = true", got=None)
    for here, timer in _timers(live, at):
        if isinstance(timer, str):
            check_variables(timer, known, here)
    for index, out in enumerate(live.msg_out):
        _check_exchange(out.send, out.expect, known, f"{at}.msg_out[{index}]")
    for index, probe in enumerate(live.msg_in):
        _check_probe(probe, known, f"{at}.msg_in[{index}]")
    for index, beacon in enumerate(live.beacon):
        _check_beacon(beacon, known, f"{at}.beacon[{index}]")


def _check_probe(probe: MsgIn, known: frozenset[str], at: str) -> None:
    usable = known | captured(probe.match, f"{at}.match")
    check_frame(probe.reply, usable, f"{at}.reply")
    if probe.expect is not None:
        captured(probe.expect, f"{at}.expect")
        check_expected(probe.expect, usable, f"{at}.expect")
    if probe.enable is not None:
        check_frame(probe.enable, known, f"{at}.enable")


def _check_beacon(beacon: Beacon, known: frozenset[str], at: str) -> None:
    captured(beacon.match, f"{at}.match")
    if beacon.counter is not None:
        parse_field(beacon.counter.field, field=f"{at}.counter.field")
    if beacon.enable is not None:
        per_symbol = {"symbol", "symbol[]"} if beacon.scope == "symbol" else set[str]()
        check_frame(beacon.enable, known | per_symbol, f"{at}.enable")


def _timers(live: Liveness, at: str) -> Iterator[tuple[str, float | str]]:
    for kind in ("ws_ping_in", "ws_ping_out", "msg_out", "msg_in", "beacon"):
        for index, primitive in enumerate(getattr(live, kind)):
            for name in ("every_s", "idle_s", "reply_within_s", "deadline_s"):
                timer = getattr(primitive, name, None)
                if timer is not None:
                    yield f"{at}.{kind}[{index}].{name}", timer


def _check_clocks(endpoint: Endpoint, at: str) -> None:
    """A ping must leave, and its answer be due, before the venue's clock runs out."""
    live = endpoint.liveness
    for index, clock in enumerate(endpoint.idle.clocks if endpoint.idle else ()):
        limit = clock.close_after_s
        here = f"{at}.idle.clocks[{index}]"
        if isinstance(limit, str):
            check_variables(limit, _variables(endpoint, at), f"{here}.close_after_s")
        elif limit is not None and clock.clock in _KEPT_BY_US:
            for kind in ("msg_out", "ws_ping_out"):
                for number, primitive in enumerate(getattr(live, kind)):
                    place = f"{at}.liveness.{kind}[{number}]"
                    _check_timely(primitive, limit, place)
            _check_rhythm(live, clock.clock, f"{here}.clock")
        elif limit is not None and clock.clock == "pong":
            for kind in ("ws_ping_in", "msg_in"):
                for number, primitive in enumerate(getattr(live, kind)):
                    due = primitive.deadline_s
                    if isinstance(due, float) and due > limit:
                        place = f"{at}.liveness.{kind}[{number}].deadline_s"
                        wanted = f"at most {limit} s, when the venue closes"
                        raise UsageError(place, wanted=wanted, got=due)


def _check_timely(primitive: MsgOut | WsPingOut, limit: float, at: str) -> None:
    for name in ("every_s", "idle_s"):
        timer = getattr(primitive, name)
        if isinstance(timer, float):
            patience = primitive.reply_within_s
            answer = patience if isinstance(patience, float) else 0.0
            if timer >= limit or (name == "idle_s" and timer + answer >= limit):
                wanted = f"less than {limit} s, when the venue closes"
                raise UsageError(f"{at}.{name}", wanted=wanted, got=timer)


def _check_rhythm(live: Liveness, clock: str, at: str) -> None:
    """Where data does not count, a ping that waits for silence comes too late."""
    if clock not in {"client_ping", "client_message"}:
        return
    ours: list[MsgOut | WsPingOut] = [*live.msg_out, *live.ws_ping_out]
    if any(p.idle_s is not None for p in ours) and not any(
        p.every_s is not None for p in ours
    ):
        wanted = "a ping with every_s: data does not keep this connection"
        raise UsageError(at, wanted=wanted, got=clock)


def _check_deadman(endpoint: Endpoint, at: str) -> None:
    deadman = endpoint.deadman
    if deadman is None or deadman.least is None or deadman.most is None:
        return
    if deadman.least > deadman.most:
        wanted = f"at most {deadman.most}"
        raise UsageError(f"{at}.deadman.least", wanted=wanted, got=deadman.least)
