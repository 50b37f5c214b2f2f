"""One stream to a simulated venue whose messages are made worse on their way.

The desk, its classifier, its feed and its ledger are the real ones; time is virtual.
What must hold is checked after each link; every third link is left in peace, and must
be as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from heartline.client.contract import Venue
from heartline.client.conversation import Read
from heartline.client.desk import Desk
from heartline.core.events import Connected, Lost
from heartline.core.fetches import Snapshots
from heartline.core.gaps import MOST_OPEN, MOST_OUTAGES, Ledger
from heartline.core.items import Cause, Message
from heartline.core.lines import MOST_STRAYS
from heartline.core.subscribing import Standing
from heartline.core.tracker import MOST_KEYS
from heartline.errors import UsageError, WireError
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Options
from heartline.testing.venue_side import Venue as House
from heartline.testing.venue_side.draft import Draft
from heartline.testing.venue_side.speech import TOLD
from heartline.venue.bootstrap import extracted
from heartline.venue.classify import MOST_PLANS, Classifier, Contract
from heartline.venue.load import load
from heartline.venue.naming import MOST_BOUND
from heartline.venue.payload import Payload
from heartline.venue.reading import Malformed, Update

from .hostile import Data, closed, hostile, hostile_answer
from .jumping import StrictLoop
from .owner import Broken, Owner
from .said import (
    channels_of,
    is_json,
    json_of,
    plain,
    questions_of,
    text_of,
    variables_of,
)

LINKS = 8
"""Links of one life of a stream; every third is left in peace."""
STEPS = 12
PING_EVERY = 3.0
PATIENCE = 40
"""Turns more until all channels of a link in peace have data."""
FLOODS, FLOOD = 0.0005, MOST_STRAYS + 500
"""A link in so many is flooded with data of so many channels that nobody asked for."""
MOST_MALFORMED_IN_PEACE = 0


class World:
    """One stream to one endpoint, through all its links."""

    def __init__(
        self, place: str, dice: random.Random, *, samples: Iterable[Data] = ()
    ) -> None:
        self.place, self.dice = place, dice
        name, _, endpoint = place.partition("/")
        self.loop = StrictLoop()
        self.owner = Owner(self.loop)
        contract = Contract(load(name).endpoint(endpoint))
        self.payload = contract.endpoint.decode.payload
        self.channels = channels_of(contract)
        self.variables = variables_of(contract)
        venue = Venue(
            name=name,
            endpoint=endpoint,
            channels=self.channels,
            variables=self.variables,
            snapshots=dice.choice((None, Snapshots())),
        )
        restored = venue.feed_terms().restored
        self.fetched = [each for each in self.channels if restored(each)]
        """Their messages wait for a state that no call brings rightly here."""
        self.contract = venue.contract
        self.desk = Desk(
            venue,
            self.owner,
            ledger=Ledger(),
            loop=self.loop,
            clock=self.loop.time,
        )
        self.desk._restoring._asked = self._answered  # type: ignore[method-assign]
        self.seen: list[Data] = list(samples)
        self.said: list[Any] = []
        """Control messages of the simulated venue, to be spoiled."""
        self.asked = questions_of(self.contract)
        self.epoch = 0
        self.ping_at = 0.0
        self.messages = self.bad = 0
        self.quick = Classifier(self.contract)
        self.slow = Classifier(self.contract)
        for each in (self.quick, self.slow):
            each.want(self.channels)

    def live(self) -> int:
        """Through all links; how many messages were read."""
        for number in range(LINKS):
            self.link(in_peace=number % 3 == 2)
        return self.messages

    def close(self) -> None:
        self.desk.alarm.stop()
        self.loop.close()

    # --- one link -----------------------------------------------------------------

    def link(self, *, in_peace: bool) -> None:
        owner, desk, loop = self.owner, self.desk, self.loop
        self.epoch += 1
        owner.gave_up = False
        owner.posted.clear()
        owner.told.clear()
        owner.gaps.clear()
        bad_before = desk.feed.malformed
        options = Options(variables=dict(TOLD), seed=self.dice.randrange(10**6))
        self.house = House(self.contract.endpoint, options, now=loop.time())
        self.far = self.house.connect(now=loop.time())
        desk.begin(self.epoch, self._told(in_peace=in_peace))
        greeting = loop.create_task(desk.greet(self.epoch, []))
        try:
            self._open(greeting, in_peace=in_peace)
            for _ in range(STEPS):
                self._turn(in_peace=in_peace)
                if owner.gave_up:
                    break
            for _ in range(PATIENCE if in_peace else 0):
                if not self._dull():
                    break
                self._turn(in_peace=True)
            if not in_peace and self.dice.random() < FLOODS:
                self._flood()
        finally:
            greeting.cancel()
            loop.spend(0)
            owner.rest()
        self._check(bad_before, in_peace=in_peace)
        desk.heed(_lost(self.epoch, loop.time()))

    def _told(self, *, in_peace: bool) -> dict[str, object]:
        """The variables of a link, as an answer before the dial tells them."""
        bootstrap = self.contract.endpoint.bootstrap
        if bootstrap is None or bootstrap.http is None or in_peace:
            return self.variables
        draft = Draft()
        for steps, value in self.house.speech.extracts(bootstrap):
            draft.put(steps, value)
        answer = hostile(json.dumps(draft.document()), self.dice, payload="text")
        try:
            return self.variables | extracted(bootstrap, Payload(answer).document)
        except UsageError:
            return self.variables

    async def _answered(self, url: str) -> bytes:
        """The answer to a call for a state."""
        await asyncio.sleep(self.dice.random())
        if self.dice.random() < 0.2:
            raise WireError(Cause.REFUSED, "HTTP 418", status=418)
        answer = hostile(
            '{"lastUpdateId":7,"id":1,"data":{"sequence":"3"}}',
            self.dice,
            payload="text",
        )
        return answer.encode() if isinstance(answer, str) else answer

    def _open(self, greeting: asyncio.Task[int], *, in_peace: bool) -> None:
        loop = self.loop
        for _ in range(400):
            loop.spend(0.05)
            self._exchange(in_peace=in_peace)
            if greeting.done() or self.owner.gave_up:
                break
        if greeting.done():
            error = greeting.exception()
            if error is not None and (in_peace or not isinstance(error, WireError)):
                raise Broken("it could not be opened") from error
        elif in_peace:
            raise Broken("it was not opened in 20 s")
        self.desk.heed(
            Connected(
                at=loop.time(),
                epoch=self.epoch,
                address="fuzz",
                attempt=1,
                outage=0.0,
                kernel=False,
            )
        )

    def _turn(self, *, in_peace: bool) -> None:
        self.loop.spend(self.dice.choice((0.0, 0.01, 0.1, 1.0, 4.0)))
        self._exchange(in_peace=in_peace)
        for channel in self.channels:
            self.house.burst(channel, 2, now=self.loop.time())
            self._arrive(self._drained(), in_peace=in_peace, channel=channel)

    def _exchange(self, *, in_peace: bool) -> None:
        """What we said goes to the venue, and what it says comes here."""
        posted, self.owner.posted = self.owner.posted, []
        now = self.loop.time()
        for text in posted:
            data = text.encode() if isinstance(text, str) else text
            self.far.receive(Frame(Opcode.TEXT, data), now=now)
        if now >= self.ping_at:
            self.ping_at = now + PING_EVERY
            self.far.receive(Frame(Opcode.PING, b""), now=now)
        self.house.tick(now=now)
        arrived = self._drained()
        if not in_peace:
            documents = map(json_of, arrived)
            self.said += [each for each in documents if isinstance(each, dict | list)]
            del self.said[:-40]
        self._arrive(arrived, in_peace=in_peace)

    def _drained(self) -> list[Data]:
        found: list[Data] = []
        for out in self.far.drain():
            if isinstance(out, Cut):
                self.owner.gave_up = True
            elif out.opcode is Opcode.PING:
                self.far.receive(Frame(Opcode.PONG, out.payload), now=self.loop.time())
            elif out.opcode is Opcode.TEXT:
                found.append(out.payload.decode())
            elif out.opcode is Opcode.BINARY:
                found.append(out.payload)
        return found

    # --- what comes ---------------------------------------------------------------

    def _arrive(
        self, data: list[Data], *, in_peace: bool, channel: str | None = None
    ) -> None:
        if not in_peace:
            self.seen += data[:4]
            data = self._spoiled(data)
        if not data:
            return
        items = self._read(data)
        if not self.fetched:
            self._delivered(data, items)
        if in_peace and channel is not None:
            shown = {i.channel for i in items if isinstance(i, Message)} - {None}
            if not shown <= {channel, *self._also(channel)}:
                raise Broken(f"data of {channel} is told as of {sorted(shown)}")
        if self.dice.random() < 0.25:
            self._alike(data)

    def _read(self, data: list[Data]) -> list[Read]:
        now = self.owner.heard = self.loop.time()
        self.messages += len(data)
        return self.desk.read(self.epoch, data, age=0.0, now=now)

    def _also(self, channel: str) -> Iterator[str]:
        """Names of which messages may be told by another's: they share a key."""
        read = self.contract.names.read
        yield from (c for c in self.channels if read(c).key == read(channel).key)

    def _spoiled(self, data: list[Data]) -> list[Data]:
        dice, out = self.dice, list[Data]()
        for each in data:
            chance = dice.random()
            if chance < 0.15:
                continue
            out.append(each)
            if chance < 0.3:
                out.append(each)
            while dice.random() < 0.5:
                out.append(self._hostile())
        while dice.random() < 0.6:
            out.append(self._hostile())
        return out

    def _hostile(self) -> Data:
        dice = self.dice
        if dice.random() < 0.3 and (said := [*self.said, *self.asked]):
            answer = hostile_answer(dice.choice(said), dice)
            return closed(json.dumps(answer), self.payload)
        if not self.seen:
            return hostile("{}", dice, payload=self.payload)
        return hostile(dice.choice(self.seen), dice, payload=self.payload)

    # --- what must hold -----------------------------------------------------------

    def _delivered(self, data: Sequence[Data], items: Sequence[Read]) -> None:
        """What is shown is what came, in order; only control messages are not."""
        left = iter(data)
        for item in items:
            if isinstance(item, Message) and not any(
                each is item.data for each in left
            ):
                raise Broken("a message is shown that did not come in this order")

    def _alike(self, data: Sequence[Data]) -> None:
        """The quick way and the slow way read the same."""
        for each in data:
            quick, slow = self.quick.read(each), self.slow.decide(each)
            unread = isinstance(slow, Malformed) and isinstance(quick, Update)
            if unread and not is_json(each):
                # What lies in fields of no interest is skipped, and not looked at.
                continue
            if plain(quick) != plain(slow):
                raise Broken(f"read as {plain(quick)} quickly, as {plain(slow)} slowly")
            if isinstance(quick, Malformed) and len(quick.reason) > 200:
                raise Broken(f"a reason of {len(quick.reason)} characters")

    def _check(self, bad_before: int, *, in_peace: bool) -> None:
        owner, feed = self.owner, self.desk.feed
        bad = feed.malformed - bad_before
        self.bad += bad
        told = owner.told["MalformedFound"]
        if told != min(1, bad):
            raise Broken(f"{bad} malformed messages were told {told} times")
        self._bounded()
        if not in_peace:
            return
        if owner.gave_up:
            raise Broken(f"a link in peace was given up: {self.far.cut}")
        if bad > MOST_MALFORMED_IN_PEACE:
            raise Broken(f"{bad} messages in peace are malformed")
        if owner.gaps and not self.fetched:
            raise Broken(f"a gap in peace: {owner.gaps[0]}")
        if dull := self._dull():
            raise Broken(f"not live in peace: {dull[0]} {feed.standing(dull[0])}")

    def _dull(self) -> list[str]:
        standing = self.desk.feed.standing
        asked = (each for each in self.channels if each not in self.fetched)
        return [each for each in asked if standing(each) is not Standing.LIVE]

    def _flood(self) -> None:
        """Data of very many channels, each named only once."""
        for channel in self.channels[:1]:
            self.house.burst(channel, 1, now=self.loop.time())
            parts = self.contract.names.read(channel).parts.values()
            names = [part for part in parts if isinstance(part, str)]
            texts = [text_of(each) for each in self._drained()]
            for text in texts[-1:]:
                for number in range(FLOOD):
                    other = text
                    for name in names:
                        other = other.replace(name, f"{name}{number}")
                    self._read([closed(other, self.payload)])

    def _bounded(self) -> None:
        feed, link = self.desk.feed, self.desk._link
        read = link._classifier
        ledger = feed.ledger
        trackers = [each for each in feed.trackers if each is not None]
        wanted, rules = len(self.channels), len(trackers) + 2
        sizes = {
            "wanted": (len(feed.subscriptions._wanted), wanted),
            "requests": (len(feed.subscriptions._requests), 8),
            "troubles": (len(feed.troubles), wanted),
            "watched": (len(feed.watch._watched), wanted),
            "lines": (len(feed._lines), (MOST_STRAYS + wanted) * rules),
            "requests of a link": (len(link._requests), 2000),
            "accounts": (len(ledger._accounts), MOST_STRAYS + wanted + 1),
            "outages": (len(ledger._outages), MOST_OUTAGES),
            "open gaps": (
                max((len(a.open) for a in ledger.accounts), default=0),
                MOST_OPEN,
            ),
            "keys": (max((len(t) for t in trackers), default=0), MOST_KEYS),
            "plans": (len(read._plans) + len(read._more_plans), MOST_PLANS),
            "bindings": (len(read.book.bound), MOST_BOUND),
        }
        for what, (size, most) in sizes.items():
            if size > most:
                raise Broken(f"{size} {what}, wanted at most {most}")


def _lost(epoch: int, now: float) -> Lost:
    return Lost(
        at=now,
        epoch=epoch,
        cause=Cause.RESET,
        where=None,
        status=None,
        reason="",
        evidence="",
        since_at=now,
        bound=None,
        unsent=0,
        unconfirmed_bytes=0,
    )
