"""The outbox keeps order, its limit and count; heartbeats go ahead."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any, cast

import picows
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from picows import WSMsgType, WSTransport

from heartline.errors import OutboxFull, UsageError
from heartline.wire.deflate import Deflater
from heartline.wire.outbox import HIGH_WATER_BYTES, Outbox
from loopback import accept_for, both_loops, run, serving, until

LIMIT = 1000
HIGH = 100


class Pipe:
    """A transport that buffers, says pause over `HIGH`, and counts what it loses."""

    def __init__(self) -> None:
        self.underlying_transport = self
        self.is_close_frame_sent = False
        self.is_disconnected = False
        self.closing = False
        self.stuck = False
        self.held = 0
        self.sent: list[tuple[WSMsgType, bytes]] = []
        self.compressed: list[bool] = []
        self.lost = 0
        self.high = 0
        self.outbox: Outbox | None = None

    def set_write_buffer_limits(self, *, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.held

    def is_closing(self) -> bool:
        return self.closing

    def send(
        self, kind: WSMsgType, data: bytes, fin: bool = True, rsv1: bool = False
    ) -> None:
        assert fin
        if self.is_close_frame_sent or self.is_disconnected or self.closing:
            self.lost += 1
            return
        self.sent.append((kind, data))
        self.compressed.append(rsv1)
        if self.stuck:
            before, self.held = self.held, self.held + len(data)
            if before <= HIGH < self.held and self.outbox is not None:
                self.outbox.pause()

    def drain(self) -> None:
        """The peer reads: all that is held leaves, and more may come."""
        paused, self.held = self.held > HIGH, 0
        if paused and self.outbox is not None:
            self.outbox.flush()


def make(
    *, limit_bytes: int = LIMIT, deflater: Deflater | None = None
) -> tuple[Pipe, Outbox]:
    pipe = Pipe()
    pipe.outbox = Outbox(
        cast(WSTransport, pipe), limit_bytes=limit_bytes, deflater=deflater
    )
    return pipe, pipe.outbox


class OutboxLife(RuleBasedStateMachine):
    """Whatever happens: handed over + waiting + refused = put, and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.pipe, self.outbox = make()
        self.taken: list[bytes] = []
        self.first: list[bytes] = []
        self.refused = 0
        self.put = 0

    @rule(size=st.integers(0, 300))
    def put_a_message(self, size: int) -> None:
        self.put += 1
        data = f"{self.put}:".encode().ljust(size, b"x")
        before = self.outbox.waiting_bytes
        if before + len(data) > LIMIT:
            with pytest.raises(OutboxFull) as caught:
                self.outbox.put(data)
            assert caught.value.waiting_bytes == before + len(data)
            assert self.outbox.waiting_bytes == before
            self.refused += 1
        else:
            self.outbox.put(data)
            self.taken.append(data)

    @rule()
    def put_a_heartbeat_first(self) -> None:
        beat = b"beat %d" % len(self.first)
        sent = len(self.pipe.sent)
        self.outbox.put_first(beat)
        self.first.append(beat)
        if not self.ended:
            assert self.pipe.sent[sent:] == [(WSMsgType.BINARY, beat)]

    @rule()
    def the_peer_stops_reading(self) -> None:
        self.pipe.stuck = True

    @precondition(lambda self: not self.ended)
    @rule(more=st.booleans())
    def the_peer_reads(self, more: bool) -> None:
        self.pipe.stuck = more
        self.pipe.drain()

    @rule(how=st.sampled_from(["is_close_frame_sent", "is_disconnected", "closing"]))
    def the_link_ends(self, how: str) -> None:
        setattr(self.pipe, how, True)

    @rule()
    def a_late_resume(self) -> None:
        if self.ended:
            self.outbox.flush()

    @property
    def ended(self) -> bool:
        pipe = self.pipe
        return pipe.is_close_frame_sent or pipe.is_disconnected or pipe.closing

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        messages = [data for _, data in self.pipe.sent if data not in self.first]
        assert messages == self.taken[: len(messages)]
        beats_waiting = len(self.first) - (len(self.pipe.sent) - len(messages))
        waiting = self.outbox.waiting - beats_waiting
        assert len(messages) + waiting + self.refused == self.put
        assert self.outbox.unsent == self.outbox.waiting
        assert self.pipe.lost == 0

    @invariant()
    def no_more_waits_than_the_limit(self) -> None:
        beats = sum(map(len, self.first))
        assert self.outbox.waiting_bytes <= LIMIT + beats

    @invariant()
    def nothing_waits_for_an_open_pipe(self) -> None:
        if not self.ended and self.pipe.held <= HIGH:
            assert self.outbox.waiting == 0


TestOutboxLife = OutboxLife.TestCase


def test_what_waits_nowhere_goes_straight_through() -> None:
    pipe, outbox = make()
    outbox.put("ä")
    outbox.put(b"\x00")
    assert pipe.sent == [(WSMsgType.TEXT, "ä".encode()), (WSMsgType.BINARY, b"\x00")]
    assert (outbox.waiting, outbox.waiting_bytes) == (0, 0)
    assert pipe.high == HIGH_WATER_BYTES


def test_the_limit_is_inclusive_and_counts_what_the_transport_holds() -> None:
    pipe, outbox = make()
    pipe.held = 400
    outbox.pause()
    outbox.put("x" * 600)
    with pytest.raises(OutboxFull) as caught:
        outbox.put("y")
    assert (caught.value.limit_bytes, caught.value.waiting_bytes) == (LIMIT, 1001)
    assert (outbox.waiting, outbox.waiting_bytes) == (1, 1000)


def test_a_message_larger_than_the_limit_is_refused_by_an_empty_outbox() -> None:
    pipe, outbox = make()
    with pytest.raises(OutboxFull):
        outbox.put("x" * (LIMIT + 1))
    assert pipe.sent == []


def test_a_lone_surrogate_is_refused_without_being_quoted() -> None:
    pipe, outbox = make()
    with pytest.raises(UsageError) as caught:
        outbox.put("secret \ud800")
    assert "secret" not in str(caught.value)
    assert pipe.sent == []


def test_bytes_changed_after_put_are_sent_as_they_were() -> None:
    pipe, outbox = make()
    outbox.pause()
    data = bytearray(b"before")
    outbox.put(cast(Any, data))
    data[:] = b"after!"
    outbox.flush()
    assert pipe.sent == [(WSMsgType.BINARY, b"before")]


@given(st.lists(st.tuples(st.text(max_size=50), st.booleans()), max_size=12))
def test_compressed_messages_inflate_in_the_order_of_the_wire(
    script: list[tuple[str, bool]],
) -> None:
    pipe, outbox = make(limit_bytes=1 << 20, deflater=Deflater())
    outbox.pause()
    for text, first in script:
        (outbox.put_first if first else outbox.put)(text)
    outbox.flush()
    inflate = zlib.decompressobj(wbits=-15)
    heard = [
        inflate.decompress(data + b"\x00\x00\xff\xff").decode() for _, data in pipe.sent
    ]
    ahead = [text for text, first in script if first]
    behind = [text for text, first in script if not first]
    assert heard == ahead + behind
    assert all(pipe.compressed)


def test_answers_to_a_peer_that_does_not_read_are_left_out_and_counted() -> None:
    pipe, outbox = make(limit_bytes=1000)
    pipe.stuck = True
    answer, asked = b"x" * 100, 5000
    for _ in range(asked):
        outbox.put_first(answer)
    assert pipe.held <= HIGH_WATER_BYTES + 1000 + len(answer)
    assert len(pipe.sent) + outbox.unsent == asked
    pipe.drain()
    outbox.put_first(b"again")
    assert pipe.sent[-1] == (WSMsgType.BINARY, b"again")


@both_loops
def test_on_a_real_link_a_heartbeat_overtakes_what_a_full_pipe_holds_back(
    loop: str,
) -> None:
    """The server does not read until told; then all arrives, each once."""
    outbox: list[Outbox] = []
    heard: list[bytes] = []
    reading = asyncio.Event()

    class Ears(picows.WSListener):
        def pause_writing(self) -> None:
            outbox[0].pause()

        def resume_writing(self) -> None:
            outbox[0].flush()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(accept_for(await reader.readuntil(b"\r\n\r\n")))
        await reading.wait()
        while True:
            heard.append(await read_message(reader))

    async def main() -> None:
        async with serving(handle) as port:
            transport, _ = await picows.ws_connect(Ears, f"ws://127.0.0.1:{port}/")
            outbox.append(Outbox(transport, limit_bytes=32 << 20, deflater=None))
            put: list[bytes] = []
            while outbox[0].waiting < 10:
                put.append(b"%06d" % len(put) + bytes(50_000))
                outbox[0].put(put[-1])
            held = transport.underlying_transport.get_write_buffer_size()
            assert held <= HIGH_WATER_BYTES + len(put[0]) + 8
            outbox[0].put_first(b"beat")
            reading.set()
            await until(lambda: len(heard) == len(put) + 1, "all heard")
            assert heard.index(b"beat") == len(put) - 10
            heard.remove(b"beat")
            assert heard == put
            transport.disconnect(False)

    run(loop, main())


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one masked frame of less than 64 KiB."""
    size = (await reader.readexactly(2))[1] & 0x7F
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    mask = int.from_bytes(await reader.readexactly(4) * (size // 4 + 1), "big")
    body = int.from_bytes((await reader.readexactly(size)).ljust(4 * (size // 4 + 1)))
    return (body ^ mask).to_bytes(4 * (size // 4 + 1), "big")[:size]
