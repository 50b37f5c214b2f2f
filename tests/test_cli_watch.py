"""`heartline watch` as a process against a real server, and its parts by themselves."""

from __future__ import annotations

import array
import asyncio
import fcntl
import json
import mmap
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import heartline
from heartline.cli import app
from heartline.cli.aside import Aside, write_all
from heartline.cli.lines import encode
from heartline.cli.running import Exit, run
from heartline.cli.watch import split_header, tell_lines
from heartline.core.items import (
    Bounds,
    Gap,
    Message,
    Phase,
    RoundTrips,
    Status,
    Verdict,
)
from heartline.testing import SAMPLE, Replay, read_capture, serve_capture
from heartline.ui.letters import big
from loopback import crowding

COMMAND = (sys.executable, "-m", "heartline")
DEADLINE = 20.0


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    """The sample, for ever, as fast as it is read."""
    yield from served(speed=None, loop=True)


@pytest.fixture(scope="module")
def sample() -> Iterator[str]:
    """The sample, once, as fast as it is read."""
    yield from served(speed=None)


def served(**options: Any) -> Iterator[str]:
    """Serve from a loop in a thread: what is tested here are processes."""
    started: list[Replay] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serve_capture(SAMPLE, **options) as server:
            started.append(server)
            ready.set()
            await asyncio.to_thread(done.wait)

    # The serving process dies with the thread that started it.
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(DEADLINE)
    yield started[0].url
    done.set()
    thread.join(DEADLINE)


@contextmanager
def watching(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen((*COMMAND, "watch", *arguments), **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def watch(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run to the end; exit status, objects, what was said on stderr."""
    with watching(*arguments) as process:
        out, err = process.communicate(timeout=DEADLINE)
    objects = [json.loads(line) for line in out.splitlines()]
    return process.returncode, objects, err.decode()


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.01)


# --- lines, from a process --------------------------------------------------------


def test_every_message_of_a_venue_becomes_a_line_in_order(sample: str) -> None:
    inbound = [frame.data for frame in read_capture(SAMPLE).inbound]
    status, objects, err = watch(sample, "--for", "1.5")
    assert (status, err) == (0, "")
    first, *rest = objects
    assert (first["type"], first["phase"], first["live"]) == (
        "status",
        "CONNECTING",
        False,
    )
    assert "OPEN" in [item["phase"] for item in rest if item["type"] == "status"]
    messages = [item for item in rest if item["type"] == "message"]
    data = [m["text"] if "text" in m else b64decode(m["b64"]) for m in messages]
    assert data == inbound
    assert {message["epoch"] for message in messages} == {1}
    read_at = [message["received_at"] for message in messages]
    assert read_at == sorted(read_at)


def test_utc_is_the_wall_clock_of_received_at(sample: str) -> None:
    from datetime import UTC, datetime

    before = datetime.now(UTC)
    _, objects, _ = watch(sample, "--for", "1", "--json")
    last = [item for item in objects if item["type"] == "message"][-1]
    utc = datetime.fromisoformat(last["utc"])
    assert before < utc < datetime.now(UTC)
    offset = utc.timestamp() - last["received_at"]
    assert offset == pytest.approx(time.time() - time.monotonic(), abs=0.05)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_it_within_a_second(
    number: signal.Signals, status: int, busy: str
) -> None:
    with watching(busy, stdout=subprocess.DEVNULL) as process:
        until(lambda: is_connected(process.pid), "a connection")
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(DEADLINE) == status
        assert time.monotonic() - started < 1.0 * crowding()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_signal_ends_it_though_nobody_reads_the_full_pipe(busy: str) -> None:
    with watching(busy) as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        # Almost: a write that does not end at a page's border leaves some of it.
        almost = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) - 2 * mmap.PAGESIZE
        until(lambda: waiting_in(descriptor) > almost, "a full pipe")
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
        assert time.monotonic() - started < 1.0 * crowding()


def test_it_ends_quietly_when_its_reader_goes_away(busy: str) -> None:
    with watching(busy) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"type":"status"')
        process.stdout.close()
        assert process.wait(DEADLINE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_lines_come_while_the_stream_goes_on(busy: str) -> None:
    """As for `tail -f`: nothing waits for a buffer to fill or the stream to end."""
    with watching(busy) as process:
        assert process.stdout is not None
        kinds = [json.loads(process.stdout.readline())["type"] for _ in range(50)]
    assert kinds.count("message") > 40


def test_what_the_lines_tell_is_not_logged_as_well() -> None:
    status, objects, err = watch("ws://127.0.0.1:1/", "--for", "1")
    assert (status, err) == (0, "")
    refusals = [item for item in objects if item["cause"] == "REFUSED"]
    assert refusals
    assert refusals[0]["verdict"] == "DEAD"


def is_connected(pid: int) -> bool:
    """Whether the process holds an established connection."""
    inodes: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            inodes.add(os.readlink(entry))
    sockets = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    established = (line.split() for line in sockets)
    return any(f"socket:[{f[9]}]" in inodes for f in established if f[3] == "01")


def waiting_in(descriptor: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


# --- arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--send", '{"token": "s3cret"'), "wanted JSON"),
        (("--send", "{}", "--send", "s3cret"), "value 2 of --send: wanted JSON"),
        (("--header", "s3cret"), "--header: wanted 'Name: value'"),
        (("--header", "a b: s3cret"), "--header: wanted 'Name: value'"),
        (("--header", "a: s3cret\r\nb: c"), "--header: wanted 'Name: value'"),
        (("--for", "0"), "--for: wanted a positive number of seconds, got 0"),
        (("--fresh", "nan"), "--fresh: wanted a positive number of seconds, got nan"),
        (("--max-age", "0"), "--max-age: wanted a positive number of seconds, got 0"),
        (("--metrics-port", "70000"), "Invalid value for '--metrics-port'"),
        (("--frobnicate",), "--frobnicate"),
    ],
)
def test_bad_usage_is_status_2_and_keeps_secrets(
    arguments: tuple[str, ...], said: str
) -> None:
    status, objects, err = watch("ws://127.0.0.1:1/", *arguments)
    assert (status, objects) == (Exit.USAGE, [])
    boxed = " ".join(err.replace("│", " ").split())
    assert said in boxed
    assert "s3cret" not in boxed


def test_what_the_library_refuses_is_bad_usage_too() -> None:
    status, objects, err = watch("https://user:s3cret@127.0.0.1/?token=s3cret")
    assert (status, objects) == (Exit.USAGE, [])
    assert err.startswith("heartline: url: wanted a URL with ws:// or wss://")
    assert "s3cret" not in err


def test_help_tells_the_exit_statuses() -> None:
    help_text = subprocess.run(
        (*COMMAND, "watch", "--help"), capture_output=True, text=True, check=True
    ).stdout
    told = " ".join(help_text.split())
    assert "0 ended as asked; 1 gave up" in told
    assert "130 and 143 ended by SIGINT or SIGTERM" in told


def test_a_header_is_cut_at_its_first_colon() -> None:
    assert split_header("Authorization: Basic a:b=") == ("Authorization", "Basic a:b=")
    assert split_header("X-Empty:") == ("X-Empty", "")


# --- against a stream that does as it is told --------------------------------------


class FakeStream:
    """What `heartline.connect` gives, with `batches` for all it will ever bring."""

    def __init__(self, *batches: list[Any] | BaseException) -> None:
        self.script = batches
        self.closed = False
        self.asked: dict[str, Any] = {}

    def connect(self, url: str, **options: Any) -> FakeStream:
        self.asked = {"url": url, **options}
        return self

    async def __aenter__(self) -> FakeStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True

    async def batches(self) -> AsyncIterator[list[Any]]:
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            yield step


def exit_status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["watch", *arguments], prog_name="heartline")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_arguments_reach_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeStream()
    monkeypatch.setattr(heartline, "connect", fake.connect)
    assert (
        exit_status(
            *("wss://venue.example/ws", "book.A", "book.B", "--venue", "deribit"),
            *("--send", '{"a": 1}', "--send", "[2]"),
            *("--header", "X-Key: k", "--header", "X-Other: o", "--fresh", "2.5"),
            *("--proxy", "http://127.0.0.1:3128", "--journal", "events.jsonl"),
            *("--max-age", "0.5"),
        )
        == 0
    )
    assert fake.asked == {
        "url": "wss://venue.example/ws",
        "channels": ("book.A", "book.B"),
        "venue": "deribit",
        "headers": {"X-Key": "k", "X-Other": "o"},
        "on_open": ('{"a": 1}', "[2]"),
        "freshness": heartline.Freshness(every=2.5),
        "max_age": 0.5,
        "proxy": "http://127.0.0.1:3128",
        "journal": Path("events.jsonl"),
        "on_event": None,
        "metrics": None,
    }
    assert fake.closed


def test_an_endpoint_and_another_host_for_calls_reach_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeStream()
    monkeypatch.setattr(heartline, "connect", fake.connect)
    rest = "http://127.0.0.1:7/"
    channel = "btcusdt@depth@100ms"
    assert exit_status("binance", channel, "--endpoint", "usdm", "--rest", rest) == 0
    venue = fake.asked["venue"]
    assert fake.asked["url"] == venue.url
    assert fake.asked["channels"] == ()
    assert (venue.name, venue.endpoint, venue.channels) == (
        "binance",
        "usdm",
        (channel,),
    )
    assert venue.snapshots.rest == rest
    assert venue.token_url is None
    assert exit_status("ws://127.0.0.1:1/", "--venue", "kucoin", "--rest", rest) == 0
    venue = fake.asked["venue"]
    assert fake.asked["url"] == "ws://127.0.0.1:1/"
    assert venue.token_url == "http://127.0.0.1:7/api/v1/bullet-public"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ws://127.0.0.1:1/", "--rest", "http://127.0.0.1:7"), "without --venue"),
        (("ws://127.0.0.1:1/", "--endpoint", "spot"), "without --venue"),
        (("kraken", "--endpoint", "nope"), "wanted spot, spot_v1, futures"),
        (("kraken", "--rest", "ftp://x"), "http:// or https://"),
        (("krakn",), "wanted kraken or a file"),
    ],
)
def test_a_contract_that_cannot_be_is_bad_usage(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(*arguments) == Exit.USAGE
    assert said in capfd.readouterr().err


def test_giving_up_is_status_1_after_all_lines_were_written(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gave_up = heartline.GaveUp(
        cause="REFUSED", status=401, reason="unauthorized", attempts=1
    )
    fake = FakeStream([Message("one", 1.0)], gave_up)
    monkeypatch.setattr(heartline, "connect", fake.connect)
    assert exit_status("ws://127.0.0.1:1/") == Exit.GAVE_UP
    out, err = capfd.readouterr()
    assert json.loads(out)["text"] == "one"
    assert err == ("heartline: gave up after 1 attempt: REFUSED 401: unauthorized\n")
    assert fake.closed


def test_a_timeout_inside_the_stream_is_not_the_end_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeStream(TimeoutError("of its own"))
    monkeypatch.setattr(heartline, "connect", fake.connect)
    assert exit_status("ws://127.0.0.1:1/", "--for", "60") == Exit.GAVE_UP


def test_a_metrics_port_in_use_is_bad_usage(busy: str) -> None:
    port = busy.rsplit(":", 1)[1].strip("/")
    status, _, err = watch(busy, "--metrics-port", port)
    assert status == Exit.USAGE
    assert err == f"heartline: --metrics-port {port}: Address already in use\n"


def test_metrics_of_the_stream_are_served(busy: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with watching(busy, "--metrics-port", str(port), stdout=subprocess.DEVNULL):
        until(lambda: "heartline_live{" in scraped(port), "metrics of a live stream")


def scraped(port: int) -> str:
    """The metrics, or nothing while nobody serves them yet."""
    url = f"http://127.0.0.1:{port}/metrics"
    with suppress(URLError), urlopen(url, timeout=DEADLINE) as answer:
        text: str = answer.read().decode()
        return text
    return ""


# --- lines by themselves -----------------------------------------------------------


def a_status(**changes: Any) -> Status:
    bounds = Bounds(path=1.0, peer=2.0, channels={None: 3.0, "trades": 4.0})
    fields: dict[str, Any] = {
        "at": 10.0,
        "phase": Phase.OPEN,
        "verdict": Verdict.ALIVE,
        "live": True,
        "cause": None,
        "bounds": bounds,
        "ceilings": bounds,
        "detection_bound": 4.0,
    }
    return Status(**{**fields, **changes})


def test_items_as_lines() -> None:
    lines = encode(
        [
            a_status(),
            Message('{"p": "\u20bf"}', 11.5, channel="trades", epoch=2),
            Message(b"\x00\xff", 11.5, epoch=2, age=0.25),
            Gap(
                reason="sequence", from_at=11.5, until_at=12.0, epoch=2, first=7, last=9
            ),
        ],
        utc_offset=1_000_000_000.0,
    )
    assert lines.endswith(b"\n")
    status, text, binary, gap = map(json.loads, lines.splitlines())
    assert (status["type"], status["utc"]) == ("status", "2001-09-09T01:46:50Z")
    assert status["bounds"]["channels"] == {"": 3.0, "trades": 4.0}
    assert status["counts"]["messages"] == 0
    assert text == {
        "type": "message",
        "text": '{"p": "\u20bf"}',
        "received_at": 11.5,
        "utc": "2001-09-09T01:46:51.500000Z",
        "epoch": 2,
        "channel": "trades",
        "age": 0.0,
        "snapshot": False,
    }
    assert b64decode(binary.pop("b64")) == b"\x00\xff"
    assert {**binary, "text": text["text"], "channel": "trades", "age": 0.0} == text
    assert (gap["type"], gap["first"], gap["last"]) == ("gap", 7, 9)
    assert gap["utc"] == "2001-09-09T01:46:52Z"


def test_lines_round_to_microseconds_and_tell_every_instant_in_utc() -> None:
    bounds = Bounds(path=2.4399999999999995, peer=1.0, channels={None: 0.1 + 0.2})
    lines = encode(
        [
            a_status(
                at=10.0000001,
                since_at=9.5,
                retry_at=11.25,
                bounds=bounds,
                round_trip=RoundTrips(last=0.0010339780001231702),
            ),
            Message("x", 11.50000049, epoch=2, age=0.12345678),
            Gap(reason="sequence", from_at=11.5, until_at=12.00000049, epoch=2),
            a_status(),
        ],
        utc_offset=1_000_000_000.0,
    )
    status, message, gap, well = map(json.loads, lines.splitlines())
    assert status["at"] == 10.0
    assert (status["bounds"]["path"], status["bounds"]["channels"]) == (2.44, {"": 0.3})
    assert status["round_trip"]["last"] == 0.001034
    assert (message["received_at"], message["age"]) == (11.5, 0.123457)
    assert (gap["from_at"], gap["until_at"]) == (11.5, 12.0)
    assert gap["from_utc"] == "2001-09-09T01:46:51.500000Z"
    assert status["since_utc"] == "2001-09-09T01:46:49.500000Z"
    assert status["retry_utc"] == "2001-09-09T01:46:51.250000Z"
    assert (well["since_utc"], well["retry_utc"]) == (None, None)


def test_a_slow_reader_blocks_neither_the_loop_nor_the_end() -> None:
    """Writing is done aside: the loop turns while the pipe is full."""
    reader, writer = os.pipe()
    threads = threading.active_count()
    turns = 0

    async def main() -> None:
        nonlocal turns
        with Aside() as aside:
            job = asyncio.create_task(
                aside.run(lambda: write_all(writer, bytes(1 << 20)))
            )
            for _ in range(100):
                await asyncio.sleep(0)
                turns += 1
            assert not job.done()
            job.cancel()

    started = time.monotonic()
    asyncio.run(main())
    assert turns == 100
    assert time.monotonic() - started < 1.0 * crowding()
    os.close(reader)  # ends the thread, with EPIPE; only then is the other end unused
    until(lambda: threading.active_count() == threads, "the end of the thread")
    os.close(writer)


def test_all_is_written_also_where_the_descriptor_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = bytes(range(256)) * 1024
    thread = threading.Thread(target=write_all, args=(writer, data))
    thread.start()
    got = b""
    while len(got) < len(data):
        assert select.select([reader], [], [], DEADLINE)[0]
        got += os.read(reader, 1 << 16)
    thread.join(DEADLINE)
    assert got == data
    os.close(reader)
    os.close(writer)


def test_what_a_call_aside_raises_is_raised() -> None:
    async def main() -> None:
        with Aside() as aside:
            with pytest.raises(ZeroDivisionError):
                await aside.run(lambda: [][1 // 0])
            await aside.run(lambda: None)

    asyncio.run(main())


def test_a_command_that_fails_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import typer

    async def main() -> None:
        raise OSError(98, "Address already in use")

    with pytest.raises(typer.Exit) as ended:
        run(main)
    assert ended.value.exit_code == Exit.GAVE_UP
    assert capsys.readouterr().err == "heartline: Address already in use\n"


# --- the view ----------------------------------------------------------------------


def test_in_a_terminal_it_shows_the_view_and_leaves_it_clean(busy: str) -> None:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with watching(busy, stdout=terminal, env=environment) as process:
        os.close(terminal)
        seen = b""
        while big("LIVE")[0] not in seen.decode(errors="replace"):
            assert select.select([controller], [], [], DEADLINE)[0]
            seen += os.read(controller, 1 << 16)
        process.send_signal(signal.SIGINT)
        closing = read_all(controller)
        assert process.wait(DEADLINE) == 130
    assert seen.startswith(b"\x1b[?1049h")
    assert b"127.0.0.1" in seen
    left = closing.rindex(b"\x1b[?1049l")
    after = closing[left:].decode()
    assert "watched; messages" in after
    assert "\x1b[?25h" in closing.decode()  # the cursor is shown again
    os.close(controller)


def read_all(descriptor: int) -> bytes:
    got = b""
    while select.select([descriptor], [], [], DEADLINE)[0]:
        try:
            more = os.read(descriptor, 1 << 16)
        except OSError:  # EIO: the other end of a pty is closed
            break
        if not more:
            break
        got += more
    return got


def test_lines_end_with_the_stream(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        stream: Any = FakeStream([Message("one", 1.0)], [Message("two", 2.0)])
        with Aside() as aside:
            await tell_lines(stream, aside)

    asyncio.run(main())
    lines = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]
