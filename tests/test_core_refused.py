"""A channel that a venue refused for good: its silence is no news."""

from __future__ import annotations

from heartline.core.channel_events import Subscribe, SubscriptionFailed
from heartline.core.contracts import Freshness
from heartline.core.events import ChannelStalled
from heartline.core.feed import Feed, FeedOutput, FeedTerms
from heartline.core.gaps import Ledger
from heartline.core.subscribing import Standing

EVERY = 30.0


class Asking:
    """A feed whose channel `bad` is refused as often as it is asked for."""

    def __init__(self) -> None:
        terms = FeedTerms(contract=lambda _: Freshness(every=EVERY, redial=False))
        self.feed = Feed(terms, ledger=Ledger(), now=0.0)
        self.told: list[FeedOutput] = []
        self.asked = 0
        self.hear(self.feed.want(["good", "bad"], now=0.0), 0.0)
        self.begin(1, 0.0)

    def begin(self, epoch: int, now: float) -> None:
        self.hear(self.feed.begin(epoch, now=now), now)
        self.hear(self.feed.open(now=now), now)

    def hear(self, out: list[FeedOutput], now: float) -> None:
        for each in out:
            self.told.append(each)
            if not isinstance(each, Subscribe):
                continue
            number, feed = each.request, self.feed
            if "good" in each.channels:
                self.hear(feed.acked(number, ["good"], of="subscribe", now=now), now)
            if "bad" in each.channels:
                self.asked += 1
                self.hear(feed.refused(number, ["bad"], reason="no", now=now), now)

    def live(self, since: float, until: float) -> None:
        """Time passes; the other channel brings data once a second."""
        for now in range(int(since), int(until)):
            line = self.feed.line("good", None, now=now)
            self.feed.take(line, "good", None, None, None, False, float(now))
            while self.feed.deadline <= now:
                self.hear(self.feed.tick(proven_at=now, now=float(now)), float(now))

    def of(self, kind: type[object]) -> list[object]:
        return [each for each in self.told if isinstance(each, kind)]


def test_it_is_told_once_and_not_asked_for_again_when_its_contract_runs_out() -> None:
    it = Asking()
    it.live(1, 20)
    assert it.feed.standing("bad") is Standing.FAILED
    asked = it.asked
    it.live(20, 10 * EVERY)
    assert it.asked == asked == it.feed.subscriptions.policy.tries
    assert len(it.of(SubscriptionFailed)) == 1
    assert it.of(ChannelStalled) == []
    assert isinstance(it.feed.troubles["bad"], SubscriptionFailed)


def test_the_next_link_asks_for_it_again() -> None:
    it = Asking()
    it.live(1, 2 * EVERY)
    asked = it.asked
    it.feed.lose(now=2 * EVERY)
    it.begin(2, 2 * EVERY)
    assert it.asked == asked + 1


def test_another_channel_that_falls_silent_is_told_as_ever() -> None:
    it = Asking()
    it.live(1, 20)
    for now in range(20, 90):
        while it.feed.deadline <= now:
            it.hear(it.feed.tick(proven_at=now, now=float(now)), float(now))
    (stalled,) = it.of(ChannelStalled)
    assert isinstance(stalled, ChannelStalled)
    assert stalled.channel == "good"
