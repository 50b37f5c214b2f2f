"""The evidence of the kernel, checked against what was really done to the link."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from heartline.core.evidence import Evidence, Kernel
from heartline.testing.halfopen import available, drop_inbound
from heartline.wire.kernel import KEEPALIVE_COUNT, KernelEyes, harden
from heartline.wire.kernel_darwin import INFO, DarwinReader
from loopback import (
    both_loops,
    make_ears,
    open_sockets,
    run,
    server_tls,
    serving,
    trusting,
    try_dial,
    upgrading,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def eventually(condition: Callable[[], bool], what: str, deadline: float = 5.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.005)


def kernel_of(eyes: KernelEyes) -> Kernel:
    kernel = eyes.read().kernel
    assert kernel is not None
    return kernel


@linux_only
def test_a_fresh_connection_has_just_been_heard(pair: Pair) -> None:
    for sock in pair:
        eyes = KernelEyes(sock, lambda: 0)
        kernel = kernel_of(eyes)
        eyes.close()
        assert kernel.segments_in >= 1
        assert 0.0 <= kernel.heard_age < 0.5
        assert kernel.outstanding_bytes == kernel.unsent_bytes == 0
        assert kernel.unacked_segments == 0
        assert 0 < kernel.round_trip < 0.5
        assert 0 < kernel.min_round_trip <= kernel.round_trip + 1e-6
        assert kernel.send_window_bytes is None or kernel.send_window_bytes > 0


@linux_only
def test_silence_ages_and_a_segment_makes_it_young(pair: Pair) -> None:
    ours, theirs = pair
    eyes = KernelEyes(ours, lambda: 0)
    for sent in range(1, 4):
        # Data on the kernel's fast path does not renew the age of the last ack.
        eventually(lambda: kernel_of(eyes).heard_age >= 0.1, "an age of 0.1 s")
        began, before = time.monotonic(), kernel_of(eyes)
        theirs.send(b"x" * 7)
        total = 7 * sent
        eventually(lambda total=total: eyes.read().unread_bytes == total, "it arrives")
        after = kernel_of(eyes)
        assert after.heard_age < time.monotonic() - began + 0.05, "not renewed"
        assert after.segments_in > before.segments_in
        assert after.received_bytes == before.received_bytes + 7
    eventually(lambda: kernel_of(eyes).heard_age >= 0.1, "an age of 0.1 s")
    ours.send(b"y")  # its acknowledgement is a sign of life as well
    eventually(lambda: kernel_of(eyes).heard_age < 0.1, "the acknowledgement")
    eyes.close()


def sent_age_of(eyes: KernelEyes) -> float:
    age = kernel_of(eyes).sent_age
    assert age is not None
    return age


@linux_only
def test_what_comes_makes_what_we_sent_no_younger(pair: Pair) -> None:
    ours, theirs = pair
    eyes = KernelEyes(ours, lambda: 0)
    ours.send(b"y" * 100)
    eventually(lambda: sent_age_of(eyes) >= 0.1, "an age of 0.1 s")
    theirs.send(b"x" * 7)
    eventually(lambda: eyes.read().unread_bytes == 7, "it arrives")
    kernel = kernel_of(eyes)
    eyes.close()
    assert kernel.sent_age is not None
    assert kernel.heard_age < kernel.sent_age >= 0.1


@linux_only
@pytest.mark.skipif(available() is not None, reason=str(available()))
def test_what_is_sent_again_is_as_young_as_that(pair: Pair) -> None:
    ours, theirs = pair
    eyes = KernelEyes(ours, lambda: 0)
    drop_inbound(theirs)
    began = time.monotonic()
    ours.send(b"y" * 100)
    # It is sent again after 0.2 s, and at doubling intervals: however late the look.
    for many, after in ((1, 0.2), (2, 0.4)):
        eventually(
            lambda many=many: kernel_of(eyes).total_retransmits >= many, "a resend"
        )
        assert sent_age_of(eyes) < time.monotonic() - began - after + 0.02
    eyes.close()


@linux_only
def test_what_is_acknowledged_is_no_longer_outstanding(pair: Pair) -> None:
    ours, _ = pair
    eyes = KernelEyes(ours, lambda: 0)
    before = kernel_of(eyes)
    ours.send(b"y" * 100)
    eventually(lambda: kernel_of(eyes).outstanding_bytes == 0, "acknowledged")
    assert kernel_of(eyes).acked_bytes == before.acked_bytes + 100
    eyes.close()


@linux_only
def test_the_transports_own_buffer_counts_as_unsent(pair: Pair) -> None:
    eyes = KernelEyes(pair[0], lambda: 12345)
    kernel = kernel_of(eyes)
    eyes.close()
    assert (kernel.outstanding_bytes, kernel.unsent_bytes) == (12345, 12345)


@linux_only
def test_a_reader_that_never_reads_closes_its_window_and_answers_probes() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        server.bind(("127.0.0.1", 0))
        server.listen()
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        ours.setblocking(False)
        eyes = KernelEyes(ours, lambda: 0)
        try:
            while True:
                ours.send(b"z" * 65536)
        except BlockingIOError:
            pass
        eventually(lambda: kernel_of(eyes).send_window_bytes == 0, "a closed window")
        stuck = kernel_of(eyes)
        assert stuck.unsent_bytes > 0
        assert stuck.outstanding_bytes >= stuck.unsent_bytes
        eventually(
            lambda: kernel_of(eyes).segments_in >= stuck.segments_in + 2,
            "two window probes are answered",
        )
        assert kernel_of(eyes).send_window_bytes == 0
        eyes.close()


@linux_only
def test_a_link_that_is_gone_gives_no_evidence_and_no_exception(pair: Pair) -> None:
    ours, theirs = pair
    eyes = KernelEyes(ours, lambda: 0)
    linger = struct.pack("ii", 1, 0)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    theirs.close()
    eventually(lambda: eyes.read().kernel is None, "the reset is seen")
    ours.close()
    assert eyes.read().kernel is None
    eyes.close()
    assert eyes.read() == Evidence()
    with pytest.raises(OSError, match="descriptor"):
        KernelEyes(ours, lambda: 0)


@linux_only
def test_eyes_outlive_the_transports_socket_and_hold_one_descriptor(
    pair: Pair,
) -> None:
    before = open_sockets()
    eyes = KernelEyes(pair[0], lambda: 0)
    assert len(open_sockets() - before) == 1
    pair[0].close()
    assert eyes.read().kernel is not None
    eyes.close()
    assert open_sockets() < before


def test_a_socket_that_is_not_tcp_gives_no_evidence() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        eyes = KernelEyes(ours, lambda: 0)
        assert eyes.read().kernel is None
        eyes.close()


def test_a_system_without_evidence_says_so(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd14")
    eyes = KernelEyes(pair[0], lambda: 0)
    assert eyes.read() == Evidence(kernel=None, unread_bytes=0)
    eyes.close()


@linux_only
@pytest.mark.parametrize(
    ("size", "segments", "usable", "window", "behind"),
    [
        (232, 5, True, 77, 3),
        (192, 5, True, None, 0),
        (104, 5, False, None, 0),
        (232, 0, False, 0, 0),
    ],
)
def test_old_and_imitated_kernels_are_taken_for_what_they_are(
    size: int, segments: int, usable: bool, window: int | None, behind: int
) -> None:
    raw = bytearray(256)
    raw[0] = 1
    struct.pack_into("=I", raw, 140, segments)
    struct.pack_into("=I", raw, 224, 3)
    struct.pack_into("=I", raw, 228, 77)

    class Old(socket.socket):
        def getsockopt(self, *args: int) -> bytes:  # type: ignore[override]
            return bytes(raw[:size])

    with Old() as sock:
        eyes = KernelEyes(sock, lambda: 0)
        eyes.close()
        eyes._sock = sock
        kernel = eyes.read().kernel
        assert (kernel is not None) == usable
        assert kernel is None or kernel.send_window_bytes == window
        assert kernel is None or kernel.out_of_order == behind


@linux_only
@pytest.mark.parametrize(("idle", "patience_ms"), [(1, 30_000), (10, 100_000)])
def test_harden_sets_what_the_system_has(
    pair: Pair, idle: int, patience_ms: int
) -> None:
    sock = pair[0]
    harden(sock, keepalive_idle=idle)
    tcp = socket.IPPROTO_TCP
    assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == idle
    assert sock.getsockopt(tcp, socket.TCP_KEEPINTVL) == idle
    assert sock.getsockopt(tcp, socket.TCP_KEEPCNT) == KEEPALIVE_COUNT
    assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == patience_ms
    with pytest.raises(OSError, match="Invalid argument"):
        harden(sock, keepalive_idle=0)
    sock.close()
    harden(sock, keepalive_idle=idle)  # gone: left as it is


@linux_only
@both_loops
@pytest.mark.parametrize("secure", [False, True])
def test_every_transport_can_be_looked_at(loop: str, secure: bool) -> None:
    async def main() -> Evidence:
        tls = server_tls("localhost") if secure else None
        async with serving(upgrading([]), tls=tls) as port:
            transport = await try_dial(
                f"{'wss' if secure else 'ws'}://localhost:{port}/",
                listener=make_ears,
                ssl_context=trusting() if secure else None,
            )
            under = transport.underlying_transport
            sock = under.get_extra_info("socket")
            harden(sock, keepalive_idle=1)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 1
            eyes = KernelEyes(sock, under.get_write_buffer_size)
            evidence = eyes.read()
            under.abort()
            await transport.wait_disconnected()
            eyes.close()
            return evidence

    kernel = run(loop, main()).kernel
    assert kernel is not None
    assert kernel.heard_age < 0.5
    assert kernel.received_bytes > 100


@linux_only
def test_a_look_is_cheap(pair: Pair) -> None:
    """Measured at 1.5 us; the limit allows for a machine shared with others."""
    eyes = KernelEyes(pair[0], lambda: 0)
    best = float("inf")
    for _ in range(30):
        began = time.perf_counter()
        for _ in range(200):
            eyes.read()
        best = min(best, (time.perf_counter() - began) / 200)
    eyes.close()
    assert best < 10e-6, f"{best * 1e6:.1f} us"


def test_macos_is_read_as_its_header_says() -> None:
    """Against made-up answers: the layout of tcp_connection_info, 112 bytes."""
    clock = [100.0]

    class Mac:
        answer = b""

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option, size) == (socket.IPPROTO_TCP, 0x106, 112)
            return self.answer

    def answer(segments: int, *, state: int = 4) -> bytes:
        words = (8, 0, 0, 1448, 0, 0, 65535, 300, 131072, 20, 21, 5, 0)
        counts = (9, 1300, 0, segments, 2000, 0, 2)
        return struct.pack("=BBBx13I7Q", state, 6, 6, *words, *counts)

    sock = Mac()
    read = DarwinReader(clock=lambda: clock[0])
    sock.answer = answer(40)
    first = read(sock, 50)  # type: ignore[arg-type]
    clock[0] = 102.5
    second = read(sock, 0)  # type: ignore[arg-type]
    sock.answer = answer(41)
    third = read(sock, 0)  # type: ignore[arg-type]
    assert INFO.size == 112
    assert first == Kernel(
        segments_in=40,
        heard_age=0.0,
        unacked_segments=1,
        outstanding_bytes=350,
        unsent_bytes=50,
        acked_bytes=1000,
        received_bytes=2000,
        retransmits=0,
        total_retransmits=2,
        probes_unanswered=0,
        round_trip=0.021,
        round_trip_deviation=0.005,
        min_round_trip=0.021,
        send_window_bytes=65535,
    )
    assert second is not None
    assert second.heard_age == 2.5
    assert third is not None
    assert third.heard_age == 0.0
    sock.answer = answer(41, state=0)
    assert read(sock, 0) is None  # type: ignore[arg-type]
    sock.answer = b""
    assert read(sock, 0) is None  # type: ignore[arg-type]
