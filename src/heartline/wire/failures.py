"""Why a dial failed: what libraries raise -> `WireError`, in our words.

Reasons are made of our own words and of names without secrets; what the other end
or a library wrote is repeated only where it cannot hold any.
"""

from __future__ import annotations

import errno
import re
import ssl
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Final

from picows import WSHandshakeError, WSInvalidHeaderError
from python_socks import ProxyError

from heartline.core.items import Cause, Where
from heartline.errors import WireError

ABNORMAL_CLOSURE: Final = 1006
"""The close code for an end without a close frame (RFC 6455 section 7.1.5)."""

_RESET: Final = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
_LOCAL: Final = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,
    errno.ENETDOWN,
    errno.EACCES,
    errno.EPERM,
}
"""This host gives no descriptor, no memory, no port, no interface or no permission:
nothing was sent (connect(2), socket(2))."""
_ERRNO: Final = re.compile(r"\[(?:Errno|WinError) (\d+)\]")
_STATUS_LINE: Final = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: |$)")
_PROXY_STATUS: Final = re.compile(r"\bstatus (\d{3})\b")


class Ending(Enum):
    """How the connection under a failed dial ended, as far as the socket tells."""

    NONE = "not connected, or not ended by the peer"
    CLOSED = "closed in an orderly way"
    RESET = "reset"


def explain(failure: Exception, *, where: str, ending: Ending) -> WireError | None:
    """Say what `failure` means; None if it is no failure of the network.

    `where` names the host and port connected to: the proxy, if there is one.
    """
    match failure:
        case WireError():
            return failure
        case WSHandshakeError():
            return _refusal(failure)
        case ProxyError():
            return _proxy_refusal(failure, where)
        case ssl.SSLError():
            return WireError(Cause.TLS, f"{where}: {_tls_reason(failure)}")
        case OSError():
            return _broken(failure, where, ending)
        case _ if type(failure).__module__.startswith("python_socks."):
            # Its IncompleteReadError, which it does not export.
            return ended(where, ending)
        case _:
            return None


def ended(where: str, ending: Ending) -> WireError:
    """Say that the peer ended the connection before the upgrade was done."""
    if ending is Ending.RESET:
        return WireError(Cause.RESET, f"{where}: reset before the upgrade was done")
    return WireError(
        Cause.CLOSED_BY_PEER,
        f"{where}: closed before the upgrade was done",
        status=ABNORMAL_CLOSURE,
    )


def status_of(answer: WSHandshakeError) -> int | None:
    """Read the HTTP status out of an answer, also one that picows cannot read.

    picows takes only HTTP/1.1, only registered codes and only with a phrase; proxies
    and content networks before a venue send others (HTTP/1.0 502, 520 to 530).
    """
    line = (answer.raw_header or b"").split(b"\r\n", 1)[0]
    found = _STATUS_LINE.match(line)
    return int(found[1]) if found else None


def header_of(answer: WSHandshakeError, name: str) -> str | None:
    """Read one header of an answer, also one that picows cannot read."""
    for line in (answer.raw_header or b"").split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def seconds_to_wait(retry_after: str | None) -> float | None:
    """Read a `Retry-After` header: seconds or an HTTP date (RFC 9110 section 10.2.3).

    Never negative; None if there is none, or none that can be read.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, until.timestamp() - time.time())


def _refusal(answer: WSHandshakeError) -> WireError:
    status = status_of(answer)
    if status is not None and status != HTTPStatus.SWITCHING_PROTOCOLS:
        phrase = HTTPStatus(status).phrase if status in _KNOWN else ""
        return WireError(
            Cause.REFUSED,
            f"HTTP {status} {phrase}".rstrip(),
            status=status,
            retry_after=seconds_to_wait(header_of(answer, "Retry-After")),
        )
    if isinstance(answer, WSInvalidHeaderError):
        what = f"its {answer.name} header is missing or wrong"
    else:
        what = "it is not HTTP/1.1 as it should be"
    return WireError(Cause.PROTOCOL, f"the answer to the upgrade is bad: {what}")


_KNOWN: Final = frozenset(int(status) for status in HTTPStatus)


def _proxy_refusal(failure: ProxyError, where: str) -> WireError:
    text = str(failure)  # of a fixed set, with an HTTP status or a SOCKS code in it
    status = _PROXY_STATUS.search(text)
    return WireError(
        Cause.REFUSED,
        f"{where}: {text}",
        status=int(status[1]) if status else None,
    )


def _tls_reason(failure: ssl.SSLError) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {failure.verify_message}"
    return (failure.reason or type(failure).__name__).lower().replace("_", " ")


def _broken(failure: OSError, where: str, ending: Ending) -> WireError:
    codes = _codes(failure)
    if errno.ECONNREFUSED in codes:
        # Of several addresses one refused: the host is there, so the path is not dead.
        return WireError(Cause.REFUSED, f"{where}: connection refused")
    if codes & _RESET or (not codes and isinstance(failure, ConnectionError)):
        # TLS calls an orderly end in its handshake a reset as well; the socket knows.
        return ended(where, Ending.RESET if ending is Ending.NONE else ending)
    names = sorted(errno.errorcode.get(code, str(code)) for code in codes)
    what = ", ".join(names) or type(failure).__name__
    local = Where.LOCAL if codes and codes <= _LOCAL else None
    reason = f"{where}: cannot connect ({what})"
    return WireError(Cause.PATH_DEAD, reason, where=local)


def _codes(failure: OSError) -> set[int]:
    """Collect the error numbers; for several addresses they are in the text only."""
    if failure.errno is not None:
        return {failure.errno}
    return {int(code) for code in _ERRNO.findall(str(failure))}
