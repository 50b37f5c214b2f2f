"""What a link was dialled with and said on open stays masked while it lives."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from heartline.client import attempts
from heartline.client.attempts import AttemptOwner, Attempts
from heartline.client.route import Route
from heartline.core.events import Fact
from heartline.core.items import Cause
from heartline.core.terms import Terms
from heartline.errors import WireError
from heartline.observe import redact_text

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
