"""What the one-screen view keeps, and in which order it tells it."""

from __future__ import annotations

from heartline.core.channel_events import ChannelLive, GapClosed
from heartline.core.events import Connected, Event, GapFound
from heartline.core.items import Gap
from heartline.ui.view import WatchView

NOW = 1000.5
"""Half a second past: lines are shown to the second."""


def live(channel: str, *, at: float, epoch: int = 3) -> ChannelLive:
    return ChannelLive(
        at=at, epoch=epoch, channel=channel, after=0.01, acknowledged=True
    )


def connected(at: float) -> Connected:
    return Connected(
        at=at, epoch=3, address="203.0.113.7:443", attempt=2, outage=3.2, kernel=True
    )


def told(*events: Event) -> list[tuple[float, str]]:
    view = WatchView("wss://stream.example/ws")
    for event in events:
        view.event(event)
    return [(news.at, " ".join(news.words.split()[:2])) for news in view.news]


def test_what_a_link_brings_as_it_opens_stands_below_its_being_connected() -> None:
    gap = Gap(reason="outage", from_at=NOW - 3, until_at=NOW, epoch=2)
    lines = told(
        live("book", at=NOW),
        GapFound(at=NOW, epoch=3, gap=gap),
        GapClosed(at=NOW, epoch=3, gap=gap, by="snapshot"),
        connected(NOW + 0.1),
        live("trades", at=NOW + 0.2),
    )
    assert lines == [
        (NOW, "GAP (outage)"),
        (NOW + 0.1, "connected to"),
        (NOW, "book has"),
        (NOW, "GAP CLOSED"),
        (NOW + 0.2, "trades has"),
    ]


def test_what_came_a_second_earlier_or_by_another_link_keeps_its_place() -> None:
    lines = told(
        live("early", at=NOW - 1),
        live("old", at=NOW, epoch=2),
        connected(NOW + 0.1),
    )
    assert [words for _, words in lines] == ["early has", "old has", "connected to"]
