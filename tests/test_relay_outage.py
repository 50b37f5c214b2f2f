"""The venue's process is killed and comes back: readers stay, and the totals agree."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from heartline.relay import Relay
from heartline.testing import VenueServer
from loopback import until
from relay_kit import FAST, Reader, reading
from server_kit import dial, in_loop

BOOK, OTHER = "book.BTC-PERPETUAL.100ms", "book.ETH-PERPETUAL.100ms"


def gap_between(reader: Reader, channel: str, messages: int) -> bool:
    """Whether one outage gap stands after so many messages of the channel."""
    seen = 0
    for frame in reader.of("message"):
        if frame.get("channel") != channel:
            continue
        if isinstance(frame["data"], str):
            seen += 1
        elif frame["data"]["relay"] == "gap":
            assert frame["data"]["reason"] == "outage"
            return seen == messages
    return False


async def written(venue: VenueServer) -> dict[str, int]:
    """Messages of each channel that the venue wrote to its one link."""
    accounts = await venue.accounts()
    return {name: each.sent + each.snapshots for name, each in accounts.items()}


@in_loop
async def test_a_killed_venue_costs_nobody_the_connection_and_is_told_to_all() -> None:
    async with AsyncExitStack() as stack:
        venue = await stack.enter_async_context(VenueServer("deribit"))
        relay = await stack.enter_async_context(
            Relay(venue.url, [BOOK, OTHER], venue="deribit", backoff=FAST)
        )
        wanted = ([BOOK], [OTHER], [BOOK, OTHER])
        readers = [
            await stack.enter_async_context(reading(relay.url, *each))
            for each in wanted
        ]
        plain = await stack.enter_async_context(dial(f"{relay.url}?channels={OTHER}"))

        def all_of(condition: Callable[[Reader, str], bool]) -> Callable[[], bool]:
            each = [(r, c) for r, cs in zip(readers, wanted, strict=True) for c in cs]
            return lambda: all(condition(reader, channel) for reader, channel in each)

        def relayed(channel: str) -> int:
            return relay.accounts[channel].messages

        await relay.stream.wait_live(5.0)
        await until(lambda: relayed(BOOK) == relayed(OTHER) == 1, "the snapshots")
        await until(
            lambda: all(
                len(r.of("subscribed")) == len(cs)
                for r, cs in zip(readers, wanted, strict=True)
            ),
            "all readers",
        )
        for channel in (BOOK, OTHER):
            await venue.burst(channel, 30)
        await until(all_of(lambda r, c: len(r.data(c)) >= 30), "the first half")
        sent = await written(venue)
        before = {(r, c): len(r.data(c)) for r in readers for c in (BOOK, OTHER)}

        venue.kill()
        down = all_of(lambda r, c: r.notes("status")[-1]["live"] is False)
        await until(down, "the outage is told")
        again = await stack.enter_async_context(
            VenueServer("deribit", port=venue.port, seed=8)
        )
        await until(all_of(lambda r, c: len(r.notes("gap", c)) == 1), "the gap is told")
        await relay.stream.wait_live(5.0)
        for channel in (BOOK, OTHER):
            await again.burst(channel, 30)
        for name, messages in (await written(again)).items():
            sent[name] += messages
        await until(lambda: relayed(BOOK) == sent[BOOK], "all of one")
        await until(lambda: relayed(OTHER) == sent[OTHER], "all of the other")
        await until(
            all_of(lambda r, c: r.offsets(c)[-1] == relay.accounts[c].offset), "read"
        )

        # Nobody was cut, and what each was sent adds up to what the venues sent.
        status = relay.server.status
        assert (status.clients, status.joined) == (4, 4)
        for reader, channels in zip(readers, wanted, strict=True):
            # It may have come before the upstream was live for the first time.
            lives = [note["live"] for note in reader.notes("status")]
            assert lives[lives.index(True) :].count(False) >= 1
            assert lives[-1]
            for channel in channels:
                account = relay.accounts[channel]
                offsets = reader.offsets(channel)
                joined = reader.of("subscribed")[channels.index(channel)]["offset"]
                assert offsets == list(range(joined + 1, account.offset + 1))
                assert account.offset == account.messages + account.notes
                assert account.gaps == 1
                assert gap_between(reader, channel, before[reader, channel])
        got = [await plain.recv() for _ in range(sent[OTHER])]
        assert got[-60:] == readers[1].data(OTHER)[-60:]
