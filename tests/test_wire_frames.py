"""Frames become messages, whatever way they come; what breaks a rule ends the link."""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import cycle, pairwise
from typing import Any

import picows
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSTransport

from heartline.core.items import Cause
from heartline.wire.deflate import Inflater
from heartline.wire.frames import FrameListener
from heartline.wire.plain import PlainReader, PurePlainReader
from loopback import accept_for, both_loops, run, serving, until

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

PLAIN = 1 << 20
"""A limit with which plain messages take the short way."""
PICOWS_ONLY = 60_000
"""A limit with which every frame goes through picows."""
both_ways = pytest.mark.parametrize("limit", [PLAIN, PICOWS_ONLY])


READERS = [PurePlainReader]
if PlainReader is not PurePlainReader:
    READERS.append(PlainReader)


@pytest.fixture(
    autouse=True,
    scope="module",
    params=READERS,
    ids=["pure", "compiled"][: len(READERS)],
)
def kind_of_reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """All that is claimed here holds for both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("heartline.wire.frames.PlainReader", request.param)
        yield


def frame(opcode: int, payload: bytes = b"", bits: int = FIN) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((bits | opcode, size))
    elif size < 65536:
        head = bytes((bits | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((bits | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class Sink:
    """Keeps what it is told, and can be told to fail."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.data: list[str | bytes] = []
        self.frames = 0
        self.size_bytes = 0
        self.reads = 0
        self.fails_on = ""

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        if what[0] == self.fails_on:
            raise ValueError("the sink's own fault")

    def on_open(self, transport: WSTransport) -> None:
        self._tell("open")

    def on_batch(self, data: list[str | bytes], frames: int, size_bytes: int) -> None:
        assert frames >= max(1, len(data))
        self.data += data
        self.frames += frames
        self.size_bytes += size_bytes
        self.reads += 1
        self._tell("batch", data)

    def on_pong(self, payload: bytes) -> None:
        self._tell("pong", payload)

    def on_closing(self, code: int, reason: str) -> None:
        self._tell("closing", code, reason)

    def on_broken(self, cause: Cause, reason: str) -> None:
        self._tell("broken", cause, reason)

    def on_gone(self) -> None:
        self._tell("gone")

    def on_write_paused(self) -> None:
        self._tell("paused")

    def on_write_resumed(self) -> None:
        self._tell("resumed")

    def names(self) -> list[str]:
        return [what[0] for what in self.told]

    def ends(self) -> list[tuple[Any, ...]]:
        return [told for told in self.told if told[0] in {"closing", "broken", "gone"}]


class Peer:
    """The server's end, by hand: bytes out as they are, frames in unmasked."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer

    async def write(self, *chunks: bytes) -> None:
        """Write each chunk alone, and let the client read in between."""
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def read(self) -> tuple[int, bytes]:
        """Read one frame of the client: its first byte, and its payload."""
        first, size = await self.reader.readexactly(2)
        assert size & 0x80, "a client masks"
        size &= 0x7F
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(await self.reader.readexactly(width), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first, bytes(c ^ mask[i % 4] for i, c in enumerate(payload))


class Link:
    def __init__(
        self, sink: Sink, transport: WSTransport, listener: FrameListener, peer: Peer
    ) -> None:
        self.sink, self.listener, self.peer = sink, listener, peer
        self.transport = transport

    def read(self, *chunks: bytes) -> None:
        """Let the listener read exactly these chunks, as its transport would."""
        reader = self.transport.underlying_transport.get_protocol()
        for chunk in chunks:
            reader.get_buffer(-1)[: len(chunk)] = chunk
            reader.buffer_updated(len(chunk))

    async def told(self, name: str) -> tuple[Any, ...]:
        await until(lambda: name in self.sink.names(), f"{name} told")
        return next(told for told in self.sink.told if told[0] == name)


@contextlib.asynccontextmanager
async def linked(
    *,
    limit: int = PLAIN,
    inflater: Inflater | None = None,
    early: bytes = b"",
    fails_on: str = "",
    ahead: Callable[[], bool] | None = None,
    answered: Callable[[bytes], bool] | None = None,
) -> AsyncIterator[Link]:
    """Connect a listener to a peer; `early` comes along with the upgrade.

    `ahead` says of each plain read whether it goes past the sink, `answered` of each
    that is one pong.
    """
    peers: list[Peer] = []
    finished = asyncio.Event()

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(accept_for(request) + early)
        peers.append(Peer(reader, writer))
        await finished.wait()

    sink = Sink()
    sink.fails_on = fails_on

    def fast(messages: list[str | bytes], size_bytes: int) -> bool:
        assert ahead is not None
        if not ahead():
            return False
        sink.data += messages
        sink.frames += len(messages)
        sink.size_bytes += size_bytes
        return True

    async with serving(handle) as port:
        transport, listener = await picows.ws_connect(
            lambda: FrameListener(
                sink,
                max_message_bytes=limit,
                inflater=inflater,
                fast=fast if ahead else None,
                answered=answered,
            ),
            f"ws://127.0.0.1:{port}/",
            enable_auto_pong=False,
            max_frame_size=limit + (limit >> 3) + 64,
        )
        try:
            await until(lambda: bool(peers), "the peer is up")
            yield Link(sink, transport, listener, peers[0])
        finally:
            transport.disconnect(False)
            finished.set()
            await until(lambda: "gone" in sink.names(), "gone told")
            assert sink.names()[-1] == "gone"
            assert sink.names().count("gone") == 1


# --- whole messages ---------------------------------------------------------------

texts = st.text(max_size=40) | st.text("aé€😀", min_size=60, max_size=140)
blobs = st.binary(max_size=300)


@st.composite
def conversations(draw: Any) -> tuple[list[str | bytes], int, bytes]:
    """Messages, the frames they take, and the bytes they are on the wire."""
    messages: list[str | bytes] = draw(st.lists(texts | blobs, max_size=8))
    wire, frames = bytearray(), 0

    def control() -> None:
        nonlocal frames
        for payload in draw(st.lists(st.binary(max_size=8), max_size=1)):
            wire.extend(frame(draw(st.sampled_from([PING, PONG])), payload))
            frames += 1

    for message in messages:
        control()
        text = isinstance(message, str)
        payload = message.encode() if isinstance(message, str) else message
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        bounds = [0, *cuts, len(payload)]
        for number, (start, end) in enumerate(pairwise(bounds)):
            if number:
                control()
            opcode = CONTINUATION if number else TEXT if text else BINARY
            last = number == len(cuts)
            wire += frame(opcode, payload[start:end], FIN if last else 0)
            frames += 1
    control()
    return messages, frames, bytes(wire)


@both_ways
@settings(max_examples=60, deadline=None)
@given(conversation=conversations(), data=st.data())
def test_any_fragments_pings_and_chunks_give_the_same_messages_in_order(
    limit: int, conversation: tuple[list[str | bytes], int, bytes], data: Any
) -> None:
    messages, frames, wire = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    chunks = [
        wire[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
    ]

    async def main() -> None:
        # Which reads go past the sink must make no difference.
        goes = cycle(data.draw(st.lists(st.booleans(), min_size=1, max_size=4)))
        async with linked(
            limit=limit, early=chunks[0], ahead=lambda: next(goes)
        ) as link:
            sink = link.sink
            await link.peer.write(*filter(None, chunks[1:]))
            await until(lambda: sink.frames >= frames, "all frames")
            assert sink.data == messages
            assert sink.frames == frames
            assert sink.size_bytes == len(wire)
            assert sink.ends() == []

    run("asyncio", main())


@both_loops
@both_ways
def test_one_read_is_one_batch(loop: str, limit: int) -> None:
    async def main() -> None:
        async with linked(limit=limit) as link:
            await link.peer.write(frame(TEXT, b"first"))
            await until(lambda: link.sink.frames == 1, "the first")
            wire = b"".join(frame(TEXT, b"%d" % n) for n in range(50))
            await link.peer.write(wire + frame(BINARY, b"\x00\xff") + frame(PONG))
            await until(lambda: link.sink.frames == 53, "the rest")
            assert link.sink.reads == 2
            assert link.sink.data == ["first", *map(str, range(50)), b"\x00\xff"]

    run(loop, main())


@both_loops
@both_ways
def test_messages_of_every_length_of_header_arrive(loop: str, limit: int) -> None:
    sizes = [0, 1, 125, 126, 127, 255, 256, 32_767, limit - 1, limit]
    sizes += [65_535, 65_536] if limit > 65_536 else []
    messages = [f"{n}:".ljust(n, "x")[:n] for n in sizes]

    async def main() -> None:
        async with linked(limit=limit) as link:
            wire = b"".join(frame(TEXT, message.encode()) for message in messages)
            await link.peer.write(wire[:70_001], wire[70_001:])
            await until(lambda: link.sink.frames == len(messages), "all of them")
            assert link.sink.data == messages
            assert link.sink.size_bytes == len(wire)

    run(loop, main())


PASSAGE = [
    frame(TEXT, b""),
    frame(BINARY, b""),
    frame(TEXT, "å€😀".encode()),
    frame(BINARY, b"\x81\x02"),
    frame(TEXT, b"x" * 130),
    frame(PING, b"p"),
    frame(TEXT, "ä".encode() * 70, 0),
    frame(CONTINUATION, b"end"),
    frame(BINARY, b"\xff" * 126),
    frame(TEXT, b"y"),
]
PASSAGE_MESSAGES = ["", b"", "å€😀", b"\x81\x02", "x" * 130, "ä" * 70 + "end"]
PASSAGE_MESSAGES += [b"\xff" * 126, "y"]


@both_ways
def test_a_read_may_end_anywhere(limit: int) -> None:
    """Each place to cut; the frame before opens the short way, where there is one."""
    wire = b"".join(PASSAGE)

    async def main() -> None:
        async with linked(limit=limit) as link:
            for cut in range(1, len(wire)):
                link.sink.data.clear()
                link.sink.frames = link.sink.size_bytes = 0
                link.read(wire[:cut], wire[cut:])
                assert link.sink.data == PASSAGE_MESSAGES, cut
                assert link.sink.frames == len(PASSAGE)
                assert link.sink.size_bytes == len(wire)

    run("asyncio", main())


@both_ways
def test_a_message_may_arrive_one_byte_at_a_time(limit: int) -> None:
    wire = b"".join(PASSAGE)

    async def main() -> None:
        async with linked(limit=limit) as link:
            for _ in range(2):
                link.read(*(bytes((byte,)) for byte in wire))
            assert link.sink.data == PASSAGE_MESSAGES * 2
            assert link.sink.size_bytes == 2 * len(wire)

    run("asyncio", main())


def test_connections_of_one_loop_do_not_read_into_each_others_messages() -> None:
    wire = b"".join(PASSAGE)

    async def main() -> None:
        async with linked() as one, linked() as other:
            for at in range(len(wire)):
                one.read(wire[at : at + 1])
                if rest := wire[3 * at : 3 * at + 3]:
                    other.read(rest)
            assert one.sink.data == other.sink.data == PASSAGE_MESSAGES

    run("asyncio", main())


def test_a_whole_message_in_the_midst_of_fragments_is_a_violation() -> None:
    async def main() -> None:
        async with linked() as link:
            link.read(frame(TEXT, b"a"), frame(TEXT, b"x", 0), frame(TEXT, b"y"))
            assert link.sink.names() == ["open", "batch", "batch", "broken"]
            assert link.sink.data == ["a"]

    run("asyncio", main())


def test_plain_reads_go_past_the_sink_until_that_is_shut() -> None:
    async def main() -> None:
        async with linked(ahead=lambda: True) as link:
            link.read(frame(TEXT, b"0"))  # picows may hold part of a frame: its turn
            link.read(frame(TEXT, b"a"), frame(TEXT, b"b") + frame(TEXT, b"c"))
            link.read(frame(TEXT, b"d") + frame(PONG))
            assert link.sink.names() == ["open", "batch", "pong", "batch"]
            link.listener.shut()
            link.read(frame(TEXT, b"e"))
            assert link.sink.names()[-2:] == ["batch", "batch"]
            assert link.sink.data == ["0", "a", "b", "c", "d", "e"]

    run("asyncio", main())


def test_who_fails_past_the_sink_is_reported_loudly_and_the_link_aborted() -> None:
    def fail() -> bool:
        raise RuntimeError("past the sink")

    async def main() -> None:
        told: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        async with linked(ahead=fail) as link:
            link.read(frame(TEXT, b"0"), frame(TEXT, b"a"))
            await link.told("gone")
            assert "past the sink" in str(told[0]["exception"])

    run("asyncio", main())


@both_ways
def test_many_reads_full_to_the_brim_lose_nothing(limit: int) -> None:
    count = 20_000
    wire = b"".join(frame(TEXT, b"%d" % n + b" " * (n % 300)) for n in range(count))

    async def main() -> None:
        async with linked(limit=limit) as link:
            link.peer.writer.write(wire)
            await until(lambda: link.sink.frames == count, "all of them")
            numbers = [int(data) for data in link.sink.data]
            assert numbers == list(range(count))
            assert link.sink.size_bytes == len(wire)

    run("asyncio", main())


# --- control frames ---------------------------------------------------------------


@both_loops
@both_ways
def test_a_ping_is_answered_at_once_and_counted(loop: str, limit: int) -> None:
    async def main() -> None:
        async with linked(limit=limit) as link:
            await link.peer.write(
                frame(TEXT, b"a", 0) + frame(PING, b"now") + frame(0, b"b")
            )
            assert await link.peer.read() == (FIN | PONG, b"now")
            await until(lambda: link.sink.frames == 3, "three frames")
            assert link.sink.data == ["ab"]

    run(loop, main())


def test_a_pong_is_told_before_the_data_of_its_read() -> None:
    async def main() -> None:
        async with linked() as link:
            await link.peer.write(frame(TEXT, b"a") + frame(PONG, b"7"))
            await until(lambda: link.sink.frames == 2, "both")
            assert link.sink.told == [("open",), ("pong", b"7"), ("batch", ["a"])]

    run("asyncio", main())


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
def test_a_read_that_is_one_pong_is_offered_and_no_other(taken: bool) -> None:
    offered: list[bytes] = []

    def answered(payload: bytes) -> bool:
        offered.append(payload)
        return taken

    async def main() -> None:
        async with linked(answered=answered) as link:
            link.read(frame(TEXT, b"0"))  # picows may hold part of a frame: its turn
            link.read(frame(PONG, b"1"), frame(PONG))
            assert offered == [b"1", b""]
            pongs = [told[1] for told in link.sink.told if told[0] == "pong"]
            assert pongs == ([] if taken else offered)
            assert link.sink.frames == (1 if taken else 3)
            begun = frame(TEXT, b"abc")
            link.read(begun[:3], begun[3:] + frame(PONG, b"2"))
            link.read(frame(PONG, b"3") * 2, frame(PONG, b"4")[:2])
            link.read(frame(PONG, b"4")[2:], frame(PING))
            assert offered == [b"1", b""]
            link.listener.shut()
            link.read(frame(PONG, b"5"))
            assert offered == [b"1", b""]
            pongs = [told[1] for told in link.sink.told if told[0] == "pong"]
            assert pongs[-5:] == [b"2", b"3", b"3", b"4", b"5"]
            assert link.sink.data == ["0", "abc"]

    run("asyncio", main())


def test_of_pings_that_come_while_the_pipe_is_full_the_last_is_answered() -> None:
    async def main() -> None:
        async with linked() as link:
            link.listener.pause_writing()
            await link.peer.write(*(frame(PING, b"%d" % n) for n in range(5)))
            await until(lambda: link.sink.frames == 5, "five pings")
            link.listener.resume_writing()
            link.listener.close(1000)
            assert await link.peer.read() == (FIN | PONG, b"4")
            assert (await link.peer.read())[0] == FIN | CLOSE

    run("asyncio", main())


@both_loops
@both_ways
@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 3000, 4001, 4999])
def test_a_close_is_answered_with_its_code_and_told_once(
    loop: str, limit: int, code: int
) -> None:
    async def main() -> None:
        async with linked(limit=limit) as link:
            wire = frame(TEXT, b"last") + close_frame(code, "für immer".encode())
            late = frame(TEXT, b"too late") + frame(PONG) + close_frame(1000)
            await link.peer.write(wire + late)
            assert await link.peer.read() == (FIN | CLOSE, code.to_bytes(2, "big"))
            await link.told("closing")
            # The connection may be gone by now; then nothing can be too late.
            with contextlib.suppress(ConnectionError):
                too_late = frame(TEXT, b"too late")
                await link.peer.write(too_late, frame(PING), frame(PONG))
            link.peer.writer.close()
            await link.told("gone")
            assert link.sink.data == ["last"]
            assert link.sink.frames == 2
            assert link.sink.ends() == [("closing", code, "für immer"), ("gone",)]
            assert "pong" not in link.sink.names()

    run(loop, main())


def test_a_close_without_a_code_is_1005_and_answered_with_1000() -> None:
    async def main() -> None:
        async with linked() as link:
            await link.peer.write(frame(CLOSE))
            assert await link.peer.read() == (FIN | CLOSE, b"\x03\xe8")
            assert await link.told("closing") == ("closing", 1005, "")

    run("asyncio", main())


def test_after_our_close_data_still_arrives_until_the_peer_answers() -> None:
    async def main() -> None:
        async with linked() as link:
            link.listener.close(4000, "ü" * 100)
            link.listener.close(1000)
            first, payload = await link.peer.read()
            assert first == FIN | CLOSE
            assert payload == b"\x0f\xa0" + "ü".encode() * 61
            await link.peer.write(frame(TEXT, b"still"), close_frame(4000))
            assert await link.told("closing") == ("closing", 4000, "")
            assert link.sink.data == ["still"]

    run("asyncio", main())


# --- what breaks a rule -----------------------------------------------------------

LONG = PLAIN + 1
VIOLATIONS: dict[str, tuple[bytes, int]] = {
    "text that is not UTF-8": (frame(TEXT, b"\xc3\x28"), 1007),
    "text cut in a code point": (frame(TEXT, "€".encode()[:2]), 1007),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "fragments that are not UTF-8": (
        frame(TEXT, b"\xe2", 0) + frame(PING) + frame(CONTINUATION, b"\x28"),
        1007,
    ),
    "RSV1 without an extension": (frame(TEXT, b"x", FIN | RSV1), 1002),
    "RSV2": (frame(BINARY, b"x", FIN | RSV2), 1002),
    "RSV3": (frame(TEXT, b"x", FIN | RSV3), 1002),
    "RSV1 on a ping": (frame(PING, b"x", FIN | RSV1), 1002),
    "RSV2 on a close": (frame(CLOSE, b"\x03\xe8", FIN | RSV2), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a continuation after the end": (
        frame(TEXT, b"x", 0) + frame(CONTINUATION) + frame(CONTINUATION),
        1002,
    ),
    "a text inside a text": (frame(TEXT, b"x", 0) + frame(TEXT, b"y"), 1002),
    "a binary inside a text": (frame(TEXT, b"x", 0) + frame(BINARY, b"y"), 1002),
    "fragments of too many bytes": (
        frame(BINARY, b"x" * PLAIN, 0) + frame(CONTINUATION, b"x"),
        1009,
    ),
    "one frame of too many bytes": (frame(BINARY, b"x" * LONG), 1009),
    "a frame announced far too large": (
        b"\x82\x7f" + (1 << 40).to_bytes(8, "big"),
        1009,
    ),
    "close code 1006": (close_frame(1006), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "close code 0": (close_frame(0), 1002),
    "close code 2999": (close_frame(2999), 1002),
    "close code 5000": (close_frame(5000), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1002),
    "a close reason that is not UTF-8": (close_frame(1000, b"\xff"), 1007),
    "an unknown opcode": (frame(3, b"x"), 1002),
    "an unknown control opcode": (frame(11, b"x"), 1002),
    "a fragmented ping": (frame(PING, b"x", 0), 1002),
    "a ping too long": (frame(PING, b"x" * 126), 1002),
    "a masked frame": (b"\x81\x81\x00\x00\x00\x00x", 1002),
    "a length not in its shortest form": (b"\x81\x7e\x00\x05hello", 1002),
    "a length of 64 bits for a few": (b"\x81\x7f" + bytes(7) + b"\x05hello", 1002),
}


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "behind a message"])
@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_violation_is_answered_with_its_code_and_told(what: str, alone: bool) -> None:
    wire, code = VIOLATIONS[what]

    async def main() -> None:
        async with linked() as link:
            # A message of its own read first, so that the short way is open.
            await link.peer.write(frame(TEXT, b"before"))
            await until(lambda: link.sink.frames == 1, "the message before")
            sound = b"" if alone else frame(TEXT, b"sound")
            await link.peer.write(sound + wire)
            await link.peer.write(frame(TEXT, b"after"))
            while (answer := await link.peer.read())[0] != FIN | CLOSE:
                assert answer[0] == FIN | PONG
            assert int.from_bytes(answer[1][:2], "big") == code
            cause = Cause.TOO_BIG if code == 1009 else Cause.PROTOCOL
            assert (await link.told("broken"))[1] is cause
            whole = ["before"] if alone else ["before", "sound"]
            if what == "a continuation after the end":
                whole.append("x")
            assert link.sink.data == whole
            assert "closing" not in link.sink.names()
        assert [told[0] for told in link.sink.ends()] == ["broken", "gone"]

    run("asyncio", main())


@both_loops
def test_what_picows_finds_wrong_leaves_no_complaint_behind(loop: str) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        async with linked() as link:
            await link.peer.write(frame(3))
            await link.told("broken")
            # picows ends the connection by itself.
            await link.told("gone")

    run(loop, main())
    assert complaints == []


@both_ways
def test_a_violation_along_with_the_upgrade_is_told_too(limit: int) -> None:
    async def main() -> None:
        async with linked(limit=limit, early=frame(TEXT, b"a") + frame(3)) as link:
            await link.told("broken")
            assert link.sink.names()[:3] == ["open", "batch", "broken"]

    run("asyncio", main())


@pytest.mark.parametrize("place", ["open", "batch", "pong", "closing", "broken"])
def test_a_failing_sink_is_reported_loudly_and_the_link_aborted(place: str) -> None:
    reported: list[Any] = []
    wire = {
        "open": b"",
        "batch": frame(TEXT, b"x"),
        "pong": frame(PONG),
        "closing": close_frame(1000),
        "broken": frame(CONTINUATION),
    }[place]

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context.get("exception"))
        )
        async with linked(fails_on=place) as link:
            await link.peer.write(wire + frame(TEXT, b"y"))
            await link.told("gone")
            assert link.sink.names().count(place) == 1

    run("asyncio", main())
    assert [type(error) for error in reported] == [ValueError]


# --- compression ------------------------------------------------------------------


def compressor() -> Callable[[bytes], bytes]:
    compress = zlib.compressobj(wbits=-15)

    def deflate(data: bytes) -> bytes:
        whole = compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH)
        return whole.removesuffix(b"\x00\x00\xff\xff")

    return deflate


@both_loops
@both_ways
def test_compressed_and_plain_messages_mix_whole_and_in_fragments(
    loop: str, limit: int
) -> None:
    deflate = compressor()
    first, second, third = (
        deflate(data) for data in (b"abc" * 99, b"abc", "€".encode())
    )
    wire = (
        frame(TEXT, first, FIN | RSV1)
        + frame(TEXT, b"plain")
        + frame(BINARY, second[:1], RSV1)
        + frame(PING)
        + frame(CONTINUATION, second[1:])
        + frame(TEXT, b"plain")
        + frame(TEXT, third, FIN | RSV1)
    )

    async def main() -> None:
        async with linked(limit=limit, inflater=Inflater()) as link:
            await link.peer.write(wire[:40], wire[40:])
            await until(lambda: link.sink.frames == 7, "all frames")
            assert link.sink.data == ["abc" * 99, "plain", b"abc", "plain", "€"]

    run(loop, main())


def test_the_limit_is_of_the_message_where_compression_makes_it_larger() -> None:
    message = random.Random(1).randbytes(PICOWS_ONLY)
    payload = compressor()(message)
    assert len(payload) > PICOWS_ONLY

    async def main() -> None:
        async with linked(limit=PICOWS_ONLY, inflater=Inflater()) as link:
            await link.peer.write(frame(BINARY, payload, FIN | RSV1))
            await until(lambda: link.sink.frames == 1, "the message")
            assert link.sink.data == [message]

    run("asyncio", main())


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(TEXT, b"\xff\xff\xff", FIN | RSV1), 1002),
        (frame(TEXT, compressor()(b"\xff"), FIN | RSV1), 1007),
        (frame(BINARY, compressor()(bytes(PLAIN + 1)), FIN | RSV1), 1009),
        (frame(TEXT, b"x", 0) + frame(CONTINUATION, b"", FIN | RSV1), 1002),
        (frame(PING, b"x", FIN | RSV1), 1002),
    ],
    ids=["not deflated", "not UTF-8", "a bomb", "RSV1 in a continuation", "on a ping"],
)
def test_a_bad_compressed_message_ends_the_link(wire: bytes, code: int) -> None:
    async def main() -> None:
        async with linked(inflater=Inflater()) as link:
            await link.peer.write(wire)
            _, payload = await link.peer.read()
            assert int.from_bytes(payload[:2], "big") == code
            cause = Cause.TOO_BIG if code == 1009 else Cause.PROTOCOL
            assert (await link.told("broken"))[1] is cause

    run("asyncio", main())


# --- the server's side ------------------------------------------------------------


@both_loops
def test_a_server_reads_masked_frames(loop: str) -> None:
    sink = Sink()

    async def main() -> None:
        server = await picows.ws_create_server(
            lambda _: FrameListener(sink, max_message_bytes=PLAIN, inflater=None),
            "127.0.0.1",
            0,
            enable_auto_pong=False,
        )
        port = server.sockets[0].getsockname()[1]
        transport, _ = await picows.ws_connect(
            picows.WSListener, f"ws://127.0.0.1:{port}/"
        )
        transport.send(picows.WSMsgType.TEXT, "å" * 100)
        transport.send(picows.WSMsgType.BINARY, b"x" * 3)
        await until(lambda: sink.frames == 2, "both messages")
        assert sink.data == ["å" * 100, b"xxx"]
        assert sink.size_bytes == (4 + 4 + 200) + (2 + 4 + 3)
        transport.disconnect(False)
        await until(lambda: "gone" in sink.names(), "gone told")
        server.close()

    run(loop, main())
