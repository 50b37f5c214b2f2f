"""Lost messages that only a checksum or a new link can tell and heal, end to end.

The client side is that of a stream; the venue is the simulator, on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from heartline import Venue
from heartline.core.channel_events import ChannelLive, GapClosed
from heartline.core.events import Connected, Lost
from heartline.core.items import Cause, Gap, Message, Phase
from heartline.core.restoring import Unrestored
from virtual_venue import Client, virtual

PLACES = [
    ("kraken", "spot", "book-10:BTC/USD"),
    ("kraken", "spot", "book-25:BTC/USD"),
    ("kraken", "spot_v1", "book-10:XBT/USD"),
    ("bitfinex", "public", "book-P0-25:tBTCUSD"),
]
SEVERAL = 60
"""Messages, some of which change every level of a made-up book."""


def client(name: str, endpoint: str, channel: str, **more: Any) -> Client:
    return Client(Venue(name=name, endpoint=endpoint, channels=[channel], **more))


def send(one: Client, channel: str, messages: int = SEVERAL) -> None:
    one.house.burst(channel, messages, now=one.loop.time())
    one.settle()


def live(
    work: Callable[[Client, str], Coroutine[Any, Any, None]], place: tuple[str, ...]
) -> None:
    async def run() -> None:
        one = client(*place)
        await one.live_for(10)
        assert one.session.phase is Phase.OPEN
        try:
            await work(one, place[2])
        finally:
            one.stop()

    virtual(run)


def gaps(one: Client) -> list[Gap]:
    return [each for each in one.items if isinstance(each, Gap)]


def proof(one: Client) -> Any:
    (found,) = one.desk.feed.mending.proofs
    return found


@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_books_of_a_venue_that_loses_nothing_all_agree(place: tuple[str, ...]) -> None:
    async def work(one: Client, channel: str) -> None:
        send(one, channel, 400)
        await one.live_for(5)
        assert proof(one).agreed >= 90
        assert proof(one).disagreed == 0
        assert gaps(one) == []
        assert one.desk.feed.troubles == {}
        assert one.desk.feed.malformed == 0

    live(work, place)


@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_a_lost_change_is_a_gap_and_a_proven_snapshot_closes_it(
    place: tuple[str, ...],
) -> None:
    async def work(one: Client, channel: str) -> None:
        send(one, channel)
        agreed_at = one.loop.time()
        await one.live_for(5)
        for _ in range(SEVERAL):
            if not gaps(one):
                one.house.drop(channel, 1)
                send(one, channel, 2)
        (gap,) = gaps(one)
        assert gap.reason == "checksum"
        assert gap.channel == channel
        assert gap.from_at >= agreed_at
        assert gap.until_at == one.loop.time()
        assert (gap.first, gap.last, gap.missing) == (None, None, None)
        # It stands before the message that brought it to light.
        assert isinstance(one.items[one.items.index(gap) + 1], Message)
        assert isinstance(one.desk.feed.troubles[channel], Unrestored)
        assert not one.desk.feed.is_fresh(channel, max_age=60, now=one.loop.time())
        assert one.session.ledger.open_gaps(channel)
        await one.live_for(5)
        send(one, channel)
        assert [each.by for each in one.of(GapClosed)] == ["snapshot"]
        assert one.session.ledger.open_gaps(channel) == []
        assert one.desk.feed.troubles == {}
        assert len(one.of(ChannelLive)) == 2
        assert one.session.epoch == 1
        assert proof(one).disagreed == 1

    live(work, place)


def test_a_snapshot_that_is_wrong_itself_closes_nothing_and_is_asked_for_ever_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(one: Client, channel: str) -> None:
        series = one.house.market.named(channel)
        sums = series.shape.sums
        assert sums is not None
        monkeypatch.setattr(sums, "sum", lambda whole: 1)
        asked = len(one.said)
        send(one, channel, 1)
        await one.live_for(1800)
        said = [each for each in one.said[asked:] if '"subscribe"' in each]
        # Every 30 s on average, once it has waited longest.
        assert 20 <= len(said) <= 90
        assert one.session.epoch == 1
        assert one.of(GapClosed) == []
        assert channel in one.desk.feed.troubles
        monkeypatch.undo()
        await one.live_for(200)
        assert one.desk.feed.troubles == {}
        assert one.session.ledger.open_gaps(channel) == []

    live(work, PLACES[0])


@pytest.mark.parametrize("place", PLACES[:1], ids="-".join)
def test_without_checksums_nothing_is_kept_and_nothing_told(
    place: tuple[str, ...],
) -> None:
    async def run() -> None:
        one = client(*place, checksums=False)
        await one.live_for(10)
        one.house.drop(place[2], 3)
        send(one, place[2], 100)
        await one.live_for(5)
        assert list(one.desk.feed.mending.proofs) == []
        assert gaps(one) == []
        assert len(one.items) == 98
        one.stop()

    virtual(run)


def test_an_outage_ends_for_a_book_with_the_checksum_that_proves_it() -> None:
    async def work(one: Client, channel: str) -> None:
        send(one, channel)
        assert one.link is not None
        one.give_up(1, Cause.RESET, "a test")
        await one.live_for(60)
        assert one.session.epoch == 2
        # The snapshot of this venue has no checksum worth the name before a change.
        send(one, channel)
        assert [each.gap.reason for each in one.of(GapClosed)] == ["outage"]
        assert one.session.ledger.open_gaps(channel) == []

    live(work, PLACES[2])


# --- a new link ---------------------------------------------------------------------

COINBASE = ("coinbase", "advanced", "level2:BTC-USD")


def pass_over(one: Client, numbers: int = 1) -> None:
    """Use up numbers that count over the whole link, as what is lost has."""
    assert one.link is not None
    counts = one.link.service._counts
    for rule in counts:
        counts[rule] += numbers


def test_numbers_of_a_link_that_jump_are_a_gap_and_a_new_link_heals_it() -> None:
    async def work(one: Client, channel: str) -> None:
        send(one, channel, 5)
        pass_over(one, 3)
        send(one, channel, 1)
        (gap,) = gaps(one)
        assert (gap.reason, gap.channel, gap.missing) == ("sequence", None, 3)
        items = len(one.items)
        await one.live_for(30)
        (lost,) = one.of(Lost)
        assert lost.cause is Cause.CLOSED_BY_US
        assert "new link" in lost.reason
        assert len(one.of(Connected)) == 2
        assert one.session.epoch == 2
        # The message that showed it was passed on before the link was given up.
        assert isinstance(one.items[items - 1], Message)
        closed = [each.gap.reason for each in one.of(GapClosed)]
        assert sorted(closed) == ["outage", "sequence"]
        assert {each.gap.channel for each in one.of(GapClosed)} == {channel}
        assert one.session.ledger.open_gaps(channel) == []

    live(work, COINBASE)


@pytest.mark.parametrize("which", ["l2_data", "heartbeats"])
def test_one_lost_message_is_one_gap_though_two_rules_count_it(which: str) -> None:
    """Coinbase numbers all that it sends, and its heartbeats once more."""

    async def run() -> None:
        name, endpoint, channel = COINBASE
        one = Client(
            Venue(name=name, endpoint=endpoint, channels=[channel, "heartbeats"])
        )
        await one.live_for(5)
        assert one.link is not None
        drain, lost = one.link.drain, list[Any]()

        def losing() -> list[Any]:
            out = drain()
            fit = [f for f in out if which.encode() in getattr(f, "payload", b"")]
            lost.extend(fit[: 1 - len(lost)])
            return [each for each in out if each not in lost]

        one.link.drain = losing  # type: ignore[method-assign]
        numbers = one.link.service._counts
        send(one, channel, 3)
        while len(gaps(one)) == 0:
            assert one.loop.time() < 60
            await one.live_for(0.5)
        assert len(lost) == 1
        (gap,) = gaps(one)
        assert (gap.reason, gap.channel, gap.missing) == ("sequence", None, 1)
        ledger = one.session.ledger
        assert (ledger.gaps, ledger.missing) == (1, 1)
        (account,) = [each for each in ledger.accounts if each.channel is None]
        assert account.sent == account.received + 1 == numbers[0] + 1
        one.stop()

    virtual(run)


def test_a_link_that_loses_for_ever_is_not_dialled_for_ever() -> None:
    async def work(one: Client, channel: str) -> None:
        for _ in range(900):
            if one.session.phase is Phase.OPEN and one.link is not None:
                pass_over(one)
                send(one, channel, 1)
            await one.live_for(1)
        assert 4 < one.session.epoch <= 15
        assert len(gaps(one)) > 500
        epoch = one.session.epoch
        # A calm minute, and the next loss is answered at once.
        await one.live_for(700)
        at_rest = one.session.epoch
        assert at_rest <= epoch + 1
        pass_over(one)
        send(one, channel, 1)
        await one.live_for(10)
        assert one.session.epoch == at_rest + 1

    live(work, COINBASE)


def test_every_recovery_of_a_profile_is_one_that_is_done() -> None:
    """No profile asks for what nothing does."""
    from heartline.venue.load import load, names
    from heartline.venue.numbering_terms import numbered

    found = set[str]()
    for name in names():
        for endpoint in load(name).endpoints.values():
            rules = endpoint.sequence.rules if endpoint.sequence else ()
            for rule in rules:
                terms = numbered(rule)
                if terms is None or rule.recover is None:
                    continue
                how = rule.recover.how
                found.add(how)
                assert terms.resubscribe is (how == "resubscribe")
                assert terms.reconnect is (how == "reconnect")
    assert found == {"resubscribe", "rest", "wait", "reconnect"}


@pytest.mark.parametrize("place", PLACES[:1], ids="-".join)
def test_a_message_whose_levels_cannot_be_read_is_malformed_and_proves_itself_later(
    place: tuple[str, ...],
) -> None:
    async def work(one: Client, channel: str) -> None:
        send(one, channel)
        broken = (
            '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",'
            '"asks":[{"price":"?","qty":1}],"bids":[],"checksum":1}]}'
        )
        read = one.desk.read(1, [broken], age=0.0, now=one.loop.time())
        assert [each.data for each in read if isinstance(each, Message)] == [broken]
        assert one.desk.feed.malformed == 1
        agreed = proof(one).agreed
        # The venue's book is as it was: nothing is missing.
        send(one, channel)
        assert proof(one).agreed == agreed + SEVERAL
        assert gaps(one) == []

    live(work, place)
