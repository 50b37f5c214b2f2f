"""Where a stream or a proxy is: URLs taken apart, so that no secret is shown.

A URL carries secrets in its user information and its query. Here they are moved to
fields that never print, and no exception text repeats the URL.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from heartline.core.items import Cause
from heartline.errors import UsageError, WireError

STREAM_PORTS: Final = {"ws": 80, "wss": 443}
PROXY_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080}

_HOST: Final = re.compile(r"[0-9a-z._~%:-]+")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE: Final = re.compile("[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*")

_PATH_SAFE: Final = "/:@!$&'()*+,=~%"
"""Not ";": picows would lose what follows it in the last segment of the path."""
_QUERY_SAFE: Final = _PATH_SAFE + ";?[]"

_HANDSHAKE_HEADERS: Final = frozenset(
    {
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One URL, read. ASCII throughout."""

    scheme: str
    host: str
    port: int
    default_port: int
    resource: str = field(default="/", repr=False)
    """Path and query, as they are sent."""
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def secure(self) -> bool:
        return self.scheme in ("wss", "https")

    @property
    def authority(self) -> str:
        """Host and port for people: never a secret."""
        return f"{self._bracketed}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without the user information, which does not belong in `Host`."""
        port = "" if self.port == self.default_port else f":{self.port}"
        return f"{self.scheme}://{self._bracketed}{port}{self.resource}"

    @property
    def proxy_url(self) -> str:
        """The URL of a proxy, with its credentials: never to be shown."""
        login = ""
        if self.user is not None:
            login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"{self.scheme}://{login}{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def read_stream_url(url: str) -> Endpoint:
    """Take a ws or wss URL apart. Raise `UsageError`, which does not repeat it."""
    return _read("url", url, STREAM_PORTS, wanted="a ws:// or wss:// URL")


def read_proxy_url(url: str) -> Endpoint:
    """Take the URL of a proxy apart. Raise `UsageError`, which does not repeat it."""
    wanted = "an http://, https://, socks4:// or socks5:// URL"
    proxy = _read("proxy", url, PROXY_PORTS, wanted=wanted)
    for part in (proxy.user or "", proxy.password):
        if not part.isascii() or len(part) > 255:  # RFC 1929 section 2
            raise UsageError(
                "proxy",
                wanted="user name and password of at most 255 ASCII characters",
                got="others",
            )
    return proxy


def may_be_header(name: object, value: object) -> bool:
    """Whether a head may hold it: nothing of it is taken for another header."""
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return bool(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value))


def demand_one_word(name: str, url: str) -> None:
    """Raise `UsageError` over blanks, line ends and other control characters.

    Some would be dropped in silence, some escaped: what came from a file with its line
    end would go where nobody meant to.
    """
    if any(sign.isspace() or not sign.isprintable() for sign in url):
        wanted = "a URL without blanks, line ends or control characters"
        raise UsageError(name, wanted=wanted, got="one with")


def demand_headers(given: Mapping[str, str]) -> None:
    """Raise `UsageError`, which names a header but never repeats its value."""
    for name, value in given.items():
        if not _TOKEN.fullmatch(name):
            # A whole line was given, perhaps, and it is not to be repeated.
            begin, colon, _ = name.partition(":")
            got = f"{begin}: and more" if colon and _TOKEN.fullmatch(begin) else "other"
            raise UsageError("headers", wanted="names that are tokens", got=got)
        if name.lower() in _HANDSHAKE_HEADERS:
            raise UsageError("headers", wanted="none of the handshake's own", got=name)
        if not _VALUE.fullmatch(value):
            raise UsageError(
                "headers", wanted=f"a value of one line for {name}", got="more"
            )


def request_headers(given: Mapping[str, str], endpoint: Endpoint) -> dict[str, str]:
    """Check the caller's headers, and add the credentials of the URL to them."""
    demand_headers(given)
    headers = dict(given)
    if endpoint.user is not None and "authorization" not in map(str.lower, headers):
        login = f"{endpoint.user}:{endpoint.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    return headers


def redirected(
    origin: Endpoint, location: str, *, status: int, carries_headers: bool
) -> Endpoint:
    """Decide where a redirect leads, or raise `WireError` REFUSED.

    Never from wss to ws. Headers may hold keys of any name, so while there are any,
    only to the same host and port, or from ws to wss on the same host.
    """

    def refused(why: str) -> WireError:
        return WireError(
            Cause.REFUSED, f"{origin.authority} redirects {why}", status=status
        )

    try:
        parsed = urlsplit(urljoin(origin.url, location))
        scheme = {"http": "ws", "https": "wss"}.get(parsed.scheme, parsed.scheme)
        followed = parsed._replace(scheme=scheme, fragment="").geturl()
        endpoint = read_stream_url(followed)
    except ValueError:  # UsageError is one
        raise refused("to what is not a WebSocket URL") from None
    if origin.secure and not endpoint.secure:
        raise refused("from TLS to plain text")
    same_place = endpoint.host == origin.host and (
        endpoint.port == origin.port or (endpoint.secure and not origin.secure)
    )
    if carries_headers and not same_place:
        raise refused(f"to {endpoint.authority}, which our headers are not meant for")
    return endpoint


def _read(name: str, url: str, ports: Mapping[str, int], *, wanted: str) -> Endpoint:
    # Raised out here: the ValueError within repeats the URL, and would be its context.
    parts = _take_apart(url)
    if parts is None:
        raise UsageError(name, wanted=wanted, got="what cannot be read")
    parsed, host, port = parts
    if parsed.scheme not in ports:
        raise UsageError(name, wanted=wanted, got=f"{parsed.scheme or 'no'} scheme")
    if not _HOST.fullmatch(host):
        raise UsageError(name, wanted=f"a host, as in {wanted}", got="none of use")
    if parsed.fragment:
        raise UsageError(name, wanted="a URL without a fragment", got="one with")
    default = ports[parsed.scheme]
    resource = quote(parsed.path or "/", safe=_PATH_SAFE)
    if parsed.query:
        resource += "?" + quote(parsed.query, safe=_QUERY_SAFE)
    return Endpoint(
        scheme=parsed.scheme,
        host=host,
        port=default if port is None else port,
        default_port=default,
        resource=resource,
        user=None if parsed.username is None else unquote(parsed.username),
        password=unquote(parsed.password or ""),
    )


def _take_apart(url: str) -> tuple[SplitResult, str, int | None] | None:
    try:
        url.encode()  # a lone surrogate cannot be sent
        parsed = urlsplit(url)
        host = parsed.hostname or ""
        ascii_host = host if host.isascii() else host.encode("idna").decode()
        return parsed, ascii_host, parsed.port
    except ValueError:
        return None
