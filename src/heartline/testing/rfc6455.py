"""The server's half of RFC 6455, small and from scratch.

Written apart from the client's codec on purpose: what the two agree on is the
standard, not a shared mistake. Pure: bytes in, values out. Standard library only,
because the kit's child processes start without site packages. Never offers an
extension, so a set RSV bit is a violation.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha1
from http import HTTPStatus

MAX_HEAD_BYTES = 16 << 10
MAX_MESSAGE_BYTES = 64 << 20

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True, slots=True)
class Frame:
    """A control frame or a whole message; fragments are joined before."""

    opcode: Opcode
    payload: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """An upgrade request; header names in lower case, repeated ones joined by `, `."""

    path: str
    headers: Mapping[str, str]


class Violation(Exception):
    """The client broke the protocol. `code` is a close code, or 400 in the upgrade."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


# --- upgrade ----------------------------------------------------------------------


class HeadReader:
    """Collects a request's head, however it was cut on its way."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Add what came: the head and what followed it, or None while it is not whole.

        Raises `Violation` with code 400 for a head above `MAX_HEAD_BYTES`.
        """
        self._bytes += data
        head, blank, rest = bytes(self._bytes).partition(b"\r\n\r\n")
        if blank:
            return head, rest
        if len(self._bytes) > MAX_HEAD_BYTES:
            raise Violation(400, f"head: wanted at most {MAX_HEAD_BYTES} bytes")
        return None


def parse_request(head: bytes) -> Request:
    """Read an upgrade request up to its blank line; insist on RFC 6455 section 4.1.

    Raises `Violation` with code 400.
    """
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[0] != "GET" or parts[2] != "HTTP/1.1":
        raise Violation(400, f"request: wanted GET over HTTP/1.1, got {lines[0]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if not line:
            break
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise Violation(400, f"header: wanted name: value, got {line!r}")
        key = name.lower()
        value = value.strip()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    _insist(headers)
    return Request(parts[1], headers)


def _insist(headers: Mapping[str, str]) -> None:
    tokens = {t.strip().lower() for t in headers.get("connection", "").split(",")}
    if "upgrade" not in tokens or headers.get("upgrade", "").lower() != "websocket":
        raise Violation(400, "wanted an upgrade to websocket")
    if "host" not in headers:
        raise Violation(400, "host: wanted one, got none")
    if headers.get("sec-websocket-version") != "13":
        raise Violation(400, "sec-websocket-version: wanted 13")
    try:
        nonce = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise Violation(400, "sec-websocket-key: wanted 16 bytes in base64")


def acceptance(request: Request) -> bytes:
    """Write the 101 answer."""
    key = request.headers["sec-websocket-key"].encode("latin-1")
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def refusal(status: int, headers: Mapping[str, str], body: str = "") -> bytes:
    """Write any other answer, which ends the connection."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Refused"
    content = body.encode()
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + content


# --- frames -----------------------------------------------------------------------


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """Write one unmasked frame, as servers do."""
    first = opcode | (0x80 if fin else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def close_payload(code: int, reason: str = "") -> bytes:
    """Write the body of a close frame; code 1005 is the empty one.

    Any other code is written as it is, forbidden ones too: faults may need them.
    """
    if code == 1005:
        return b""
    return code.to_bytes(2, "big") + reason.encode()


def close_code(payload: bytes) -> tuple[int, str]:
    """Read the body of a close frame. Raises `Violation` 1002 or 1007."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise Violation(1002, "close: wanted no body or a code, got one byte")
    return int.from_bytes(payload[:2], "big"), _text(payload[2:])


class FrameReader:
    """Cut a client's bytes into control frames and whole messages."""

    def __init__(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._fragments: list[bytes] = []
        self._opcode: Opcode | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they came and return what they completed, in order.

        Raises `Violation`; the reader is of no further use then, and what came
        before the violation in the same bytes is lost with it.
        """
        self._buffer += data
        complete: list[Frame] = []
        start = 0
        while (cut := self._cut(start)) is not None:
            fin, opcode, payload, start = cut
            done = self._join(fin, opcode, payload)
            if done is not None:
                complete.append(done)
        del self._buffer[:start]
        return complete

    def _cut(self, start: int) -> tuple[bool, Opcode, bytes, int] | None:
        """Cut one frame at `start`, if it is whole; the last value is where it ends."""
        buffer = self._buffer
        if len(buffer) - start < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode = self._check_head(first, second)
        size, at = second & 0x7F, start + 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(buffer) < at + width:
                return None
            size, at = int.from_bytes(buffer[at : at + width], "big"), at + width
        if size + sum(map(len, self._fragments)) > self._max_message_bytes:
            raise Violation(1009, f"message: wanted {self._max_message_bytes} bytes")
        end = at + 4 + size
        if len(buffer) < end:
            return None
        payload = _unmask(bytes(buffer[at + 4 : end]), bytes(buffer[at : at + 4]))
        return bool(first & 0x80), opcode, payload, end

    def _check_head(self, first: int, second: int) -> Opcode:
        if first & 0x70:
            raise Violation(1002, "RSV: wanted 0, no extension was negotiated")
        if not second & 0x80:
            raise Violation(1002, "mask: wanted one on every frame of a client")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise Violation(1002, f"opcode: got reserved {first & 0x0F:#x}") from None
        if opcode >= Opcode.CLOSE and (not first & 0x80 or second & 0x7F > 125):
            raise Violation(1002, "control frame: wanted it whole and of <= 125 bytes")
        return opcode

    def _join(self, fin: bool, opcode: Opcode, payload: bytes) -> Frame | None:
        if opcode >= Opcode.CLOSE:
            return Frame(opcode, payload)
        if (opcode is Opcode.CONTINUATION) != (self._opcode is not None):
            raise Violation(1002, f"fragments: {opcode.name} out of order")
        if self._opcode is None:
            self._opcode = opcode
        self._fragments.append(payload)
        if not fin:
            return None
        message = Frame(self._opcode, b"".join(self._fragments))
        self._opcode = None
        self._fragments.clear()
        if message.opcode is Opcode.TEXT:
            _text(message.payload)
        return message


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(1007, "text: wanted UTF-8") from None


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    stretched = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")
    return masked.to_bytes(size, "little")
