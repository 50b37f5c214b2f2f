"""A text or JSON heartbeat on a plain URL: what to send, how often, what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from heartline.core.demands import demand_declared, demand_prompt
from heartline.core.subscriptions import Beats
from heartline.errors import UsageError

Answer: TypeAlias = str | bytes | Mapping[str, Any] | Callable[[str | bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """An application heartbeat, for venues that do not count RFC 6455 pings.

    `send`: the message, or a callable that makes it anew each time. `every`: seconds
    between two, whatever else flows. `answer`: what the venue says to it: the exact
    message, a mapping that its JSON object must contain, or a predicate; None if the
    venue does not answer. An answer that stays out for `Liveness.peer_max` while no
    data comes is PEER_FROZEN; beside data it is the condition NO_PONG. Answers are
    signs of life of the link, not data: they are counted and kept from the consumer.
    """

    send: str | bytes | Callable[[], str | bytes]
    every: float = 20.0
    answer: Answer | None = None

    def __post_init__(self) -> None:
        demand_declared(self)
        Beats(every=self.every, answered=self.answer is not None)
        demand_prompt("Heartbeat.send", self.send)
        demand_prompt("Heartbeat.answer", self.answer)
        made = callable(self.send)
        if not made and not isinstance(self.send, str | bytes):
            raise UsageError(
                "Heartbeat.send", wanted="str, bytes or a callable", got=self.send
            )
        answer: object = self.answer
        if answer == {}:
            # It would take all JSON for answers, and keep the data from the consumer.
            wanted = "a mapping with at least one key"
            raise UsageError("Heartbeat.answer", wanted=wanted, got=answer)

    @property
    def beats(self) -> Beats:
        return Beats(every=self.every, answered=self.answer is not None)

    def words(self) -> str | bytes:
        send = self.send
        return send if isinstance(send, str | bytes) else send()

    def recogniser(self) -> Callable[[str | bytes], bool] | None:
        """A predicate for answers; None where none are declared."""
        answer = self.answer
        if answer is None:
            return None
        if isinstance(answer, str | bytes):
            exact = answer
            return lambda data: data == exact
        if isinstance(answer, Mapping):
            return _contains(answer)  # pyright: ignore[reportUnknownArgumentType]
        return answer


def _contains(wanted: Mapping[str, Any]) -> Callable[[str | bytes], bool]:
    # One of the wanted keys must stand in the text at all before it is worth parsing.
    mark = next(iter(wanted))
    mark_bytes = mark.encode()
    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def matches(data: str | bytes) -> bool:
        there = mark_bytes in data if isinstance(data, bytes) else mark in data
        if not there:
            return False
        try:
            found = decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return all(key in found and found[key] == wanted[key] for key in wanted)

    return matches
