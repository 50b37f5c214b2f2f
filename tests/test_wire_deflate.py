"""permessage-deflate against zlib itself, and against another library's server."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from heartline.core.items import Cause
from heartline.errors import WireError
from heartline.wire.deflate import Deflater, Deflation, Inflater, negotiate
from loopback import both_loops, run, try_dial, until

TAIL = b"\x00\x00\xff\xff"
LIMIT = 1 << 20

bits = st.integers(8, 15)
# Repeated words give references, random bytes give stored blocks.
message = st.one_of(
    st.binary(max_size=2000),
    st.builds(
        lambda words, times: b"".join(words) * times,
        st.lists(st.sampled_from([b'{"bid":', b"1.234", b"BTC-USD", b"\x00"])),
        st.integers(1, 300),
    ),
)
conversation = st.lists(message, min_size=1, max_size=6)


@given(conversation, bits, st.booleans())
def test_what_is_deflated_inflates_to_itself(
    said: list[bytes], bits: int, takeover: bool
) -> None:
    deflater = Deflater(bits=bits, takeover=takeover)
    inflater = Inflater(bits=bits)
    for data in said:
        assert inflater.inflate(deflater.deflate(data), max(len(data), 1)) == data


@given(conversation, bits)
def test_zlib_with_the_agreed_window_reads_what_we_deflate(
    said: list[bytes], bits: int
) -> None:
    """A window of 256 bytes, which zlib cannot write, included."""
    deflater = Deflater(bits=bits)
    plain = zlib.decompressobj(-bits)
    for data in said:
        assert plain.decompress(deflater.deflate(data) + TAIL) == data


@given(conversation, st.booleans(), st.integers(9, 15), st.data())
def test_we_read_whatever_zlib_flushes_however_it_is_cut(
    said: list[bytes], takeover: bool, bits: int, data: st.DataObject
) -> None:
    """Any level, strategy, memory and number of flushes inside one message."""
    inflater = Inflater(bits=bits)

    def compressor() -> Any:
        return zlib.compressobj(
            data.draw(st.integers(0, 9)),
            zlib.DEFLATED,
            -bits,
            data.draw(st.integers(1, 9)),
            data.draw(st.sampled_from([0, 1, 2, 3, 4])),
        )

    encoder = compressor()
    for text in said:
        cut = data.draw(st.integers(0, len(text)))
        payload = encoder.compress(text[:cut]) + encoder.flush(zlib.Z_SYNC_FLUSH)
        payload += encoder.compress(text[cut:])
        payload += encoder.flush(data.draw(st.sampled_from([2, 3])))
        # What zlib ends in this flush it may have ended in the one before.
        payload = payload.removesuffix(TAIL)
        assert inflater.inflate(payload, max(len(text), 1)) == text
        if not takeover:
            encoder = compressor()


@given(conversation, st.integers(1, 4))
def test_final_blocks_inside_a_message_are_read(said: list[bytes], ends: int) -> None:
    """RFC 7692 section 7.2.3.4: a sender may end its stream, then adds one zero."""
    inflater = Inflater()
    for text in said:
        payload = b""
        for _ in range(ends):
            encoder = zlib.compressobj(wbits=-15)
            payload += encoder.compress(text) + encoder.flush()
        assert inflater.inflate(payload + b"\x00", LIMIT) == text * ends


def test_the_examples_of_the_rfc() -> None:
    """RFC 7692 section 7.2.3, one after the other."""
    hello = bytes.fromhex("f248cdc9c90700")
    inflater = Inflater()
    assert inflater.inflate(hello, 5) == b"Hello"
    assert inflater.inflate(bytes.fromhex("f200110000"), 5) == b"Hello"  # takeover
    stored = bytes.fromhex("000500faff48656c6c6f00")
    assert Inflater().inflate(stored, 5) == b"Hello"
    final = bytes.fromhex("f348cdc9c9070000")
    assert Inflater().inflate(final, 5) == b"Hello"
    two = bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", ""))
    assert Inflater().inflate(two, 5) == b"Hello"
    assert Deflater().deflate(b"") == b"\x00"
    assert Deflater().deflate(b"Hello") == hello


def test_empty_messages_are_one_byte_each_and_leave_the_window_alone() -> None:
    deflater, inflater = Deflater(), Inflater()
    for data in (b"abc" * 50, b"", b"", b"abc" * 50):
        assert inflater.inflate(deflater.deflate(data), LIMIT) == data


class Counting:
    """Stands in for zlib's decompressor, and keeps account of what it made."""

    made = 0
    objects = 0

    def __init__(self, wbits: int) -> None:
        self._real = REAL(wbits)
        Counting.objects += 1

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        assert max_length > 0, "0 would be without any limit"
        out = self._real.decompress(data, max_length)
        Counting.made += len(out)
        return out

    @property
    def eof(self) -> bool:
        return self._real.eof

    @property
    def unused_data(self) -> bytes:
        return self._real.unused_data


REAL = zlib.decompressobj


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("limit", [0, 1, 1000, 1 << 20])
def test_a_bomb_is_never_blown_up_beyond_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, final: bool
) -> None:
    encoder = zlib.compressobj(9, wbits=-15)
    bomb = encoder.compress(bytes(10 << 20))
    bomb += encoder.flush() if final else encoder.flush(zlib.Z_SYNC_FLUSH)[:-4]
    if final:
        bomb = bomb + bomb  # two streams: the limit is for the message
    assert len(bomb) < 32768
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    Counting.made = 0
    with pytest.raises(WireError) as caught:
        Inflater().inflate(bomb, limit)
    assert caught.value.cause == Cause.TOO_BIG
    assert Counting.made <= limit + 1


def test_the_limit_is_for_the_message_and_not_for_each_stream_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = zlib.compressobj(9, wbits=-15)
    stream = encoder.compress(bytes(900)) + encoder.flush()
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    Counting.made = 0
    with pytest.raises(WireError) as caught:
        Inflater().inflate(stream * 3, 1000)
    assert caught.value.cause == Cause.TOO_BIG
    assert Counting.made <= 1001


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_limit_is_exact(size: int, limit: int) -> None:
    payload = Deflater().deflate(bytes(size))
    if size <= limit:
        assert Inflater().inflate(payload, limit) == bytes(size)
    else:
        with pytest.raises(WireError) as caught:
            Inflater().inflate(payload, limit)
        assert caught.value.cause == Cause.TOO_BIG


def test_a_message_of_countless_streams_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two bytes end a stream; each would cost us a decompressor."""
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    Counting.objects = 0
    with pytest.raises(WireError) as caught:
        Inflater().inflate(b"\x03\x00" * 100_000, LIMIT)
    assert caught.value.cause == Cause.PROTOCOL
    assert Counting.objects < 20


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_garbage_is_an_answer_or_a_broken_protocol(garbage: bytes) -> None:
    outcome: object
    try:
        outcome = len(Inflater().inflate(garbage, 5000)) <= 5000
    except WireError as error:
        outcome = error.cause
    assert outcome in (True, Cause.PROTOCOL, Cause.TOO_BIG)


# --- negotiation ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        (None, None),
        (" ", None),
        ("permessage-deflate", Deflation()),
        (
            "Permessage-Deflate ; "
            "server_no_context_takeover;client_no_context_takeover",
            Deflation(server_takeover=False, client_takeover=False),
        ),
        (
            'permessage-deflate; server_max_window_bits="9"; client_max_window_bits=8',
            Deflation(server_bits=9, client_bits=8),
        ),
    ],
)
def test_a_good_answer_is_understood(
    answer: str | None, agreed: Deflation | None
) -> None:
    assert negotiate(answer) == agreed


@pytest.mark.parametrize(
    "answer",
    [
        "x-webkit-deflate-frame",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate, other",
        "permessage-deflate; mystery",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=\u0661\u0660",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate;",
    ],
)
def test_a_bad_answer_breaks_the_protocol(answer: str) -> None:
    with pytest.raises(WireError) as caught:
        negotiate(answer)
    assert caught.value.cause == Cause.PROTOCOL


@given(st.booleans(), st.booleans(), bits, bits, conversation)
def test_both_ends_of_an_agreement_understand_each_other(
    server: bool, client: bool, server_bits: int, client_bits: int, said: list[bytes]
) -> None:
    agreed = Deflation(
        server_takeover=server,
        client_takeover=client,
        server_bits=server_bits,
        client_bits=client_bits,
    )
    client_in, client_out = agreed.client_ends()
    server_in, server_out = agreed.server_ends()
    for data in said:
        assert server_in.inflate(client_out.deflate(data), LIMIT) == data
        assert client_in.inflate(server_out.deflate(data), LIMIT) == data


# --- interoperation ---------------------------------------------------------------


class Echo(WSListener):
    """Sends deflated messages, inflates what comes back."""

    def __init__(self, response: Any) -> None:
        agreed = negotiate(response.headers.get("Sec-WebSocket-Extensions"))
        assert agreed is not None
        self.agreed = agreed
        self.inflater, self.deflater = agreed.client_ends()
        self.heard: list[bytes] = []
        self.compressed = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        assert frame.fin
        if frame.msg_type == WSMsgType.TEXT:
            data = frame.get_payload_as_bytes()
            self.compressed += frame.rsv1
            inflated = self.inflater.inflate(data, LIMIT) if frame.rsv1 else data
            self.heard.append(inflated)

    def say(self, transport: WSTransport, text: bytes) -> None:
        transport.send(WSMsgType.TEXT, self.deflater.deflate(text), rsv1=True)


@both_loops
@pytest.mark.parametrize(
    ("server_bits", "client_bits", "no_takeover"),
    [(15, 15, False), (9, 9, False), (12, 10, True), (None, None, True)],
)
def test_a_websockets_server_and_we_understand_each_other(
    loop: str, server_bits: int | None, client_bits: int | None, no_takeover: bool
) -> None:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

    extension = ServerPerMessageDeflateFactory(
        server_no_context_takeover=no_takeover,
        client_no_context_takeover=no_takeover,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    said = [b'{"bid": 1.25, "ask": 1.26}' * n for n in (1, 40, 40, 0, 3000, 1)]

    async def echo(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(text)

    async def main() -> Echo:
        async with serve(
            echo, "127.0.0.1", 0, compression=None, extensions=[extension]
        ) as server:
            port = server.sockets[0].getsockname()[1]
            transport = await try_dial(
                f"ws://127.0.0.1:{port}/",
                listener=lambda request, response: (
                    ears.append(Echo(response)) or ears[0]
                ),
                compression=True,
            )
            for text in said:
                ears[0].say(transport, text)
            await until(lambda: len(ears[0].heard) == len(said), "all echoed")
            transport.underlying_transport.abort()
            await transport.wait_disconnected()
            return ears[0]

    ears: list[Echo] = []
    heard = run(loop, main())
    assert heard.heard == said
    assert heard.compressed == len(said)
    assert heard.agreed.server_takeover is not no_takeover
