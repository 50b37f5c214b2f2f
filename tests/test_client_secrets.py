"""What a link was dialled with and said on open stays masked while it lives."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import heartline
from heartline.client import attempts
from heartline.client.attempts import AttemptOwner, Attempts
from heartline.client.route import Route
from heartline.client.said import LONGEST_SAID, MOST_SAID, Said
from heartline.core.events import Fact, Lost
from heartline.core.items import Cause
from heartline.core.terms import Terms
from heartline.errors import WireError
from heartline.observe import redact_text
from stream_kit import in_loop, watching

KEY = "AKIA-live-key-77"


class Owner:
    """Has one link that lives, of epoch 1."""

    def __init__(self) -> None:
        self.sent = 0
        self.carriers = {1: SimpleNamespace(send=lambda message: None)}
        self.session = SimpleNamespace(recovery=SimpleNamespace(silent_since=None))
        self.facts: list[Fact] = []

    def on_fact(self, fact: Fact) -> None:
        self.facts.append(fact)

    def abandon(self, epoch: int) -> None:
        raise AssertionError(epoch)


def test_a_dial_beside_a_living_link_forgets_none_of_its_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = iter(("first-token-4711", "second-token-4712", "third-token-4713"))

    async def target() -> tuple[Any, dict[str, object]]:
        url = f"wss://venue.example/ws?token={next(tokens)}"
        return SimpleNamespace(url=url, headers={}, proxy=None), {}

    async def opening() -> list[str]:
        return [json.dumps({"op": "login", "apiKey": KEY})]

    async def refused(*args: object, **options: object) -> None:
        raise WireError(Cause.REFUSED, "HTTP 503")

    monkeypatch.setattr(attempts, "dial", refused)
    route = SimpleNamespace(
        target=target,
        opening=opening,
        venue=None,
        resumes=None,
        restore=(),
        max_message_bytes=1 << 20,
        outbox_limit_bytes=1 << 20,
        resolver=None,
    )
    owner = Owner()
    of = Attempts(
        cast(Route, route),
        Terms(host="v"),
        cast(AttemptOwner, owner),
        fast=lambda: None,
    )

    async def lives() -> None:
        await of.dial(1)
        await of.sync(1)
        await of.dial(2)
        await of.dial(3)

    asyncio.run(lives())
    said = f"kicked: {KEY} first-token-4711 third-token-4713 replaced"
    assert redact_text(said, of.secrets) == "kicked: *** *** *** replaced"
    assert "second-token-4712" not in of.secrets
    owner.carriers.clear()
    asyncio.run(of.sync(4))
    assert "first-token-4711" not in of.secrets


@in_loop
async def test_what_was_sent_to_log_in_is_masked_in_what_the_peer_says(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def refuser(client: heartline.Client) -> None:
        async for message in client:
            client.close(4001, f"no such key: {json.loads(message.data)['apiKey']}")

    journal = tmp_path / "journal"
    patient = heartline.Backoff(base=30.0, cap=30.0)
    async with (
        heartline.serve(refuser) as server,
        watching(server.url, journal=journal, backoff=patient) as w,
    ):
        await w.live()
        w.stream.send(json.dumps({"op": "login", "apiKey": KEY}))
        lost = await w.told(Lost)
    assert (lost.status, lost.reason) == (4001, "no such key: ***")
    assert "no such key" in caplog.text
    assert "no such key" in journal.read_text()
    assert KEY not in caplog.text + journal.read_text()


def test_a_login_is_known_however_much_is_sent_after_it_and_memory_is_bounded() -> None:
    def login(number: int) -> str:
        return json.dumps({"token": f"secret-{number}"})

    said, most = Said(), 10 * MOST_SAID
    assert said.secrets == frozenset()
    for number in range(most):
        said.note(1, login(number))
    said.note(1, login(most).ljust(LONGEST_SAID + 1))
    assert len(said.secrets) == 2 * MOST_SAID
    assert {"secret-0", f"secret-{most - 1}"} <= said.secrets
    said.note(2, login(-1).encode())
    assert "secret--1" in said.secrets
    assert "secret-0" not in said.secrets


def test_a_token_is_known_that_a_long_request_for_channels_carries() -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmcxMjMifQ.c2lnbmF0dXJl"
    names = [f"COIN{number}-USD" for number in range(3000)]
    said = Said()
    said.note(1, json.dumps({"type": "subscribe", "products": names, "jwt": token}))
    assert token in said.secrets
    assert names[0] not in said.secrets
