"""Any venue of a profile as a server, in a process of its own.

Nothing here depends on heartline's client: any client can be held to the contract.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from heartline.errors import UsageError
from heartline.venue.classify import Contract
from heartline.venue.decode import envelope
from heartline.venue.load import load
from heartline.venue.naming import Names
from heartline.venue.profile import Endpoint, Profile

from .capture import read_capture
from .process import ChildProcess
from .venue_side import Account
from .venue_side.recording import recorded
from .venue_side.refusing import Refusing, refusing

_POLL = 0.02


class VenueServer:
    """A venue on 127.0.0.1 that keeps its contract from the other side.

        async with VenueServer("deribit", rate=50.0) as server:
            ...                                     # connect a client to server.url
            await server.mute("book.BTC-PERPETUAL.100ms")
            accounts = await server.accounts()

    It beats and demands, cuts the client that fails at the documented moment,
    acknowledges and refuses, numbers and stamps its messages, and enforces limits, all
    as the profile says. What profiles do not describe is made up: `bids` and `asks`,
    each [price, size] with a size of 0 for a price that is gone (trades: `price`,
    `size`, `side`), beside the number or the symbol. Data in protobuf has what the
    profile describes and nothing made up. Where a close code is not known, it is 1008.

    Numbers belong to the venue and run on whoever listens, in bursts and silences as
    real feeds have them: each channel that was ever asked for in its turn, `rate`
    messages a second together.

    | member                                 | meaning                               |
    |----------------------------------------|---------------------------------------|
    | `url`, `http_url`, `port`, `pid`       | where it is; calls go to the same port |
    | `refuses`                              | its way with channels it has not     |
    | `await accounts()`                     | an `Account` for each channel         |
    | `await counts()`                       | connections, cuts, breaches, by name  |
    | `await until(condition, within=5.0)`   | wait for accounts that satisfy it     |
    | `await written()`                      | messages of channels, by connection   |
    | `await subscribed()`                   | channels of each open link            |
    | `await book(channel)`                  | all that stands in its book           |
    | `await burst(channel, n)`              | n messages now: first and last number |
    | `await set_rate(rate)`                 | messages a second from now on         |
    | `await mute(channel, lasting=False)`   | no data until subscribed anew, or ever |
    | `await unmute(channel)`                | ends it                               |
    | `await drop(channel, n)`               | the next n are numbered, never sent   |
    | `await duplicate(channel, n)`          | the next n are sent twice             |
    | `await swap(channel, n)`               | n pairs are sent in the wrong order   |
    | `await drop_ack(pattern, on=True)`     | such requests go unanswered           |
    | `await mute_answers(on=True)`          | client heartbeats go unanswered       |
    | `await notice(index=0)`                | announce it, by its place in the file |
    | `await cut(code=1006, reason="")`      | end every link                        |
    | `await refuse(status=503)`             | refuse upgrades; None ends it         |
    | `await refuse_calls(status=503)`       | the same for tokens and whole books   |
    | `freeze()`, `thaw()`, `kill()`         | SIGSTOP, SIGCONT, SIGKILL             |
    | `await ended()`                        | returns when its process has ended    |

    Orders raise `ConnectionError` if the process is gone, `TimeoutError` if it is
    frozen, `UsageError` for what cannot be. On exit the process is gone and reaped,
    frozen or not; it dies with this process as well. Start it from the thread that
    runs the loop.
    """

    def __init__(
        self,
        venue: str | Profile,
        endpoint: str | None = None,
        *,
        port: int = 0,
        rate: float = 0.0,
        steady: bool = False,
        seed: int = 7,
        channels: Iterable[str] = (),
        capture: str | PathLike[str] | None = None,
        only: Iterable[str] = (),
        refuse: Iterable[str] = (),
        ignore: Iterable[str] = (),
        dead: Iterable[str] = (),
        variables: Mapping[str, float | str] | None = None,
        clock_offset: float = 0.0,
    ) -> None:
        """`venue`: a name, a file, or a profile; its first endpoint unless named.

        `channels` have messages before anybody asks for them. `steady`: they are all
        equally far apart; else they come in bursts. `capture`: a recording
        to play from the first subscription on, in place of made-up traffic. `only`,
        `refuse`, `ignore`, `dead`: patterns of channels that alone are taken, that are
        refused, never answered, or acknowledged without ever having data; how it
        refuses: `refuses`. `variables`: what a token call or a welcome tells.
        `clock_offset`: seconds the venue's clock is ahead.

        Raises `UsageError`, `VenueError`, and `OSError` over a file.
        """
        profile = load(venue) if isinstance(venue, str) else venue
        self.endpoint: Endpoint = profile.endpoint(endpoint)
        envelope(self.endpoint.decode)  # what it needs must be here
        self._names = Names(self.endpoint.subscribe)
        self._what = f"venue {profile.name}"
        _demand_rate(rate)
        self.refuses: Refusing | None = refusing(self.endpoint)
        self.only = self._demand_only(only)
        self.recorded: list[str] = []
        """Keys of the channels that the recording has data of, the busiest first."""
        if capture is not None:
            self.recorded = self._keys_of(Path(capture), profile.name)
        self._options: dict[str, Any] = {
            "port": port,
            "channels": [self._names.read(name).name for name in channels],
            "capture": None if capture is None else fspath(Path(capture).resolve()),
            "options": {
                "seed": seed,
                "rate": rate,
                "steady": steady,
                "only": self.only,
                "refuse": [*refuse],
                "ignore": [*ignore],
                "dead": [*dead],
                "variables": dict(variables or {}),
                "clock_offset": clock_offset,
            },
        }
        self._child: ChildProcess | None = None

    async def __aenter__(self) -> Self:
        child = ChildProcess("venue_process", what=self._what)
        options = {
            **self._options,
            "endpoint": msgspec.json.encode(self.endpoint).decode(),
            "path": [path for path in sys.path if path],
        }
        ready = await child.start(options)
        self._options["port"] = ready["port"]
        self._child = child
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None:
            self._child.end()

    # --- where it is --------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port; 0 before the start if none was asked for."""
        port: int = self._options["port"]
        return port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def http_url(self) -> str:
        """Where its calls are, for tokens and whole books; paths as in the profile."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._running().pid

    # --- what it knows ------------------------------------------------------------

    async def accounts(self) -> dict[str, Account]:
        """What became of each channel's messages, by its name."""
        told: dict[str, dict[str, int]] = await self._ask("accounts")
        return {name: Account(**account) for name, account in told.items()}

    async def counts(self) -> dict[str, int]:
        """connections, open, cut, refused, tokens; `breach: ...` for each breach."""
        counts: dict[str, int] = await self._ask("counts")
        return counts

    async def subscribed(self) -> list[list[str]]:
        """The channels of each open link, oldest link first."""
        subscribed: list[list[str]] = await self._ask("subscribed")
        return subscribed

    async def written(self) -> list[int]:
        """Messages of channels that each connection was sent, the first one first.

        Snapshots and repetitions count too; it knows of the last 1000 connections.
        """
        written: list[int] = await self._ask("written")
        return written

    async def book(self, channel: str) -> dict[str, list[list[str]]]:
        """`bids` and `asks`: [price, size], the best price first."""
        book: dict[str, list[list[str]]] = await self._ask(
            "book", name=self._of(channel)
        )
        return book

    async def until(
        self, condition: Callable[[dict[str, Account]], bool], *, within: float = 5.0
    ) -> dict[str, Account]:
        """Wait until the accounts satisfy a condition; return them.

        Raises `TimeoutError` with the last accounts in its text.
        """
        deadline = time.monotonic() + within
        while not condition(accounts := await self.accounts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._what}: after {within:g} s still {accounts}")
            await asyncio.sleep(_POLL)
        return accounts

    # --- what it is told ----------------------------------------------------------

    async def burst(self, channel: str, messages: int) -> tuple[int, int]:
        """Number and send so many messages at once.

        Returns the numbers of the first and the last, of a range its end.
        """
        name = self._of(channel)
        first, last = await self._ask("burst", name=name, messages=_some(messages))
        return first, last

    async def set_rate(self, rate: float) -> None:
        """Messages a second from now on, 0 for none; under 500."""
        _demand_rate(rate)
        await self._ask("rate", rate=rate)

    async def mute(self, channel: str, *, lasting: bool = False) -> None:
        """Send no more data of it; subscribing anew brings it back unless `lasting`."""
        await self._ask("mute", name=self._of(channel), lasting=lasting)

    async def unmute(self, channel: str) -> None:
        await self._ask("unmute", name=self._of(channel))

    async def drop(self, channel: str, messages: int) -> None:
        await self._ask("drop", name=self._of(channel), messages=_some(messages))

    async def duplicate(self, channel: str, messages: int) -> None:
        await self._ask("duplicate", name=self._of(channel), messages=_some(messages))

    async def swap(self, channel: str, pairs: int) -> None:
        await self._ask("swap", name=self._of(channel), pairs=_some(pairs))

    async def drop_ack(self, pattern: str, *, on: bool = True) -> None:
        """Leave requests for channels of this pattern unanswered, and take none."""
        await self._ask("drop_ack", pattern=pattern, on=on)

    async def mute_answers(self, *, on: bool = True) -> None:
        await self._ask("mute_answers", on=on)

    async def notice(self, index: int = 0) -> int:
        """Announce `lifetime.notices[index]` to all links; return their number."""
        lifetime = self.endpoint.lifetime
        known = len(lifetime.notices) if lifetime else 0
        if not 0 <= index < known:
            wanted = f"a place below {known}, as many notices as the profile has"
            raise UsageError("notice", wanted=wanted, got=index)
        links: int = await self._ask("notice", index=index)
        return links

    async def cut(self, code: int = 1006, reason: str = "") -> None:
        """End every link; 1006 without a close frame."""
        await self._ask("cut", code=code, reason=reason)

    async def refuse(self, status: int | None = 503) -> None:
        """Refuse upgrades with this HTTP status; None takes them again."""
        await self._ask("refuse", status=status)

    async def refuse_calls(self, status: int | None = 503) -> None:
        """Refuse the calls beside the socket; None takes them again."""
        await self._ask("refuse_calls", status=status)

    def freeze(self) -> None:
        """SIGSTOP: its kernel acknowledges still, nothing else happens."""
        self._running().freeze()

    def thaw(self) -> None:
        """SIGCONT: it goes on, and sends at once what fell due meanwhile."""
        self._running().thaw()

    def kill(self) -> None:
        """SIGKILL: the kernel ends its connections; dialling is refused."""
        self._running().kill()

    async def ended(self) -> None:
        """Return as soon as its process has ended; a frozen one has not."""
        await self._running().ended()

    async def _ask(self, order: str, **options: object) -> Any:
        return await self._running().ask(order, options)

    def _demand_only(self, only: Iterable[str]) -> tuple[str, ...]:
        if isinstance(only, str):
            raise UsageError("only", wanted="a sequence of names", got="one text")
        patterns = tuple(only)
        for each in patterns:
            if not any(sign in each for sign in "*?["):
                self._names.read(each)
        if patterns and self.refuses is None:
            wanted = f"none: {self._what} does not say how it refuses a channel"
            raise UsageError("only", wanted=wanted, got=", ".join(patterns))
        return patterns

    def _keys_of(self, capture: Path, venue: str) -> list[str]:
        tape = recorded(read_capture(capture), Contract(self.endpoint))
        if not tape.frames:
            wanted = f"a recording of {venue}'s data"
            raise UsageError(capture.name, wanted=wanted, got="none of it")
        return tape.keys

    def _of(self, channel: str) -> str:
        """The name, if the profile has a form for it; else UsageError."""
        return self._names.read(channel).name

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise UsageError("VenueServer", wanted="`async with`", got="no start")
        return self._child


def _demand_rate(rate: float) -> None:
    if not 0 <= rate < 500:
        raise UsageError("rate", wanted="0 or more, and less than 500", got=rate)


def _some(messages: int) -> int:
    if messages < 1:
        raise UsageError("messages", wanted="at least 1", got=messages)
    return messages
