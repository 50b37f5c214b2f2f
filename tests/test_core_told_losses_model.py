"""The ledger of loss beside a model that keeps every missing number by itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from heartline.core.gaps import MOST_OPEN, MOST_OUTAGES, Closed, Ledger
from heartline.core.items import Gap
from heartline.core.sequence import (
    Anomaly,
    Disorder,
    Duplicate,
    Missing,
    Reset,
    Unreadable,
)

NUMBERS = range(-1, 40)


@dataclass
class Lost:
    """A gap that is open; `left` are the numbers of it that are still missing."""

    gap: Gap
    key: object
    left: set[int] = field(default_factory=set)
    covered: bool = False

    @property
    def filled(self) -> bool:
        return self.gap.first is not None and not self.left


@dataclass
class Books:
    """What the model knows of one account."""

    channel: str | None
    lost: list[Lost] = field(default_factory=list)
    received: int = 0
    duplicated: int = 0
    disordered: int = 0
    unplaced: int = 0
    missing: int = 0
    recovered: int = 0
    unknown: int = 0
    gaps: int = 0
    whole_at: float | None = None

    def open(self, gap: Gap, key: object) -> None:
        self.gaps += 1
        numbers = set[int]()
        if gap.first is not None and gap.last is not None:
            numbers = {*range(gap.first, gap.last + 1)}
        self.lost.append(Lost(gap, key, numbers))
        if len(self.lost) > MOST_OPEN:
            one, other, *rest = self.lost
            counts = [each.gap.missing for each in (one, other)]
            known = [count for count in counts if count is not None]
            merged = Gap(
                one.gap.reason,
                one.gap.from_at,
                other.gap.until_at,
                one.gap.epoch,
                self.channel,
                missing=sum(known) if len(known) == 2 else None,
            )
            key = one.key if one.key == other.key else None
            self.lost = [Lost(merged, key), *rest]

    def lose(self, gap: Gap, key: object) -> list[Any]:
        self.missing += gap.missing or 0
        self.unknown += gap.missing is None
        self.open(gap, key)
        return [gap]

    def fill(
        self, key: object, first: int, last: int, by: Any, now: float
    ) -> tuple[int, list[Any]]:
        closed: list[Any] = []
        total = 0
        for one in [each for each in self.lost if each.key == key]:
            came = {n for n in one.left if first <= n <= last}
            one.left -= came
            total += len(came)
            if one.gap.missing is not None:
                self.missing -= len(came)
                self.recovered += len(came) if by == "replay" else 0
            elif came and one.filled and by == "late" and not one.covered:
                self.unknown -= 1
            if came and one.filled:
                closed.append(Closed(one.gap, by, now))
        self.lost = [each for each in self.lost if not each.filled]
        return total, closed

    def note(self, odd: Anomaly, from_at: float, now: float, epoch: int) -> list[Any]:
        gap = Gap("sequence", from_at, now, epoch, self.channel)
        if isinstance(odd, Missing):
            numbers = {"first": odd.first, "last": odd.last, "missing": odd.count}
            return self.lose(replace(gap, **numbers), odd.key)
        if isinstance(odd, Reset):
            return [] if odd.proven else self.lose(gap, odd.key)
        if isinstance(odd, Duplicate):
            self.duplicated += 1
        if isinstance(odd, Disorder):
            filled, closed = self.fill(odd.key, odd.first, odd.last, "late", now)
            self.disordered += 1
            self.unplaced += not filled and not odd.ahead
            return closed
        return []

    def whole(self, number: int | None, key: object, now: float) -> list[Any]:
        self.whole_at = now
        closed = list[Any]()
        for one in list(self.lost):
            last = one.gap.last
            if key is not None and one.key != key:
                continue
            if last is None:
                over = now >= one.gap.until_at
            elif number is None:
                over = False
            else:
                covered = {n for n in one.left if n <= number}
                one.left -= covered
                one.covered |= bool(covered)
                over = number >= last or one.filled
            if over:
                closed.append(Closed(one.gap, "snapshot", now))
                self.lost.remove(one)
        return closed


class Both:
    def __init__(self, dice: random.Random, *, loses: bool, counts: bool) -> None:
        """`loses`: hardly anything of what is lost comes late or is made good.
        `counts`: all that is lost is counted, under one key."""
        self.dice, self.now = dice, 1.0
        self.loses, self.counts = loses, counts
        self.ledger = Ledger()
        self.books: dict[str | None, Books] = {}
        self.outages: list[Gap] = []
        self.lost_link: tuple[int, float] | None = None
        self.overflowed = [0, 0]
        self.closed = [0, 0]
        """Gaps and missing messages of accounts that are closed."""

    def of(self, channel: str | None) -> Books:
        self.ledger.account(channel)
        return self.books.setdefault(channel, Books(channel))

    def number(self, channel: str | None) -> int:
        """Any number, but more often one that is missing."""
        missing = [n for lost in self.of(channel).lost for n in lost.left]
        return self.dice.choice(missing or NUMBERS if self.often() else NUMBERS)

    def often(self) -> bool:
        return self.dice.random() < 0.8

    def anomaly(self, channel: str | None) -> Anomaly:
        dice, key = self.dice, self.dice.choice("kl")
        first = self.number(channel)
        last = first + dice.randrange(4)
        late = 0 if self.loses else 8
        if self.counts:
            return Missing("k", first, last, last - first + 1)
        return dice.choice(
            (
                Missing(key, first, last, last - first + 1),
                Missing(key, first, last, None),
                Missing(key, None, None, None),
                Reset(key, 9, 1, dice.random() < 0.5),
                Duplicate(key, first, last),
                *[Disorder(key, first, last, 1, dice.random() < 0.3)] * late,
                Unreadable(key, "cur", "str"),
            )
        )

    def remember(self, gap: Gap) -> None:
        self.outages.append(gap)
        if len(self.outages) > MOST_OUTAGES:
            one, other, *rest = self.outages
            merged = Gap(one.reason, one.from_at, other.until_at, one.epoch)
            self.outages = [merged, *rest]

    def outages_of(self, channel: str) -> list[Gap]:
        books = self.books.get(channel)
        whole_at = None if books is None else books.whole_at
        return [
            each
            for each in self.outages
            if whole_at is None or whole_at < each.until_at
        ]

    def act(self) -> tuple[list[Any], list[Any]]:
        dice, now, ledger = self.dice, self.now, self.ledger
        channel = dice.choice(("a", "a", "b", None))
        chance = dice.random()
        if self.loses:
            chance = dice.choice((*[0.1] * 12, *[0.9] * 4, 0.7))
        if chance < 0.5:
            odd, epoch, from_at = (
                self.anomaly(channel),
                dice.randrange(3),
                now - dice.random(),
            )
            told = self.of(channel).note(odd, from_at, now, epoch)
            self.of(channel).received += 1
            ledger.account(channel).received += 1
            if channel is None:
                for entry in told:
                    if isinstance(entry, Gap):
                        self.remember(entry)
                    else:
                        kept = [gap for gap in self.outages if gap is not entry.gap]
                        self.outages = kept
            named = {"from_at": from_at, "now": now, "epoch": epoch}
            return ledger.note(channel, odd, **named), told
        if chance < 0.6:
            first = self.number(channel)
            _, told = self.of(channel).fill("k", first, first + 3, "replay", now)
            return ledger.replayed(channel, "k", first, first + 3, now=now), told
        if chance < 0.75:
            name, key = channel or "b", dice.choice((None, "k", "l"))
            numbered = not self.loses and self.often()
            number = self.number(name) if numbered else None
            told = [Closed(gap, "snapshot", now) for gap in self.outages_of(name)]
            told += self.of(name).whole(number, key, now)
            return ledger.whole(name, number, key=key, now=now), told
        if chance < 0.8:
            gap = Gap("checksum", now - 1.0, now, 1, "a")
            self.of("a").lose(gap, None)
            return [ledger.doubt(gap)], [None]
        if chance < 0.85:
            # It came, and was dropped: it counts as received.
            gap = Gap("overflow", now - 1.0, now, 1, "a", 3, 5, 3)
            self.of("a").open(gap, None)
            return [ledger.void(gap)], [None]
        return self.of_links()

    def of_links(self) -> tuple[list[Any], list[Any]]:
        dice, now, ledger = self.dice, self.now, self.ledger
        match dice.choice(("lose", "regain", "regain", "overflow", "close")):
            case "lose":
                epoch, heard_at = dice.randrange(9), now - dice.random()
                ledger.lose_link(epoch, heard_at=heard_at)
                self.lost_link = self.lost_link or (epoch, heard_at)
            case "regain":
                told = ledger.regain_link(now=now)
                if self.lost_link is None:
                    return [told], [None]
                epoch, heard_at = self.lost_link
                gap = Gap("outage", heard_at, now, epoch)
                self.lost_link = None
                self.overflowed[0] += 1
                self.remember(gap)
                return [told], [gap]
            case "overflow":
                ledger.overflow(7, gaps=2)
                self.overflowed[0] += 2
                self.overflowed[1] += 7
            case _:
                gone = self.books.pop("b", None)
                account = ledger.close_account("b")
                assert (account is None) is (gone is None)
                if gone is not None:
                    self.closed[0] += gone.gaps
                    self.closed[1] += gone.missing
        return [], []

    def agree(self) -> None:
        ledger = self.ledger
        assert ledger.account(None) is ledger.account(None, rule=0)
        self.books.setdefault(None, Books(None))
        assert {each.channel for each in ledger.accounts} == {*self.books}
        for account in ledger.accounts:
            books = self.books[account.channel]
            assert account.open == [each.gap for each in books.lost]
            came = books.received - books.duplicated - books.unplaced
            sent = came + books.missing + books.recovered
            assert account.sent == (None if books.unknown else sent)
            for name in (
                *(
                    "received",
                    "duplicated",
                    "disordered",
                    "unplaced",
                    "missing",
                    "recovered",
                ),
                *("unknown", "gaps", "whole_at"),
            ):
                assert getattr(account, name) == getattr(books, name), name
        for name in ("a", "b", "never heard of"):
            gaps = self.books.get(name, Books(name)).lost
            expected = self.outages_of(name) + [each.gap for each in gaps]
            assert ledger.open_gaps(name) == expected
        all_books = self.books.values()
        gaps_told = sum(each.gaps for each in all_books)
        assert ledger.gaps == gaps_told + self.closed[0] + self.overflowed[0]
        missing = sum(each.missing for each in all_books)
        assert ledger.missing == missing + self.closed[1] + self.overflowed[1]


@pytest.mark.parametrize("seed", range(50))
def test_what_the_ledger_says_is_what_every_number_by_itself_says(seed: int) -> None:
    loses = seed % 5 == 0
    both = Both(random.Random(seed), loses=loses, counts=seed % 10 == 0)
    for _ in range(600 if loses else 60):
        both.now += both.dice.choice((0.0, 0.5))
        told, expected = both.act()
        assert told == expected
        both.agree()
