"""Half-open connections, proved by what the kernel says of both ends."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop

from heartline.testing import halfopen
from heartline.testing.halfopen import available, drop_inbound, restore_inbound

needs_filters = pytest.mark.skipif(available() is not None, reason=str(available()))


class TcpInfo:
    """The few fields of struct tcp_info (linux/tcp.h) that prove the point."""

    def __init__(self, sock: socket.socket) -> None:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (self.unacked,) = struct.unpack_from("=I", raw, 24)
        (self.total_retrans,) = struct.unpack_from("=I", raw, 100)
        (self.segs_in,) = struct.unpack_from("=I", raw, 140)


def eventually(condition: Callable[[], bool], *, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def ends(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and the server's accepted one."""
    with socket.create_connection(listener.getsockname(), timeout=5) as client:
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            yield client, server


@needs_filters
def test_what_is_sent_to_a_filtered_socket_vanishes_before_tcp(ends) -> None:
    client, server = ends
    server.sendall(b"before")
    assert eventually(lambda: TcpInfo(server).unacked == 0)
    segments = TcpInfo(client).segs_in
    drop_inbound(client)
    server.sendall(b" after")
    assert eventually(lambda: TcpInfo(server).total_retrans >= 1)
    assert TcpInfo(server).unacked > 0
    assert TcpInfo(client).segs_in == segments
    # What the kernel had is still there, and nothing more.
    assert client.recv(64) == b"before"
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(64)


@needs_filters
def test_the_filtered_end_is_still_heard(ends) -> None:
    client, server = ends
    drop_inbound(client)
    client.sendall(b"hello")
    assert server.recv(64) == b"hello"
    assert eventually(lambda: TcpInfo(client).total_retrans >= 1)


@needs_filters
def test_a_filter_on_the_servers_end_silences_the_client(ends) -> None:
    client, server = ends
    drop_inbound(server)
    client.sendall(b"hello")
    server.sendall(b"hi")
    assert client.recv(64) == b"hi"
    assert eventually(lambda: TcpInfo(client).total_retrans >= 1)
    assert TcpInfo(client).unacked > 0


@needs_filters
def test_the_end_of_a_connection_vanishes_too(ends) -> None:
    client, server = ends
    drop_inbound(client)
    server.close()
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(64)


@needs_filters
def test_a_restored_link_heals_by_retransmission(ends) -> None:
    client, server = ends
    drop_inbound(client)
    server.sendall(b"held")
    assert eventually(lambda: TcpInfo(server).total_retrans >= 1)
    restore_inbound(client)
    assert client.recv(64) == b"held"
    assert eventually(lambda: TcpInfo(server).unacked == 0)
    restore_inbound(client)


@needs_filters
def test_a_filtered_listener_cannot_be_dialled(listener: socket.socket) -> None:
    drop_inbound(listener.fileno())
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname(), timeout=0.1)
    restore_inbound(listener)
    socket.create_connection(listener.getsockname(), timeout=5).close()


@needs_filters
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_socket_of_a_transport_will_do(loop, listener: socket.socket) -> None:
    async def scenario() -> None:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        server, _ = listener.accept()
        drop_inbound(writer.get_extra_info("socket"))
        with server:
            server.sendall(b"lost")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(64), 0.1)
            restore_inbound(writer.get_extra_info("socket"))
            assert await asyncio.wait_for(reader.read(64), 5) == b"lost"
        writer.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scenario())


AS_NOBODY = """
import ctypes, encodings.idna, os, socket
# All imports come first: nobody may not read the interpreter's own files.
from heartline.testing import drop_inbound, enter_own_network, halfopen
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    # A change of user hides /proc/self from us, which an ordinary user is spared.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
print("before:", halfopen.available())
try:
    enter_own_network()
except OSError as error:
    print("refused:", error)
    raise SystemExit
print("after:", halfopen.available())
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname(), timeout=0.1)
server, _ = listener.accept()
drop_inbound(client)
server.sendall(b"lost")
try:
    client.recv(64)
except TimeoutError:
    print("silence")
"""

AS_ADMINISTRATOR_OF_ITS_OWN = """
import asyncio
from heartline.testing import FaultyServer, enter_own_network
async def main():
    async with FaultyServer(rate=0) as server:
        await server.do("drop_filter")
        dial = asyncio.open_connection("127.0.0.1", server.port)
        try:
            await asyncio.wait_for(dial, 0.1)
        except TimeoutError:
            print("silence")
try:
    enter_own_network()
except OSError as error:
    print("refused:", error)
else:
    asyncio.run(main())
"""


def run_script(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=20,
    )
    return done.stdout.splitlines()


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux has namespaces")


@linux_only
def test_in_a_network_of_ones_own_it_needs_no_privilege() -> None:
    before, *after = run_script(AS_NOBODY)
    assert before.startswith("before: ")
    if after[0].startswith("refused"):
        pytest.skip(f"no namespaces for ordinary users here: {after[0]}")
    assert after == ["after: None", "silence"]


@linux_only
def test_the_venue_takes_part_in_a_network_of_ones_own() -> None:
    (said,) = run_script(AS_ADMINISTRATOR_OF_ITS_OWN)
    if said.startswith("refused"):
        pytest.skip(f"no namespaces here: {said}")
    assert said == "silence"


def test_a_system_without_filters_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_with(number: int) -> None:
        def refuse(sock: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(halfopen, "drop_inbound", refuse)

    monkeypatch.setattr(sys, "platform", "linux")
    refuse_with(errno.EPERM)
    assert "CAP_NET_ADMIN" in str(available())
    refuse_with(errno.ENOPROTOOPT)
    assert available() == ("this system refuses socket filters: Protocol not available")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert available() == "socket filters are Linux's, this is darwin"


@needs_filters
def test_a_closed_socket_is_an_error(ends) -> None:
    client, _ = ends
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        drop_inbound(client)
    with pytest.raises(OSError, match="Bad file descriptor"):
        restore_inbound(client)
