"""Who may come in: what is looked at before the upgrade, and what a refusal says.

picows parses the request and checks the WebSocket headers; here is everything that is
our own business: room, origin, token, sub-protocol, compression, plain HTTP pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from picows import WSUpgradeRequest, WSUpgradeResponse

from heartline.core.demands import demand_prompt, demand_text
from heartline.errors import UsageError
from heartline.wire.address import may_be_header
from heartline.wire.deflate import Inflater
from heartline.wire.resume import SUBPROTOCOL

ANY_ORIGIN: Final = "*"
_LOCALHOST: Final = "localhost"
_VERSION: Final = "13"
_EXTENSION: Final = "permessage-deflate"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")


@dataclass(frozen=True, slots=True)
class Request:
    """An upgrade request. Its query and headers may hold a token: do not log them."""

    path: str
    """Without query."""
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Names in any case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: a refusal of `authorize`, or a page."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.status not in set(HTTPStatus) or self.status < 200:
            raise UsageError(
                "Answer.status", wanted="an HTTP status from 200 on", got=self.status
            )
        demand_text("Answer.body", self.body)
        # They are not repeated: what was asked for may stand there, and secrets too.
        if not all(may_be_header(*each) for each in self.headers.items()):
            wanted = "names that are tokens, and values of one line"
            raise UsageError("Answer.headers", wanted=wanted, got="others")


Authorize: TypeAlias = Callable[[Request], bool | Answer]
Page: TypeAlias = Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Passed:
    """An accepted request: what was agreed on, and what the answer says of it."""

    request: Request
    speaks: bool
    """Whether the client speaks `heartline.v1`."""
    inflater: Inflater | None
    response: WSUpgradeResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rules of one server. `authorize` sees only requests that passed the rest."""

    origins: Sequence[str] | None = None
    authorize: Authorize | None = None
    pages: Mapping[str, Page] = field(default_factory=dict[str, Page])
    compression: bool = False
    local: bool = False
    """Whether only this machine reaches it, and without TLS."""

    def __post_init__(self) -> None:
        demand_prompt("authorize", self.authorize)
        for path, page in self.pages.items():
            demand_prompt(f"pages[{path!r}]", page)
        if isinstance(self.origins, str):
            raise UsageError("origins", wanted="a list of origins", got=self.origins)

    def page(self, upgrade: WSUpgradeRequest) -> Answer | None:
        """The page that a plain HTTP request asks for, if there is one."""
        if "upgrade" in upgrade.headers or not self.pages:
            return None
        page = self.pages.get(_request(upgrade).path)
        return None if page is None else page()

    def judge(self, upgrade: WSUpgradeRequest) -> Passed | Answer:
        """Accept or refuse an upgrade request that there is room for."""
        headers, request = upgrade.headers, _request(upgrade)
        if headers.get("upgrade", "").lower() != "websocket":
            return Answer(
                HTTPStatus.UPGRADE_REQUIRED,
                "this is a WebSocket server",
                {"Upgrade": "websocket"},
            )
        if headers.get("sec-websocket-version") != _VERSION:
            wanted = {"Sec-WebSocket-Version": _VERSION}
            return Answer(HTTPStatus.UPGRADE_REQUIRED, "wanted version 13", wanted)
        if not self._knows(headers.get("origin"), headers.get("host", "")):
            return Answer(HTTPStatus.FORBIDDEN, "this origin is not welcome")
        if self.authorize is not None:
            verdict = self.authorize(request)
            if isinstance(verdict, Answer):
                return verdict
            if verdict is not True:
                asked = {"WWW-Authenticate": "Bearer"}
                return Answer(HTTPStatus.UNAUTHORIZED, "not authorized", asked)
        # Browsers may send "keep-alive, Upgrade", which picows would refuse.
        if "upgrade" in _tokens(", ".join(headers.getall("connection", []))):
            headers["Connection"] = "Upgrade"
        return self._accept(request, upgrade)

    def _accept(self, request: Request, upgrade: WSUpgradeRequest) -> Passed:
        extra: dict[str, str] = {}
        offered = ", ".join(upgrade.headers.getall("sec-websocket-protocol", []))
        speaks = SUBPROTOCOL in _tokens(offered)
        if speaks:
            extra["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        inflater: Inflater | None = None
        if self.compression:
            offers = ", ".join(upgrade.headers.getall("sec-websocket-extensions", []))
            agreed = agree(offers)
            if agreed is not None:
                extra["Sec-WebSocket-Extensions"] = agreed
                inflater = Inflater()
        response: WSUpgradeResponse = WSUpgradeResponse.create_101_response(extra)
        return Passed(request, speaks, inflater, response)

    def _knows(self, origin: str | None, host: str) -> bool:
        """Whether a page of `origin` may connect; programs send no origin.

        Without a list only pages from where this server is reached itself: else any
        page a user looks at could read what a server on his machine serves. Nor is a
        name proof there, for any site may let its own name lead to this machine.
        """
        if origin is None:
            return True
        if self.origins is None:
            same = origin.lower().partition("://")[2] == host.lower()
            return same and (not self.local or _names_no_site(host))
        return ANY_ORIGIN in self.origins or origin in self.origins


def agree(offers: str) -> str | None:
    """Answer a client's offers of compression; None to none of them.

    Only what the client sends is ever compressed, so that whatever it asks of our
    own compression is granted (RFC 7692 section 7.1).
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() != _EXTENSION:
            continue
        values: dict[str, str | None] = {}
        for parameter in parameters:
            key, equals, value = (part.strip() for part in parameter.partition("="))
            # A parameter twice is as wrong as an unknown one.
            key = "" if key.lower() in values else key.lower()
            values[key] = value.strip('"') if equals else None
        if _is_sound(values):
            bits = values.get("server_max_window_bits")
            window = f"; server_max_window_bits={bits}" if bits else ""
            return f"{_EXTENSION}; {'; '.join(_FLAGS)}{window}"
    return None


def _is_sound(values: dict[str, str | None]) -> bool:
    for key, value in values.items():
        if key in _FLAGS:
            sound = value is None
        elif key == "server_max_window_bits":
            sound = value is not None and value in map(str, range(8, 16))
        elif key == "client_max_window_bits":
            sound = value is None or value in map(str, range(8, 16))
        else:
            sound = False
        if not sound:
            return False
    return True


def refuse(answer: Answer) -> WSUpgradeResponse:
    """Write an answer that ends the connection."""
    headers, body = dict(answer.headers), answer.body.encode()
    if "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "text/plain; charset=utf-8"
    if not body:
        headers["Content-Length"] = "0"
    response: WSUpgradeResponse = WSUpgradeResponse.create_ok_response(
        body or None, headers
    )
    response.status = HTTPStatus(answer.status)
    return response


def _request(upgrade: WSUpgradeRequest) -> Request:
    path, _, query = upgrade.path.decode("latin-1").partition("?")
    return Request(
        path, dict(parse_qsl(query, keep_blank_values=True)), upgrade.headers
    )


def is_loopback(host: str) -> bool:
    """Whether whoever listens there is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == _LOCALHOST


def _names_no_site(host: str) -> bool:
    """Whether a Host header has an address, or the one name nobody can own."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == _LOCALHOST or bool(ip_address(name))
    except ValueError:
        return False


def _tokens(value: str) -> set[str]:
    return {token.strip().lower() for token in value.split(",")}
