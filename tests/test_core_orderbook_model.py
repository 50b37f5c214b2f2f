"""An order book beside a model that sorts all of its levels for each checksum."""

from __future__ import annotations

import random
from itertools import zip_longest
from zlib import crc32

import pytest

from heartline.core import orderbook as module
from heartline.core.orderbook import Changes, Level, Order, OrderBook, Recipe

MOST = 12


def written(recipe: Recipe, price: str, size: str) -> str:
    if not recipe.digits:
        return price + recipe.between + size
    numbers = [str(int(text.replace(".", "")) or "") for text in (price, size)]
    return recipe.between.join("" if text == "0" else text for text in numbers)


def summed(recipe: Recipe, asks: dict[float, str], bids: dict[float, str]) -> int:
    best_asks = [asks[price] for price in sorted(asks)][: recipe.levels]
    best_bids = [bids[price] for price in sorted(bids, reverse=True)][: recipe.levels]
    if recipe.order is Order.ASKS_BIDS:
        levels = best_asks + best_bids
    else:
        pairs = zip_longest(best_bids, best_asks)
        levels = [level for pair in pairs for level in pair if level is not None]
    found = crc32(recipe.between.join(levels).encode())
    return found - 2**32 if recipe.signed and found >= 2**31 else found


def changed(dice: random.Random, above: float) -> list[Level]:
    """Levels set anew, some of the same price, and some that are gone."""
    levels: list[Level] = []
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        price = f"{above + dice.randrange(8) / 4:.2f}"
        gone = dice.random() < 0.3
        levels.append((price, None if gone else f"0.{dice.randrange(1, 30):03d}"))
    return levels


@pytest.mark.parametrize("seed", range(40))
def test_a_book_has_the_checksum_of_its_sorted_levels(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LEVELS", MOST)
    dice = random.Random(seed)
    recipe = Recipe(
        levels=dice.choice((1, 3, 5)),
        order=dice.choice((Order.ASKS_BIDS, Order.BID_ASK)),
        digits=dice.random() < 0.5,
        between=dice.choice(("", ":")),
        signed=dice.random() < 0.5,
    )
    depth = dice.choice((None, None, 4))
    book = OrderBook(recipe, depth=depth)
    sides: tuple[dict[float, str], dict[float, str]] = ({}, {})
    known = False
    for _ in range(120):
        levels = changed(dice, 0.5), changed(dice, 0.25)
        if seed % 4 == 0:
            # Prices that nobody takes away again: the book outgrows its bound.
            levels[0].append((f"{dice.randrange(400) / 4:.2f}", "1.000"))
        whole = dice.random() < 0.1
        if whole:
            known = True
        if whole or not known:
            sides[0].clear()
            sides[1].clear()
        expected: bool | None = None
        for side, sign, each in zip(sides, (1, -1), levels, strict=True):
            for price, size in each if known else ():
                if size is None:
                    side.pop(float(price), None)
                else:
                    side[float(price)] = written(recipe, price, size)
            ranked = sorted(side, key=lambda price, sign=sign: sign * price)
            for price in ranked[depth:] if depth is not None and each else ():
                del side[price]
            if depth is None and len(side) > MOST:
                known = False
        told = None
        if dice.random() < 0.7:
            told = summed(recipe, *sides) + (dice.random() < 0.2)
            expected = told == summed(recipe, *sides) if known else None
        asks, bids = levels
        assert book.take(Changes(asks, bids, whole, told)) is expected
        assert book.is_known is known
        if known:
            assert book.sum() == summed(recipe, *sides)


def test_a_book_of_one_side_holds_20000_levels_and_is_known_from_a_whole_one_on() -> (
    None
):
    book = OrderBook(Recipe(levels=1, order=Order.ASKS_BIDS))
    asks: list[Level] = [(f"{n}", "1") for n in range(1, 20_001)]
    assert book.take(Changes(asks, [], told=0)) is None
    assert not book.is_known
    assert book.sum() == crc32(b"")
    assert book.take(Changes(asks, [], whole=True, told=crc32(b"11"))) is True
    assert book.take(Changes([("20001", "1")], [], told=crc32(b"11"))) is None
    assert not book.is_known
