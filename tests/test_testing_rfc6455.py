"""The kit's own server codec, against the text of RFC 6455 and arbitrary cuts."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faulty_peer import UPGRADE
from heartline.testing.rfc6455 import (
    Frame,
    FrameReader,
    Opcode,
    Violation,
    acceptance,
    close_code,
    close_payload,
    frame,
    parse_request,
    refusal,
)


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """One frame as a client writes it; plain loops, to be seen to be right."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes([opcode | rsv | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Opcode.BINARY, Opcode.PING, Opcode.PONG]),
            st.binary(max_size=125) | st.sampled_from([b"x" * 126, b"y" * 70_000]),
        ),
        max_size=6,
    ),
    st.lists(st.integers(1, 200), min_size=1, max_size=20),
)
def test_however_the_bytes_are_cut_the_frames_are_the_same(frames, cuts) -> None:
    sent = [
        Frame(op if len(payload) < 126 else Opcode.BINARY, payload)
        for op, payload in frames
    ]
    stream = b"".join(masked(one.opcode, one.payload) for one in sent)
    reader, got, at, turn = FrameReader(), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)] * (1 if at < 2000 else 500)
        got += reader.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert got == sent


def test_fragments_are_joined_around_control_frames() -> None:
    stream = (
        masked(0x1, "p€"[:1].encode() + b"\xe2", fin=False)
        + masked(0x9, b"?")
        + masked(0x0, b"\x82\xac")
    )
    assert FrameReader().feed(stream) == [
        Frame(Opcode.PING, b"?"),
        Frame(Opcode.TEXT, "p€".encode()),
    ]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"\x81\x02hi", 1002),
        (masked(0x1, b"x", rsv=0x40), 1002),
        (masked(0x3, b""), 1002),
        (masked(0xB, b""), 1002),
        (masked(0x9, b"x" * 126), 1002),
        (masked(0x9, b"", fin=False), 1002),
        (masked(0x0, b"x"), 1002),
        (masked(0x1, b"x", fin=False) + masked(0x1, b"x"), 1002),
        (masked(0x1, b"\xff"), 1007),
        (masked(0x2, b"x" * 101), 1009),
        (masked(0x2, b"x" * 60, fin=False) + masked(0x0, b"x" * 60), 1009),
    ],
    ids=range(11),  # the masks in the bytes are drawn anew in every process
)
def test_a_violation_has_the_code_of_the_standard(stream: bytes, code: int) -> None:
    with pytest.raises(Violation) as violation:
        FrameReader(max_message_bytes=100).feed(stream)
    assert violation.value.code == code


def test_close_bodies() -> None:
    assert close_code(close_payload(1001, "bye")) == (1001, "bye")
    assert close_code(close_payload(1005)) == (1005, "")
    for body, code in ((b"\x03", 1002), (b"\x03\xe8\xff", 1007)):
        with pytest.raises(Violation) as violation:
            close_code(body)
        assert violation.value.code == code


def test_a_servers_frame_has_the_shortest_length() -> None:
    assert frame(Opcode.TEXT, b"a" * 125)[:2] == b"\x81\x7d"
    assert frame(Opcode.BINARY, b"a" * 126)[:4] == b"\x82\x7e\x00\x7e"
    assert frame(Opcode.TEXT, b"a" * 65536, fin=False)[:10] == (
        b"\x01\x7f" + (65536).to_bytes(8, "big")
    )


def test_the_upgrade_of_the_standards_own_example() -> None:
    # RFC 6455 section 1.3.
    request = parse_request(
        UPGRADE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", b"dGhlIHNhbXBsZSBub25jZQ==")
    )
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in acceptance(
        request
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Host: x\r\n", b""),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"Version: 13", b"Version: 8"),
        (b"AAAA==", b"AAAA"),
        (b"Host: x", b"Host x"),
    ],
)
def test_an_upgrade_without_what_it_needs_is_refused(old: bytes, new: bytes) -> None:
    assert old in UPGRADE
    with pytest.raises(Violation) as violation:
        parse_request(UPGRADE.replace(old, new))
    assert violation.value.code == 400


def test_a_refusal_says_its_length() -> None:
    assert refusal(503, {"Retry-After": "2"}, "später") == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 7\r\n"
        b"Connection: close\r\n\r\nsp\xc3\xa4ter"
    )
    assert refusal(599, {}).startswith(b"HTTP/1.1 599 Refused\r\n")
