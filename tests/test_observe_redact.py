"""No secret comes through; what a reader needs stays."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heartline.observe import redact_text, redact_url, secrets_of, secrets_said

TOKEN = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"
PLAIN = "wss://h.test:9443/ws?k=&a="
"""Whatever of a secret is found in here was not leaked by us."""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://h.test/ws/btcusdt@trade", "wss://h.test/ws/btcusdt@trade"),
        ("wss://u:p@h.test:9443/ws", "wss://***@h.test:9443/ws"),
        ("wss://h.test/?apiKey=abc&depth=5", "wss://h.test/?apiKey=***&depth=***"),
        ("wss://h.test/?abcdef", "wss://h.test/?***"),
        ("wss://h.test/?", "wss://h.test/?"),
        ("wss://h.test/a#abcdef", "wss://h.test/a#***"),
        (f"wss://h.test/ws/{TOKEN}", "wss://h.test/ws/***"),
        (f"wss://h.test/ws/{TOKEN}/raw", "wss://h.test/ws/***/raw"),
        ("wss://h.test/ws;session=abc", "wss://h.test/***"),
        (f"wss://h.test/?{TOKEN}=1", "wss://h.test/?***=***"),
        ("ws://[::1]:8080/feed", "ws://[::1]:8080/feed"),
        ("socks5h://u:p@127.0.0.1:1080", "socks5h://***@127.0.0.1:1080"),
        ("u:p@proxy.test:3128", "***@proxy.test:3128"),
        ("//u:p@proxy.test", "***@proxy.test"),
        ("http:/u:p@proxy.test", "http:/***"),
        ("wss://u:pa#ss@h.test/", "wss://***#***"),
        ("deribit", "deribit"),
        ("", ""),
    ],
)
def test_a_url_shows_where_it_leads_and_not_what_it_proves(
    url: str, shown: str
) -> None:
    assert redact_url(url) == shown


@given(st.text())
def test_redacting_a_url_never_raises_and_twice_is_once(url: str) -> None:
    once = redact_url(url)
    assert redact_url(once) == once


secrets = st.text(min_size=4, max_size=80)
written = st.sampled_from([str, lambda s: quote(s, safe=""), quote_plus])


@given(secret=secrets, spelled=written, place=st.integers(0, 4))
def test_no_secret_survives_in_a_url(secret: str, spelled: object, place: int) -> None:
    part = spelled(secret)  # type: ignore[operator]
    # RFC 3986 ends userinfo and query there; what follows is no secret part any more.
    ends = "/?#" if place < 2 else "#&" if place < 4 else ""
    assume(not set(part) & set(ends))
    # Part of a longer user name, a mere `@` would move the border.
    assume(secret not in PLAIN and part not in PLAIN)
    url = (
        f"wss://{part}@h.test:9443/ws",
        f"wss://user:{part}@h.test:9443/ws",
        f"wss://h.test:9443/ws?k={part}",
        f"wss://h.test:9443/ws?a=1&k={part}&a=2",
        f"wss://h.test:9443/ws?a=1#{part}",
    )[place]
    shown = redact_url(url)
    assert part not in shown or part in "***"
    assert secret not in shown or secret in "wss://***@h.test:9443/ws?a=***&k=***#***"


@given(st.text("0123456789abcdefABCDEFxyzXYZ_-", min_size=20, max_size=90))
def test_a_path_segment_like_a_token_is_masked(token: str) -> None:
    assert redact_url(f"wss://h.test/stream/{token}") == "wss://h.test/stream/***"
    assert redact_url(f"wss://h.test/{quote(token, safe='')}/x") == "wss://h.test/***/x"


def echoes(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        base64.b64encode(raw).decode(),
        secret.upper() if secret.isascii() else secret,
    ]


@given(
    secret=secrets,
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    form=st.integers(0, 6),
)
def test_no_echoed_secret_survives_in_text(
    secret: str, before: str, after: str, form: int
) -> None:
    echo = echoes(secret)[form]
    shown = redact_text(before + echo + after, [secret])
    assert secret not in shown
    if len(echo) >= 4:
        assert echo not in shown


@pytest.mark.parametrize("form", range(7))
def test_every_spelling_of_an_echo_is_masked(form: int) -> None:
    secret = 'p w/~?"é>>\n~~?'
    echo = echoes(secret + "a")[form]
    assert redact_text(f"bad key [{echo}]", [secret + "a"]) == "bad key [***]"


def test_what_is_left_of_an_overlap_is_masked() -> None:
    assert redact_text("[ababab]", ["abab"]) == "[***]"
    assert redact_text("[abcdef]", ["abcd", "cdef"]) == "[***]"


def test_what_masking_joins_is_masked_again() -> None:
    assert redact_text("[*abcd]", ["abcd", "****"]) == "[***]"


@given(st.lists(secrets, max_size=4), st.text("ab*", max_size=40))
def test_no_secret_survives_the_masking_of_another(
    hidden: list[str], text: str
) -> None:
    everything = text + "".join(hidden) + text
    shown = redact_text(everything, hidden)
    assert not [secret for secret in hidden if secret in shown]


@given(secret=secrets, cookie=secrets)
def test_every_secret_of_an_attempt_is_collected(secret: str, cookie: str) -> None:
    part = quote(secret, safe="")
    url = f"wss://user:{part}@h.test/ws?key={part}#{part}"
    headers = {"Authorization": f"Bearer {secret}", "Cookie": cookie}
    proxy = f"http://{quote(cookie, safe='')}:x@proxy.test:3128"
    found = secrets_of(url, headers, proxy)
    reason = f"401 bad key {secret}, cookie {cookie}, url {url}, proxy {proxy}"
    shown = redact_text(reason, found)
    for hidden in (secret, cookie):
        # What is inside the harmless words of the sentence itself proves nothing.
        rest = "401 bad key ***, cookie ***, url wss://user:***@h.test/ws?key=***#***"
        assert hidden not in shown or hidden in rest + ", proxy http://***:x@proxy.test"


def test_basic_credentials_are_found_decoded_and_encoded() -> None:
    encoded = base64.b64encode(b"trader:hunter2!").decode()
    found = secrets_of("wss://h.test", {"Authorization": f"Basic {encoded}"})
    shown = redact_text(f"bad login trader / hunter2! ({encoded})", found)
    assert shown == "bad login *** / *** (***)"


def test_proxy_userinfo_is_found_as_the_header_it_becomes() -> None:
    found = secrets_of("wss://h.test", None, "http://trader:hunter2!@proxy.test:3128")
    encoded = base64.b64encode(b"trader:hunter2!").decode()
    assert encoded not in redact_text(f"407 for Basic {encoded}", found)


def test_a_secret_cut_short_by_the_peer_is_masked_too() -> None:
    assert redact_text(f"unknown key {TOKEN[:11]}", [TOKEN]) == "unknown key ***"
    assert redact_text(f"key {TOKEN[:8]}...{TOKEN[-8:]}", [TOKEN]) == "key ***...***"


def test_plain_reasons_stay_as_they_are() -> None:
    found = secrets_of("wss://h.test/ws?n=1", {"Origin": "https://www.h.test"})
    reason = "getaddrinfo failed for https://docs.h.test after 1 try"
    assert redact_text(reason, found) == reason
    assert redact_text(reason, ()) == reason


def test_a_single_string_is_one_secret_and_not_its_letters() -> None:
    assert redact_text("token abcdef!", "abcdef!") == "token ***"


def test_lone_surrogates_neither_raise_nor_survive() -> None:
    secret = "key\udcff9"
    assert secret not in redact_text(f"bad {secret}", [secret])
    assert secret not in redact_url(f"wss://{secret}@h.test")


def test_a_long_text_costs_no_more_than_its_length() -> None:
    text, hidden = "spam " * 20_000, [TOKEN * 8 for _ in range(4)]
    started = time.process_time()
    assert redact_text(text, hidden) == text
    assert time.process_time() - started < 2.0  # 0.05 s measured; n * m takes minutes


@given(
    secret=st.text("aBcXyZ019+/=-_!", min_size=4, max_size=40),
    key=st.sampled_from(["apiKey", "api_key", "sign", "passphrase", "listenKey"]),
    depth=st.integers(0, 4),
    as_bytes=st.booleans(),
)
def test_what_a_login_says_is_found_at_any_depth(
    secret: str, key: str, depth: int, as_bytes: bool
) -> None:
    said: object = {"op": "login", "args": [{key: secret, "n": 1}]}
    for _ in range(depth):
        said = {"params": [said]}
    text = json.dumps(said)
    found = secrets_said([text.encode() if as_bytes else text])
    assert secret in found
    assert secret not in redact_text(f"<{secret}>", found)


def test_an_unnamed_token_of_a_login_is_found_and_what_it_asks_for_is_not() -> None:
    token = "XEFi5Bq7pT0yW1zK9aLm"
    said = [
        json.dumps({"op": "auth", "args": [token, 1700000000000]}),
        '{"op": "subscribe", "args": ["book.BTC-PERPETUAL.100ms", "tickers.BTCUSDT"]}',
        "CONNECT",
        '{"not": json',
        "[" * 100_000,
    ]
    assert secrets_said(said) == {token}


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ('{"op":"auth","auth":{"user":"bob7","code":"s3cretpw1"}}', "s3cretpw1"),
        ('{"api_key":{"id":"k-4711-x"}}', "k-4711-x"),
        ('{"op":"login","passphrase":12345678}', "12345678"),
        ("AUTH hunter2hunter", "hunter2hunter"),
        ({"session": "XEFi5Bq7pT0yW1zK9aLm"}, "XEFi5Bq7pT0yW1zK9aLm"),
    ],
)
def test_a_secret_is_found_below_its_name_as_a_number_and_in_plain_text(
    said: object, secret: str
) -> None:
    assert secret in secrets_said(said)
    assert secret in secrets_said([said])


def test_names_of_instruments_that_look_like_tokens_are_no_secrets() -> None:
    """Else the reason of a venue that knows no such channel would be masked."""
    names = [f"BTC-USD-2412{day:02d}-{10_000 + day}-C" for day in range(1, 31)]
    args = [{"channel": "tickers", "instId": name} for name in names]
    said = json.dumps({"op": "subscribe", "args": args})
    login = json.dumps({"op": "login", "args": [{"apiKey": "AKIA-live-key-77"}]})
    assert secrets_said([login, said]) == {"AKIA-live-key-77"}
