"""What is small and easily lost: that it is kept, and that it is let go again."""

from __future__ import annotations

import random
from dataclasses import fields
from math import inf
from typing import Any

import pytest

from heartline import UsageError
from heartline.core import figures
from heartline.core.adaptive import RoundTripEstimate
from heartline.core.backoff import Backoff
from heartline.core.budget import Rate
from heartline.core.channel import CHANNEL_PATIENCE, ChannelClock
from heartline.core.channel_events import Subscribe
from heartline.core.contracts import Beats, Freshness
from heartline.core.demands import demand_kinds
from heartline.core.detector import MOST_KEEPALIVE, Liveness, PathClock
from heartline.core.events import Ping, Received, Stalled, Tick
from heartline.core.evidence import Evidence
from heartline.core.feed import Feed, FeedTerms
from heartline.core.feed_terms import Numbered
from heartline.core.fetches import Fetches, Hosts, Snapshots
from heartline.core.figures import Line
from heartline.core.gaps import Account, Ledger
from heartline.core.items import Message, Verdict, Where
from heartline.core.latency import MaxAge
from heartline.core.lines import Lines
from heartline.core.link import Link
from heartline.core.losses import was_useful
from heartline.core.offset import ClockOffset
from heartline.core.orderbook import Order, OrderBook, Recipe
from heartline.core.promises import bounds, ceilings
from heartline.core.proving import Proof
from heartline.core.rest import Rest
from heartline.core.restore import Joins, Kept, Numbers, Restore, Restored, Stage
from heartline.core.rules import tracker_of
from heartline.core.sequence import Disorder, Duplicate, Missing, Numbering, Rule
from heartline.core.subscribing import Subscribing
from heartline.core.subscriptions import Subscriptions
from heartline.core.terms import Dialling, Terms
from heartline.core.watched import Watching
from scripted_link import BEGAN, HEARD, Scripted, feed, kernel, quiet

# --- what a link promises -------------------------------------------------------------


@pytest.mark.parametrize("with_kernel", [True, False])
@pytest.mark.parametrize("seed", range(40))
def test_bounds_are_the_sum_of_what_each_step_may_take(
    seed: int, with_kernel: bool
) -> None:
    dice = random.Random(seed)
    contract = dice.choice((None, Freshness(every=5.0)))
    world = quiet(with_kernel=with_kernel, freshness=contract)
    link, now, policy = world.link, world.now, world.link.policy
    clocks, path = link.clocks, link.path
    clocks.busy_silence = dice.choice((None, 0.3, 0.9, 3.0))
    link.peer.busy = clocks.busy_silence is not None
    clocks.no_pong_at = dice.choice((None, None, None, now))
    if dice.random() < 0.7:
        link.peer.healed.heal(dice.choice((0.6, 1.0, 9.0)), now=now)
        path.healed.heal(dice.choice((0.2, 0.5, 9.0)), now=now)
        path.healed_resends.heal(dice.choice((1, 2, 9)), now=now)
    promised, most = bounds(link, now=now), ceilings(link)

    wait = clocks.busy_silence or policy.ping_every
    least = policy.peer_busy if link.peer.busy else policy.peer_idle
    answers = max(least, 4 * link.peer.healed.length(now=now))
    steps = [min(answers, policy.peer_max) + path.timeout + 0.05 + 0.05 + 0.05 + 0.25]
    least_path = 0.0
    if with_kernel:
        ride_through = path.ride_through(now=now)
        steps.append(path.resending_takes(wait, now=now) + 0.05)
        if ride_through > 0.5:
            steps.append(path.return_takes(wait, ride_through))
        least_path = path.bound(clocks.busy_silence, now=now)
    peer = max(wait + max(steps), least_path)
    if clocks.no_pong_at is not None:
        peer = 60.05
    assert promised.peer == pytest.approx(peer)
    resending = path.resending_takes_at_most(10.0) + 0.05
    takes = (10.0 + 0.3 + 0.4, resending, path.return_takes_at_most(10.0))
    assert most.peer == pytest.approx(max(10.0 + max(takes), path.ceiling, 60.05))
    if with_kernel:
        assert promised.path == path.bound(clocks.path_silence, now=now)
        assert most.path == path.ceiling
    else:
        assert (promised.path, most.path) == (promised.peer, most.peer)
    channels = {None: 5.0 + CHANNEL_PATIENCE} if contract else {}
    assert promised.channels == most.channels == channels


@pytest.mark.parametrize("kernel_interval", [1, 30])
def test_a_ceiling_is_that_of_the_longest_step(kernel_interval: int) -> None:
    """Where the peer is given hardly any time, the way there and back takes longest."""
    brief = dict.fromkeys(
        ("peer_busy", "peer_idle", "peer_max", "no_pong_silence"), 0.1
    )
    policy = Liveness(**brief, ping_every=1.0, kernel_interval=kernel_interval)
    link = quiet(policy=policy).link
    path = link.path
    resending = path.resending_takes_at_most(1.0) + 0.05
    longest = 1.0 + max(resending, path.return_takes_at_most(1.0))
    assert ceilings(link).peer == pytest.approx(max(longest, path.ceiling))


def test_the_way_there_and_back_is_twice_the_time_away() -> None:
    path = quiet().link.path
    climb = max(2.0, 3 * (path.timeout + 0.05))
    for silence in (0.4, 9.0):
        waits = min(silence, 1.04 + path.timeout)
        takes = 2 * (waits + climb) + path.timeout + 0.05
        assert path.return_takes(silence, 2.0) == pytest.approx(takes)
    most = 2 * (1.04 + 0.3 + max(3.0, 3 * 0.35)) + 0.35
    assert path.return_takes_at_most(9.0) == pytest.approx(most)


# --- a link and its clocks ------------------------------------------------------------


def test_bytes_of_a_frame_that_is_not_complete_put_the_verdict_off() -> None:
    world = quiet()
    while world.link.peer.wait is None:
        world.tick()
    world.now = (world.now + world.link.deadline) / 2
    world.handle(Received(3, 0, 0, 100))
    assert world.link.path.heard_at == world.now
    allowed = world.link.peer.allowance(now=world.now)
    overdue_at = world.link.peer.overdue_at(world.seen, now=world.now)
    assert overdue_at == pytest.approx(world.now + allowed)


@pytest.mark.parametrize("shut", [False, True])
@pytest.mark.parametrize(("after", "excuses"), [(0.07, False), (0.2, True)])
def test_a_path_that_was_away_excuses_its_peer_unless_the_window_was_shut(
    after: float, excuses: bool, shut: bool
) -> None:
    clocks = quiet().link.clocks
    before, doubted_at = clocks.peer.excused_until, BEGAN + 2.0
    heard_at = clocks.path.heard_at
    clocks.path.doubt(now=doubted_at)
    now = doubted_at + after
    window = {"send_window_bytes": 0, "outstanding_bytes": 9} if shut else {}
    clocks.observe(kernel(segments_in=9, **window), now=now)
    assert clocks.path.ladder is None
    excused_until = now + (now - heard_at) if excuses and not shut else before
    assert clocks.peer.excused_until == pytest.approx(excused_until)


@pytest.mark.parametrize("shut", [False, True])
@pytest.mark.parametrize(("took", "excuses"), [(1.5, False), (1.6, True)])
def test_a_ping_that_took_half_of_the_peers_time_excuses_it(
    took: float, excuses: bool, shut: bool
) -> None:
    clocks = quiet().link.clocks
    before, sent_at = clocks.peer.excused_until, BEGAN + 2.0
    shown = {"segments_in": 2, "received_bytes": 20}
    clocks.pinged(now=sent_at)
    clocks.pings.place(kernel(outstanding_bytes=10, **shown))
    now = sent_at + took
    window = {"send_window_bytes": 0, "outstanding_bytes": 9} if shut else {}
    clocks.observe(kernel(acked_bytes=10, **shown, **window), now=now)
    assert clocks.peer.wait is not None
    assert clocks.peer.wait.proven_at == now
    excused_until = now + took if excuses and not shut else before
    assert clocks.peer.excused_until == pytest.approx(excused_until)


def test_a_stall_is_told_though_the_socket_is_not_read_yet() -> None:
    world = quiet()
    world.tick(late=0.3)
    world.unread_bytes = 100
    world.tick(late=0.6)
    told = [o for _, o in world.told if isinstance(o, Stalled)]
    assert [each.lag for each in told] == [pytest.approx(0.3), pytest.approx(0.6)]


@pytest.mark.parametrize("declared", [False, True])
def test_reads_put_looks_off_only_where_no_heartbeat_is_due(declared: bool) -> None:
    world = quiet(beats=Beats(every=5.0, answered=False)) if declared else quiet()
    feed(world, HEARD + 12.0)
    assert (world.link.flowing(now=world.now) is None) is declared


def test_data_that_waited_out_a_stall_is_the_first_of_a_link_once() -> None:
    clock = ChannelClock(None, now=BEGAN)
    assert clock.first_at is None
    clock.fed_stale(2, now=BEGAN + 1)
    clock.fed_stale(3, now=BEGAN + 2)
    assert (clock.first_at, clock.count) == (BEGAN + 1, 5)
    assert clock.silent_since == BEGAN + 2
    assert clock.fresh_at is None


@pytest.mark.parametrize("redial", [True, False])
def test_a_contract_is_looked_at_when_it_is_due_asked_about_and_given_up(
    redial: bool,
) -> None:
    clock = ChannelClock(Freshness(every=5.0, redial=redial), now=BEGAN)
    due_at = BEGAN + 5.0
    for proven in (True, False):
        assert clock.next_at(proven=proven, now=due_at + 0.1) == due_at
    clock.ask()
    assert clock.next_at(proven=True, now=due_at + 0.1) == due_at + 0.1
    for now, look_at in ((0.0, 0.2), (0.1, 0.2), (0.2, 0.4), (0.3, 0.5)):
        found = clock.next_at(proven=False, now=due_at + now)
        assert found == pytest.approx(due_at + look_at)
    clock.stall(1, now=due_at)
    given_up_at = due_at + 5.0 + 0.2 if redial else inf
    assert clock.next_at(proven=True, now=due_at + 0.1) == given_up_at


@pytest.mark.parametrize(("unanswered", "where"), [(1, None), (2, Where.BOTH)])
def test_a_shut_window_is_believed_until_two_of_its_probes_are_unanswered(
    unanswered: int, where: Where | None
) -> None:
    shut = kernel(
        send_window_bytes=0, outstanding_bytes=9, probes_unanswered=unanswered
    )
    path = PathClock(Liveness(), kernel=shut, now=BEGAN)
    path.doubt(now=BEGAN)
    for nth in range(3):
        path.pinged(now=BEGAN + nth)
    assert path.judge(now=BEGAN + 2.0) is None
    assert path.judge(now=BEGAN + 9.0) is where


@pytest.mark.parametrize(
    ("frame_at", "last_at", "due_at"),
    [(90.0, 95.0, 125.0), (40.0, 70.0, 99.5), (40.0, 95.0, 105.0), (40.0, 60.0, 90.0)],
)
def test_who_never_answers_is_asked_seldom_and_once_more_before_the_verdict(
    frame_at: float, last_at: float, due_at: float
) -> None:
    clocks = quiet().link.clocks
    clocks.no_pong_at = 80.0
    clocks.peer.frame_at, clocks.pings.last_at = frame_at, last_at
    assert clocks.ping_due(now=100.0) == due_at


def test_a_link_at_rest_asks_when_a_ping_is_due_and_nothing_is_in_doubt() -> None:
    seen = kernel(heard_age=0.5)
    world = Scripted(seen=seen)
    evidence = world.evidence()
    assert evidence.kernel is not None
    rest = Rest(evidence.kernel, patience=1.5, ask_at=BEGAN + 1)
    assert not rest.asks(evidence, now=BEGAN + 0.9)
    assert rest.asks(evidence, now=BEGAN + 1)
    assert not rest.until_at(BEGAN + 0.5).asks(evidence, now=BEGAN + 1)
    impatient = Rest(evidence.kernel, patience=0.0, ask_at=BEGAN + 1)
    assert not impatient.asks(evidence, now=BEGAN + 1)


def test_the_last_128_round_trips_are_told() -> None:
    estimate = RoundTripEstimate()
    for nth in range(140):
        estimate.add(0.001 * nth)
        assert estimate.summary().samples == min(nth + 1, 128)
    assert estimate.summary().median == pytest.approx(0.001 * (12 + 64))


def test_a_link_was_useful_at_the_edge_of_its_time_and_not_before() -> None:
    backoff = Backoff()
    for contract in (None, Freshness(every=5.0)):
        link = Link(1, policy=Liveness(), now=BEGAN, freshness=contract)
        link.peer.frame_at = BEGAN + backoff.quiet_uptime
        assert not was_useful(link, backoff)
        link.pings.answered = 1
        assert was_useful(link, backoff) is (contract is None)
        link.peer.frame_at -= 0.001
        assert not was_useful(link, backoff)
        link.channel.fresh_at = BEGAN + backoff.useful_uptime - 0.001
        assert not was_useful(link, backoff)
        link.channel.fresh_at = BEGAN + backoff.useful_uptime
        assert was_useful(link, backoff)


# --- numbers --------------------------------------------------------------------------


def test_numbers_from_where_the_venue_begins_are_missing_late_and_then_double() -> None:
    tracker = tracker_of(Numbering(rule=Rule.STEP, starts_at=5))
    assert tracker.feed("k", 8) == Missing("k", 5, 7, 3)
    for number in (5, 6, 7):
        assert tracker.feed("k", number) == Disorder("k", number, number, 1)
        assert tracker.feed("k", number) == Duplicate("k", number, number)
    assert tracker.feed("k", 4) == Disorder("k", 4, 4, 0)


def test_a_chain_that_begins_where_the_venue_says_has_nothing_missing() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN, starts_at=1))
    assert tracker.feed("k", 3, 0) is None
    assert tracker.feed("k", 4, 3) is None
    assert tracker.feed("k", 9, 3) == Missing("k", None, None, None)
    late = tracker_of(Numbering(rule=Rule.CHAIN, starts_at=1))
    assert late.feed("k", 3, 2) == Missing("k", 1, 2, None)


def test_a_chain_of_texts_that_is_forgotten_begins_anew() -> None:
    tracker = tracker_of(Numbering(rule=Rule.CHAIN))
    assert tracker.feed("k", "b", "a") is None
    tracker.forget("k")
    assert tracker.feed("k", "d", "c") is None
    assert tracker.feed("k", "f", "e") == Missing("k", None, None, None)


# --- channels -------------------------------------------------------------------------


def test_what_is_missing_of_a_link_may_be_of_any_channel() -> None:
    lines = Lines(Ledger(), ())
    named = [lines.line(name, None, wanted=True, now=BEGAN) for name in "ab"]
    link = lines.line(None, None, wanted=True, now=BEGAN)

    def wounded(line: Line) -> list[bool]:
        for each in (*named, link):
            each.wounded = False
        lines.wound(line)
        return [each.wounded for each in (*named, link)]

    assert wounded(named[0]) == [True, False, False]
    assert wounded(link) == [True, True, True]


def test_failures_of_a_channel_that_was_dropped_are_forgotten() -> None:
    fetches = Fetches(Snapshots(), hosts=Hosts(), draw=lambda: 0.5)
    for _ in range(2):
        fetches.want("a", "host", now=BEGAN)
        assert [fetches.again("a", now=BEGAN), fetches.again("a", now=BEGAN)] == [1, 2]
        fetches.drop("a")
    assert fetches.deadline == inf


def test_who_is_to_be_fetched_anew_is_not_overdue_by_the_call_before() -> None:
    rate = (Rate(count=1, per=100.0),)
    fetches = Fetches(Snapshots(rates=rate), hosts=Hosts(), draw=lambda: 0.5)
    fetches.begin(1)
    fetches.want("a", "host", now=BEGAN)
    [call], _ = fetches.due(now=BEGAN)
    fetches.want("a", "host", now=BEGAN + 1.0)
    assert not fetches.awaits(call)
    # The host's budget is spent: the next call waits, and nothing else does.
    assert fetches.due(now=BEGAN + 50.0) == ([], [])
    calls, lost = fetches.due(now=fetches.deadline)
    assert [each.serial for each in calls] == [call.serial + 1]
    assert lost == []


def test_feeds_share_the_hosts_that_they_are_given_and_no_others() -> None:
    hosts = Hosts()
    made = [
        Feed(FeedTerms(), ledger=Ledger(), now=BEGAN, hosts=given)
        for given in (hosts, hosts, None, None)
    ]
    rates = Snapshots().rates
    found = [each.restoring.fetches._hosts.host("h", rates) for each in made]
    assert found[0] is found[1] is hosts.host("h", rates)
    assert len({id(host) for host in found}) == 3


def test_the_bounds_of_channels_are_those_of_the_link_that_delivers_now() -> None:
    contract = Freshness(every=4.0)
    feed = Feed(FeedTerms(contract=lambda _: contract), ledger=Ledger(), now=BEGAN)
    feed.want(["a"], now=BEGAN)
    feed.begin(1, now=BEGAN)
    assert feed.bounds(now=BEGAN) == {"a": 4.0 + CHANNEL_PATIENCE}
    none = Subscriptions(Subscribing())
    feed.adopt(2, subscriptions=none, trackers=[], counted=[], now=BEGAN)
    assert feed.bounds(now=BEGAN) == {}


def test_the_numbers_of_a_link_that_took_over_end_with_it() -> None:
    rule = Numbered(numbering=Numbering(rule=Rule.STEP))
    feed = Feed(FeedTerms(numbered=(rule,)), ledger=Ledger(), now=BEGAN)
    feed.want(["a"], now=BEGAN)
    feed.begin(1, now=BEGAN)
    line = feed.line("a", 0, now=BEGAN)
    feed.take(line, "a", 90, None, None, False, BEGAN)
    its_own = tracker_of(rule.numbering)
    none = Subscriptions(Subscribing())
    feed.adopt(2, subscriptions=none, trackers=[its_own], counted=[], now=BEGAN)
    feed.take(line, "a", 7, None, None, False, BEGAN)
    feed.take(line, "a", "no number", None, None, False, BEGAN)
    assert (its_own.last("a"), feed.malformed) == (7, 1)
    # The next link counts as it likes: nothing is missing from 8 to 499.
    feed.begin(3, now=BEGAN)
    assert its_own.last("a") is None
    feed.take(line, "a", 500, None, None, False, BEGAN)
    assert (its_own.last("a"), its_own.holes("a")) == (500, 0)


@pytest.mark.parametrize("kind", list(dict.fromkeys((figures.PureLine, figures.Line))))
def test_messages_are_merely_taken_while_there_is_neither_a_state_nor_a_book(
    kind: type[figures.PureLine],
) -> None:
    line = kind("a", Account("a"), None, now=BEGAN)
    restore = Restore("a", Restored(host="h", joins=Joins.NEXT))
    proof = Proof("a", OrderBook(Recipe(levels=1, order=Order.BID_ASK)))
    assert line.is_usual
    line.restore = restore
    assert not line.is_usual
    line.proof = proof
    assert not line.is_usual
    line.restore = None
    assert not line.is_usual
    line.restore = restore
    line.proof = None
    assert not line.is_usual
    line.restore = None
    assert line.is_usual


def test_a_refused_channel_that_brings_data_is_in_no_trouble() -> None:
    feed = Feed(FeedTerms(), ledger=Ledger(), now=BEGAN)
    feed.want(["a"], now=BEGAN)
    [asked] = feed.begin(1, now=BEGAN)
    assert isinstance(asked, Subscribe)
    feed.open(now=BEGAN)
    for nth in range(3):
        now = BEGAN + 40.0 * nth
        feed.refused(None, ["a"], reason="no", now=now)
        feed.tick(proven_at=now, now=feed.deadline if feed.deadline < inf else now)
    assert "a" in feed.troubles
    line = feed.line("a", None, now=BEGAN + 99)
    feed.take(line, "a", None, None, None, False, BEGAN + 99)
    assert feed.troubles == {}
    assert feed.is_fresh("a", max_age=1.0, now=BEGAN + 99)


def test_a_state_that_is_to_be_had_anew_has_nothing_of_the_one_before() -> None:
    restore = Restore("a", Restored(joins=Joins.CHAIN, host="h"))
    message = Message(data=b"abc", channel="a", received_at=BEGAN, epoch=1)
    restore.keep(Kept(message, Numbers(1, None, None)))
    restore.snapshot, restore.why = message, "it was too old"
    restore.untold = [Ping(1, b"")]  # type: ignore[list-item]
    restore.start_over(Stage.ASKED)
    assert (restore.kept, restore.size_bytes, restore.untold) == ([], 0, [])
    assert (restore.snapshot, restore.stage) == (None, Stage.ASKED)
    assert restore.why == "its snapshot is awaited"


# --- what is demanded -----------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        Liveness(),
        Watching(),
        Backoff(),
        Dialling(),
        Freshness(every=1.0),
        MaxAge(limit=1.0),
        Rate(count=1, per=1.0),
        Snapshots(),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_a_policy_refuses_what_is_no_number(policy: Any) -> None:
    named = [f.name for f in fields(policy) if f.type in ("float", "int")]
    given = {f.name: getattr(policy, f.name) for f in fields(policy)}
    for name in named:
        with pytest.raises(UsageError, match=f"{type(policy).__name__}.{name}"):
            type(policy)(**{**given, name: "much"})
    for name in [f.name for f in fields(policy) if f.type == "int"]:
        with pytest.raises(UsageError, match="whole"):
            type(policy)(**{**given, name: 1.5})


@pytest.mark.parametrize("policy", [Liveness, Watching])
def test_limits_may_be_equal(policy: type[Any]) -> None:
    if policy is Watching:
        assert Watching(floor=3.0, ceiling=3.0).floor == 3.0
        with pytest.raises(UsageError, match=r"Watching\.floor"):
            Watching(floor=3.1, ceiling=3.0)
        return
    names = ("ride_through", "ride_through_max", "peer_busy", "peer_idle", "peer_max")
    same = dict.fromkeys((*names, "no_pong_silence", "message_deadline"), 2.0)
    assert Liveness(**same).peer_max == 2.0


@pytest.mark.parametrize("seconds", [2.0, MOST_KEEPALIVE + 1])
def test_the_kernel_is_asked_in_whole_seconds_and_in_no_more_than_it_takes(
    seconds: Any,
) -> None:
    assert Liveness(kernel_interval=MOST_KEEPALIVE).kernel_interval == 32_767
    with pytest.raises(UsageError, match=r"Liveness\.kernel_interval"):
        Liveness(kernel_interval=seconds)


def test_of_what_is_refused_only_a_number_is_shown() -> None:
    wrong: Any = "s3cret"
    with pytest.raises(UsageError, match="str") as told:
        Liveness(ping_every=wrong)
    assert wrong not in str(told.value)
    fraction: Any = 1.5
    with pytest.raises(UsageError, match=r"1\.5"):
        Liveness(pings=fraction)
    with pytest.raises(UsageError, match="str") as told:
        demand_kinds({"token": ("a function", (int,))}, {"token": wrong})
    assert wrong not in str(told.value)
    demand_kinds({"token": ("a number", (int,))}, {"token": 1, "other": wrong})


def test_what_nobody_says_is_the_cautious_one() -> None:
    assert not Terms(host="a").joins
    assert ClockOffset().resolution == 1e-3
    assert (Snapshots().keep, Snapshots().keep_bytes) == (10_000, 16 << 20)
    assert Dialling().restore == 5.0


def test_a_link_that_was_given_up_is_held_for_dead() -> None:
    world = quiet()
    assert world.link.verdict is Verdict.ALIVE
    world.run(until=HEARD + 30.0)
    assert world.link.found is not None
    assert world.link.verdict is Verdict.DEAD


def test_what_waits_to_be_sent_is_known_of_a_link_without_a_kernel() -> None:
    world = Scripted(with_kernel=False)
    world.handle(Tick(3, Evidence(None, 0, 7)))
    assert world.link.waiting == 7
