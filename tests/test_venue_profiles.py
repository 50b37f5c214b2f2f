"""Venue profiles: every shipped one can be used, and nothing else slips through."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartline.errors import UsageError, VenueError
from heartline.venue.load import LARGEST_BYTES, load, names
from heartline.venue.profile import Endpoint, seconds, settled
from heartline.venue.vocabulary import Sourced

VENUES = files("heartline") / "venues"
RESEARCH = Path(__file__).parents[2] / "shared" / "research" / "venues.yaml"

ENDPOINTS = {
    "deribit": "deribit/main",
    "binance_spot": "binance/spot",
    "binance_spot_ws_api": "binance/api",
    "binance_usdm": "binance/usdm",
    "binance_coinm": "binance/coinm",
    "okx_v5": "okx/public",
    "bybit_v5_public": "bybit/public",
    "bybit_v5_private": "bybit/private",
    "coinbase_exchange": "coinbase/exchange",
    "coinbase_advanced": "coinbase/advanced",
    "kraken_spot_v2": "kraken/spot",
    "kraken_spot_v1": "kraken/spot_v1",
    "kraken_futures": "kraken/futures",
    "kucoin_classic": "kucoin/spot",
    "kucoin_uta": "kucoin/uta",
    "bitget_v2": "bitget/public",
    "gate_spot": "gate/spot",
    "gate_futures": "gate/futures",
    "bitmex": "bitmex/main",
    "bitfinex_v2": "bitfinex/public",
    "bitstamp": "bitstamp/main",
    "gemini": "gemini/main",
    "gemini_legacy": "gemini/legacy",
    "cryptocom": "cryptocom/market",
    "htx_spot": "htx/spot",
    "htx_spot_private": "htx/spot_private",
    "htx_swap": "htx/swap",
    "htx_swap_private": "htx/swap_private",
    "mexc_spot": "mexc/spot",
    "mexc_futures": "mexc/futures",
    "phemex": "phemex/main",
    "hyperliquid": "hyperliquid/main",
    "dydx_v4": "dydx/indexer",
    "bingx_swap": "bingx/swap",
    "bingx_spot": "bingx/spot",
    "upbit": "upbit/public",
    "bithumb": "bithumb/public",
    "whitebit": "whitebit/main",
    "polymarket_clob": "polymarket/clob",
    "polymarket_rtds": "polymarket/live",
    "kalshi": "kalshi/main",
    "alpaca_data": "alpaca/data",
    "alpaca_trading": "alpaca/trading",
    "massive": "massive/stocks",
    "finnhub": "finnhub/trades",
    "oanda": "oanda/pricing",
}
"""What the research calls an entry, and the endpoint that says the same."""

FURTHER = {
    "binance_options": "binance/options",
    "coinbase_intx": "coinbase/international",
    "woox": "woox/public",
    "orderly": "orderly/public",
    "lbank": "lbank/main",
    "weex": "weex/spot",
    "delta_exchange": "delta/india",
    "luno": "luno/market",
    "thalex": "thalex/main",
    "backpack": "backpack/main",
    "extended": "extended/main",
    "aster": "aster/futures",
    "bullish": "bullish/orderbook",
    "cexio": "cexio/public",
    "bitmart": "bitmart/spot",
    "bitrue_spot": "bitrue/spot",
    "bitrue_user": "bitrue/user",
    "hollaex": "hollaex/main",
    "toobit": "toobit/quote",
    "ascendex": "ascendex/public",
    "gmo_coin": "gmo_coin/public",
    "max": "max/main",
    "apex": "apex/public",
    "polymarket_perps": "polymarket/perps",
}
"""The same of those that the research treats in short and whose contract is known."""

UNDOCUMENTED = {
    *("derive", "btse", "xt", "blofin", "grvt", "deriv_com", "ibkr_cp"),
    "polymarket_sports",
}
"""Entries that do not ship: what is known of them does not come from the venue."""


@cache
def text_of(venue: str) -> str:
    return (VENUES / f"{venue}.toml").read_text(encoding="utf-8")


shipped = cache(load)


def endpoints_of(venue: str) -> Iterator[Endpoint]:
    yield from shipped(venue).endpoints.values()


def groups_of(endpoint: Endpoint) -> dict[str, Sourced]:
    facts = {name: getattr(endpoint, name) for name in endpoint.__struct_fields__}
    return {name: facts for name, facts in facts.items() if isinstance(facts, Sourced)}


# --- what ships -------------------------------------------------------------------


@pytest.mark.parametrize("venue", names())
def test_every_shipped_profile_can_be_used(venue: str) -> None:
    profile = load(venue)
    assert profile.name == venue
    assert profile.title
    assert profile.endpoint() is next(iter(profile.endpoints.values()))
    for name, endpoint in profile.endpoints.items():
        assert profile.endpoint(name) is endpoint
        assert endpoint.name == name


def test_the_venues_of_the_research_all_ship() -> None:
    assert {place.partition("/")[0] for place in ENDPOINTS.values()} <= set(names())
    assert len({place.partition("/")[0] for place in ENDPOINTS.values()}) == 29
    assert names() == tuple(sorted(names()))


@pytest.mark.parametrize("venue", names())
def test_no_number_stands_without_its_source(venue: str) -> None:
    for endpoint in endpoints_of(venue):
        groups = groups_of(endpoint)
        for facts in (*groups.values(), *endpoint.variables.values()):
            assert all(re.match(r"https://\w[\w.-]+/?\S*\Z", u) for u in facts.source)
            assert date(2026, 1, 1) <= facts.checked <= date(2027, 12, 31)
        bare = msgspec.to_builtins(endpoint)
        for name in (*groups, "variables"):
            bare.pop(name, None)
        assert not re.search(
            r"[0-9]+\.[0-9]|:[0-9]", msgspec.json.encode(bare).decode()
        )


@pytest.mark.parametrize("venue", names())
def test_nothing_in_a_profile_names_how_it_was_found(venue: str) -> None:
    assert not re.search(r"file index|stored copy|/tmp/|\bid \d{6,}", text_of(venue))


def test_a_timer_may_be_told_by_the_user() -> None:
    endpoint = shipped("deribit").endpoint()
    (probe,) = endpoint.liveness.msg_in
    assert probe.every_s == "${heartbeat_s}"
    assert seconds(probe.every_s, {"heartbeat_s": 15.0}) == 15.0
    assert settled(endpoint).liveness.msg_in[0].deadline_s == 10.0
    slower = settled(endpoint, {"heartbeat_s": 30.0})
    assert slower.liveness.msg_in[0].every_s == 30.0
    assert slower.idle is not None
    assert slower.idle.clocks[1].close_after_s == 30.0
    told_later = settled(shipped("kucoin").endpoint())
    assert told_later.liveness.msg_out[0].every_s == "${ping_interval_s}"


def test_an_address_is_found_by_its_variant() -> None:
    address = shipped("okx").endpoint().address
    assert address.named() == address.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert address.named("eea") == "wss://wseea.okx.com:8443/ws/v5/public"
    with pytest.raises(UsageError, match=r"variant: wanted private, .*got 'moon'"):
        address.named("moon")


# --- strictness -------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One `key = value` of a file, and the place it stands for."""

    number: int
    place: str
    key: str
    value: str


FREE = re.compile(r"\.(variants|extract)\Z")
"""Tables whose keys the file chooses itself."""


@cache
def lines_of(venue: str) -> tuple[Line, ...]:
    """Every line that holds a whole value, with the dotted place of its table."""
    place, counts, found = "", dict[str, int](), list[Line]()
    for number, line in enumerate(text_of(venue).splitlines()):
        if line.startswith("[["):
            table = line.strip("[]")
            counts[table] = counts.get(table, -1) + 1
            place = f"{table}[{counts[table]}]"
        elif line.startswith("["):
            place = line.strip("[]")
        elif (match := re.match(r"(\w+) = (.*[^\[])\Z", line)) and place:
            found.append(Line(number, place, match[1], match[2]))
    return tuple(line for line in found if not FREE.search(line.place))


def refusal_of(text: str, path: Path) -> VenueError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(VenueError) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"{path}: {caught.value.key}: wanted ")
    return caught.value


def changed(venue: str, line: Line, replacement: str) -> str:
    lines = text_of(venue).splitlines()
    lines[line.number] = replacement
    return "\n".join(lines)


some_line = st.sampled_from(names()).flatmap(
    lambda venue: st.tuples(st.just(venue), st.sampled_from(lines_of(venue)))
)


@given(chosen=some_line, letter=st.sampled_from("xqz"))
def test_a_key_that_is_written_otherwise_is_refused_by_name(
    chosen: tuple[str, Line], letter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    venue, line = chosen
    path = tmp_path_factory.getbasetemp() / "renamed.toml"
    renamed = f"{line.key}{letter}"
    error = refusal_of(changed(venue, line, f"{renamed} = {line.value}"), path)
    assert error.key == f"{line.place}.{renamed}"
    assert error.got == renamed
    if line.key != "item":
        assert re.search(rf"\b{line.key}\b", error.wanted)


@given(chosen=some_line)
def test_a_value_of_another_type_is_refused_by_its_key(
    chosen: tuple[str, Line], tmp_path_factory: pytest.TempPathFactory
) -> None:
    venue, line = chosen
    if line.key == "item":
        return  # any JSON is one
    wrong = "17" if line.value.startswith("[") else "[[1]]"
    path = tmp_path_factory.getbasetemp() / "retyped.toml"
    error = refusal_of(changed(venue, line, f"{line.key} = {wrong}"), path)
    assert error.key == f"{line.place}.{line.key}"
    assert error.got == tomllib.loads(f"got = {wrong}")["got"]


GOOD = """
name = "mine"
title = "Mine"

[endpoints.main]
product = "all"

[endpoints.main.variables.pace_s]
value = 20
least = 5
most = 50
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.address]
url = "wss://example.com/ws?token=${token}"
variants = { other = "wss://example.org/ws" }
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.decode]
payload = "text"
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.bootstrap]
frame = { json = { event = "welcome" } }
extract = { key_name = { field = "data.key" } }
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.on_open]
steps = [{ send = { json = { op = "hello", k = "${key_name}" } }, within_s = 5.0 }]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.liveness]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[[endpoints.main.liveness.ws_ping_in]]
deadline_s = 40.0

[[endpoints.main.liveness.msg_out]]
send = { json = { op = "ping", id = "${id}" } }
expect = { json = { op = "pong", id = "${id}" } }
every_s = "${pace_s}"

[[endpoints.main.liveness.ws_ping_out]]
every_s = 25.0
reply_within_s = 10.0

[[endpoints.main.liveness.msg_in]]
match = { any = [{ json = { ping = "$ts" } }, { array = ["ping", "$ts"] }] }
reply = { json = { pong = "${ts}" } }

[[endpoints.main.liveness.beacon]]
match = { json = { beat = "*" } }
when = "always"
scope = "connection"
counter = { field = "beat.n", step = 1 }

[endpoints.main.idle]
clocks = [
  { clock = "client_message", close_after_s = 60.0, basis = "documented" },
  { clock = "pong", close_after_s = 45.0, basis = "documented" },
]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.subscribe]
item = { c = "${name}", s = "${symbol}" }
request = { json = { op = "subscribe", id = "${id}", args = ["${item[]}"] } }
unsubscribe = { json = { op = "unsubscribe", id = "${bound}" } }
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"
forms = [
  { name = "book-{depth:int}:{symbol}", example = "book-5:X", key = "book:${symbol}", item = { d = "${depth}" } },
  { name = "{name}:{symbol}", example = "trade:X" },
]
acks = [{ match = { json = { ok = true } }, id = "id", keys = ["${arg.c}:${arg.s}"], binds = "chan" }]
refusals = [{ match = { json = { ok = false } }, id = "id" }]
data = [
  { match = { json = { "[].c" = "*" } }, key = "${[].c}:${[].s}", body = "[]" },
  { match = { json = { "[0]" = "*" } }, bound = "[0]" },
]

[endpoints.main.sequence]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[[endpoints.main.sequence.rules]]
channels = ["book:{symbol}"]
rule = "range"
scope = "symbol"
first = "U"
last = "u"
overlap = true
recover = { how = "rest", url = "https://example.com/${symbol|upper}", number = "id", joins = "covers" }

[[endpoints.main.sequence.rules]]
channels = ["*"]
rule = "step"
scope = "connection"
cur = "seq"

[endpoints.main.timestamps]
stamps = [{ field = "t", unit = "ms", of = "sent", channels = ["book:{symbol}"] }]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.freshness]
contracts = [{ channels = ["book:{symbol}"], every_s = "${pace_s}", basis = "documented" }]
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"

[endpoints.main.deadman]
kind = "countdown"
least = 5
most = 300
source = ["https://example.com/a"]
checked = 2026-11-22
confidence = "official"
"""  # noqa: E501 - inline tables of TOML cannot be broken

CONTRADICTIONS = {
    "an unknown word": (
        'payload = "text"',
        'payload = "txt"',
        "decode.payload",
        "one of gzip, protobuf, text, utf8",
    ),
    "no endpoint": ("[endpoints.main]", "[endpoint.main]", "", "endpoints"),
    "a name twice": ('product = "all"', 'product = "all"\nname = "a"', "name", ""),
    "a missing key": ('title = "Mine"', "", "^title", "a value"),
    "a missing group": (
        'payload = "text"\nsource = ["https://example.com/a"]',
        'payload = "text"',
        "decode.source",
        "a value",
    ),
    "a negative time": ("every_s = 25.0", "every_s = -25.0", ".every_s", "> 0"),
    "a scheme": (
        '"wss://example.org/ws"',
        '"https://example.org"',
        "address.variants.other",
        "wss://",
    ),
    "a source that is no URL": (
        'payload = "text"\nsource = ["https://example.com/a"]',
        'payload = "text"\nsource = ["a book"]',
        "decode.source[0]",
        "a URL",
    ),
    "a variable out of bounds": (
        "value = 20",
        "value = 60",
        "variables.pace_s.value",
        "5.0 to 50.0",
    ),
    "an unknown variable": (
        'k = "${key_name}"',
        'k = "${kee}"',
        "on_open.steps[0].send.json",
        "key_name",
    ),
    "an unknown timer": (
        'every_s = "${pace_s}"\n',
        'every_s = "${pase_s}"\n',
        "msg_out[0].every_s",
        "pace_s",
    ),
    "a capture in one alternative only": (
        '{ array = ["ping", "$ts"] }',
        '{ array = ["ping"] }',
        "msg_in[0].reply.json",
        "variables among",
    ),
    "a match that is two": (
        'match = { json = { beat = "*" } }',
        'match = { json = { beat = "*" }, text = "x" }',
        "beacon[0].match",
        "exactly one of",
    ),
    "a frame that is nothing": (
        'send = { json = { op = "ping", id = "${id}" } }',
        "send = {}",
        "msg_out[0].send",
        "exactly one of text, json",
    ),
    "a broken template": (
        '{ op = "ping", id = "${id}" }',
        '{ op = "ping", id = "${id" }',
        "msg_out[0].send.json.id",
        "${name}",
    ),
    "a broken field": ('"beat.n"', '"beat..n"', "counter.field", "a field such as"),
    "every element in a control message": (
        '{ beat = "*" }',
        '{ "beat[]" = "*" }',
        "beacon[0].match.json.beat[]",
        "an index",
    ),
    "a ping after the venue has closed": (
        "every_s = 25.0",
        "every_s = 60.0",
        "ws_ping_out[0].every_s",
        "less than 60.0",
    ),
    "a pong after the venue has closed": (
        "deadline_s = 40.0",
        "deadline_s = 50.0",
        "ws_ping_in[0].deadline_s",
        "at most 45.0",
    ),
    "a ping that waits for silence where data does not count": (
        'every_s = "${pace_s}"\n\n[[endpoints.main.liveness.ws_ping_out]]\nevery_s',
        'idle_s = "${pace_s}"\n\n[[endpoints.main.liveness.ws_ping_out]]\nidle_s',
        "idle.clocks[0].clock",
        "every_s",
    ),
    "an example of another form": (
        'example = "trade:X"',
        'example = "book-5:X"',
        "forms[1].example",
        "not of book-",
    ),
    "an example of no form": (
        'example = "trade:X"',
        'example = "trade"',
        "forms[1].example",
        "{name}:{symbol}",
    ),
    "a key from no part": (
        'key = "book:${symbol}"',
        'key = "book:${symbl}"',
        "forms[0].key",
        "depth, symbol",
    ),
    "a part with the name of a variable": (
        '"{name}:{symbol}", example',
        '"{id}:{symbol}", example',
        "forms[1].name",
        "not called",
    ),
    "a request without its part": (
        's = "${symbol}" }',
        's = "${instrument}" }',
        "subscribe.item",
        "variables among",
    ),
    "no request": (
        'request = { json = { op = "subscribe", id = "${id}", args = ["${item[]}"] } }',
        "",
        "forms[0].request",
        "for all forms",
    ),
    "an ack that lists nothing": (
        'keys = ["${arg.c}:${arg.s}"]',
        'lists = "request"',
        "acks[0].keys",
        "lists = request",
    ),
    "data bound by nothing": (
        ', binds = "chan"',
        "",
        "subscribe.unsubscribe.json",
        "variables among",
    ),
    "data without a key": (
        'bound = "[0]"',
        'body = "[0]"',
        "data[1]",
        "exactly one of key, bound",
    ),
    "a rule without its field": (
        'first = "U"',
        "",
        "rules[0].first",
        "a field",
    ),
    "every channel, for a symbol": (
        'scope = "connection"\ncur',
        'scope = "symbol"\ncur',
        "rules[1].scope",
        "connection",
    ),
    "overlap where nothing can": (
        'rule = "step"',
        'rule = "step"\noverlap = true',
        "rules[1].overlap",
        "range",
    ),
    "a snapshot from nowhere": (
        ', number = "id"',
        "",
        "rules[0].recover.number",
        "how = rest",
    ),
    "a snapshot of something else": (
        "${symbol|upper}",
        "${pair|upper}",
        "rules[0].recover.url",
        "symbol",
    ),
    "bounds the wrong way round": (
        "least = 5\nmost = 300",
        "least = 500\nmost = 300",
        "deadman.least",
        "at most 300",
    ),
    "nothing that keeps it alive": (
        GOOD[
            GOOD.index("[[endpoints.main.liveness.ws") : GOOD.index("[endpoints.main.i")
        ],
        "",
        "liveness",
        "none_known = true",
    ),
    "a broken pattern": (
        'channels = ["book:{symbol}"]\nrule',
        'channels = ["book:{sym"]\nrule',
        "rules[0].channels[0]",
        "named parts",
    ),
}


def test_a_file_of_the_users_own_is_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    mine = load(str(path))
    assert mine.name == "mine"
    assert mine.endpoint().liveness.msg_out[0].every_s == "${pace_s}"
    copy = tmp_path / "copy.toml"
    copy.write_text(text_of("okx"), encoding="utf-8")
    assert load(str(copy)) == load("okx")


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_a_contradiction_is_refused_at_its_key(
    contradiction: str, tmp_path: Path
) -> None:
    old, new, key, wanted = CONTRADICTIONS[contradiction]
    assert old in GOOD
    error = refusal_of(GOOD.replace(old, new), tmp_path / "mine.toml")
    expected = key[1:] if key.startswith("^") else key
    assert error.key.endswith(expected)
    assert wanted in f"{error.wanted} {error.key}"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"name = ", "TOML"),
        (b"\xff\xfe", "TOML"),
        (b"#" * (LARGEST_BYTES + 1), "at most"),
        (b"a = " + b"[" * 5000, "TOML"),
    ],
    ids=["broken", "not UTF-8", "too large", "too deep"],
)
def test_a_file_that_cannot_be_read_says_why(
    content: bytes, wanted: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(VenueError, match="the file") as caught:
        load(str(path))
    assert wanted in caught.value.wanted


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(VenueError, match="No such file"):
        load(str(tmp_path / "mine.toml"))
    with pytest.raises(VenueError, match="directory"):
        load(f"{tmp_path}/")


def test_an_endpoint_may_stand_in_the_name() -> None:
    named = load("binance/usdm")
    assert list(named.endpoints) == ["usdm"]
    assert named.endpoint() == load("binance").endpoint("usdm")
    with pytest.raises(UsageError, match=r"endpoint of binance.*usdm.*'of-no-kind'"):
        load("binance/of-no-kind")


def test_a_name_that_is_none_tells_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"deribit.*got 'derbit'"):
        load("derbit")
    with pytest.raises(UsageError, match=r"spot, api, usdm, coinm.*got 'futures'"):
        load("binance").endpoint("futures")


# --- the research is the oracle ---------------------------------------------------


@cache
def research() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the research")
    if not RESEARCH.exists():
        pytest.skip("the research is not part of a clone")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with RESEARCH.open(encoding="utf-8") as opened:
        found = yaml.load(opened, loader)
    return {e["id"]: e for e in (*found["venues"], *found["extras"])}


def endpoint_of(entry: str) -> Endpoint:
    venue, _, name = (ENDPOINTS | FURTHER)[entry].partition("/")
    return shipped(venue).endpoint(name)


def told(value: Any) -> Any:
    """The same as plain data, without what is absent, null spelt as in a profile."""
    if isinstance(value, dict):
        return {k: told(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [told(v) for v in value]
    return "${null}" if value is None else value


TIMERS = ("every_s", "idle_s", "reply_within_s", "deadline_s")
KINDS = ("ws_ping_in", "ws_ping_out", "msg_out", "msg_in", "beacon")


@pytest.mark.parametrize("entry", ENDPOINTS | FURTHER)
def test_liveness_is_what_the_research_found(entry: str) -> None:
    found = research()[entry]["profile"]
    live = endpoint_of(entry).liveness
    for kind in KINDS:
        ours = getattr(live, kind)
        theirs = [p for p in found["liveness"] if p["kind"] == kind]
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            for timer in TIMERS if entry != "cexio" else ():
                assert getattr(one, timer, None) == other.get(timer)
            assert one.documented == other["documented"]
            assert getattr(one, "required", False) == other.get("required", False)
            assert getattr(one, "when", None) == other.get("when")
            assert getattr(one, "scope", None) == other.get("scope")
            for frame in ("send", "expect", "match", "reply", "enable"):
                ours_told = getattr(one, frame, None)
                if ours_told is not None:
                    ours_told = told(msgspec.to_builtins(ours_told))
                theirs_told = told(other[frame]) if other.get(frame) else None
                assert ours_told == theirs_told


@pytest.mark.parametrize("entry", ENDPOINTS | FURTHER)
def test_clocks_and_ends_are_what_the_research_found(entry: str) -> None:
    found, endpoint = research()[entry]["profile"], endpoint_of(entry)
    clocks = endpoint.idle.clocks if endpoint.idle else ()
    assert [
        (c.clock, c.close_after_s, c.basis, c.close_code) for c in clocks
    ] == [
        (c["clock"], c["close_after_s"], c["basis"], c["close_code"])
        for c in found["idle"]
    ]  # fmt: skip
    lifetime, ends = endpoint.lifetime, found["lifetime"]
    assert (lifetime.max_age_s if lifetime else None) == ends["max_age_s"]
    assert [
        (n.action, n.lead_s, msgspec.to_builtins(n.match))
        for n in (lifetime.notices if lifetime else ())
    ] == [(n["action"], n["lead_s"], told(n["match"])) for n in ends["notices"]]
    steps = endpoint.on_open.steps if endpoint.on_open else ()
    assert [s.within_s for s in steps] == [s["within_s"] for s in found["on_open"]]


@pytest.mark.parametrize("entry", ENDPOINTS)
def test_numbers_of_messages_are_read_where_the_research_found_them(entry: str) -> None:
    fields = ("prev", "cur", "first", "last", "alt", "symbol", "sid", "snapshot_when")
    sequence = endpoint_of(entry).sequence

    def as_found(rule: dict[str, Any]) -> tuple[Any, ...]:
        found = rule["fields"]
        return (rule["rule"], rule["scope"], *(str(found.get(f)) for f in fields[:7]))

    ours = [
        (r.rule, r.scope, *(str(getattr(r, f)) for f in fields[:7]))
        for r in (sequence.rules if sequence else ())
    ]
    assert sorted(ours) == sorted(map(as_found, research()[entry]["sequence"]))


@pytest.mark.parametrize("entry", ENDPOINTS | FURTHER)
def test_the_dead_mans_switch_is_what_the_research_found(entry: str) -> None:
    found, deadman = research()[entry]["deadman"], endpoint_of(entry).deadman
    if deadman is None:
        assert found["kind"] == "none"
        return
    assert (deadman.kind, deadman.unit) == (found["kind"], found["unit"])
    assert (deadman.least, deadman.most) == (found["min"], found["max"])


def test_every_entry_of_the_research_has_its_endpoint() -> None:
    assert set(research()) - UNDOCUMENTED == set(ENDPOINTS | FURTHER)


def test_a_clock_that_ignores_silence_gets_a_steady_ping() -> None:
    """CEX.IO counts what we send; the research has us ping after a silence only."""
    (ping,) = endpoint_of("cexio").liveness.msg_out
    assert ping.every_s == research()["cexio"]["profile"]["liveness"][0]["idle_s"]
    assert ping.idle_s is None
