"""Each venue's contract as our own client keeps it, and as the venue sees it broken.

Timings come from the oracle, as in the tests of the simulator itself; here the client
is the stream's own machinery.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from heartline import Venue
from heartline.core.events import Connected, Lost
from test_testing_venue_contracts import documented_end, opened
from venue_oracle import VARIABLES, Oracle, captures, oracles
from virtual_venue import Client, virtual

KEYS = {"key": "k", "secret": "s", "token": "t", "symbol": "BTC-USD"}
PLACES = sorted(oracles())


def venue_of(place: str) -> Venue:
    name, _, endpoint = place.partition("/")
    venue = Venue(name=name, endpoint=endpoint)
    told = venue.profile.subscribe
    channels = [told.forms[0].example] if told is not None else []
    return Venue(
        name=name,
        endpoint=endpoint,
        channels=channels,
        variables={**VARIABLES, **KEYS},
        snapshots=None,
    )


@pytest.mark.parametrize("place", PLACES)
def test_our_client_stays_connected_for_three_of_the_longest_periods(
    place: str,
) -> None:
    oracle = oracles()[place]

    async def run() -> Client:
        client = Client(venue_of(place))
        await client.live_for(3 * oracle.longest_period + 2.0)
        client.stop()
        return client

    client = virtual(run)
    assert client.of(Lost) == []
    assert client.cut is None
    assert len(client.of(Connected)) == 1
    assert client.link is not None
    assert client.link.breaches == []


@pytest.mark.parametrize("place", PLACES)
def test_the_venue_cuts_our_client_where_its_heartbeats_are_suppressed(
    place: str,
) -> None:
    oracle = oracles()[place]

    async def run() -> Client:
        client = Client(venue_of(place), beats=False)
        # The first link alone: what comes after the cut is no part of the contract.
        await client.live_for(3 * oracle.longest_period + 2.0, until_cut=True)
        client.stop()
        return client

    client = virtual(run)
    expected = ended(oracle, client)
    if expected is None or expected[0] > 3 * oracle.longest_period + 2.0:
        # Nothing ends it, or asking anew for a silent channel has put it off.
        assert client.cut is None
        assert client.of(Lost) == []
        return
    assert client.cut is not None, f"wanted the end at {expected[0]:.2f}"
    at, cut = client.cut
    assert at == pytest.approx(expected[0], abs=0.1)
    if expected[1] is not None:
        assert cut.code == expected[1]


def ended(oracle: Oracle, client: Client) -> tuple[float, int | None] | None:
    """The documented end, counted from when the link was accepted."""
    link_at, payload = client.accepted_at, client.venue.profile.decode.payload
    probed = [
        at
        for probe in oracle.of("msg_in")
        for at, frame in client.frames
        if captures(probe["match"], opened(frame, payload)) is not None
    ]
    heard = Heard(
        pings_at=[at - link_at for at in client.pings_at],
        probes_at=[at - link_at for at in probed],
        said_at=[at - link_at for at in client.said_at],
        heard_at=[at - link_at for at in client.heard],
    )
    end = documented_end(oracle, heard)  # type: ignore[arg-type]
    return None if end is None else (end[0] + link_at, end[1])


@dataclass
class Heard:
    """What the oracle judges a client by; seconds on its link."""

    pings_at: list[float]
    probes_at: list[float]
    said_at: list[float]
    heard_at: list[float]
