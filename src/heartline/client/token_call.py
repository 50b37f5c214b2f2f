"""The call that some venues want before the dial: it tells the address and a token."""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid

import msgspec

from heartline.core.items import Cause
from heartline.errors import UsageError, WireError
from heartline.venue.bootstrap import extracted
from heartline.venue.payload import NOT_JSON
from heartline.venue.template import Text, as_text

from .contract import Venue
from .discreet import discreet
from .trust import system_trust

TIMEOUT = 5.0
"""Seconds for the whole call; within the deadline of the dial."""


async def addressed(
    url: str,
    venue: Venue,
    *,
    proxy: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> tuple[str, dict[str, object]]:
    """The URL to dial, filled in, and the variables it took; raises `WireError`.

    The profile's call is made unless the user gave all that it would tell. It goes by
    the `proxy` of the stream, and trusts whom it trusts.
    """
    known: dict[str, object] = {
        "uuid": uuid.uuid4().hex,
        "now_ms": int(time.time() * 1000),
        "now_s": int(time.time()),
        **{name: each.value for name, each in venue.profile.variables.items()},
        **venue.variables,
    }
    told: dict[str, object] = {}
    bootstrap = venue.profile.bootstrap
    call = bootstrap.http if bootstrap is not None else None
    if bootstrap and call and bootstrap.extract.keys() - venue.variables.keys():
        where = Text(call.url, field="bootstrap.http.url")
        at = venue.token_url or as_text(where.fill(known))
        document = await _asked(call.method, at, proxy, ssl_context or system_trust())
        try:
            told = extracted(bootstrap, document)
        except UsageError as error:
            reason = f"the token call told no {error.field}"
            raise WireError(Cause.PROTOCOL, reason) from None
    template, values = Text(url, field="url"), known | told
    if absent := template.names - values.keys():
        wanted = f"variables for {', '.join(sorted(absent))}"
        raise UsageError("url", wanted=wanted, got="none")
    return as_text(template.fill(values)), told


async def _asked(
    method: str, url: str, proxy: str | None, trust: ssl.SSLContext
) -> object:
    """The answer, as JSON. Neither it nor the address is told: either may be secret."""
    import httpx  # costs a start that only few venues have to pay

    try:
        client = httpx.AsyncClient(timeout=None, verify=trust, proxy=proxy)
        async with asyncio.timeout(TIMEOUT), client:
            with discreet():
                answer = await client.request(method, url)
    except TimeoutError:
        reason = f"the token call was not answered within {TIMEOUT:g} s"
        raise WireError(Cause.HANDSHAKE_TIMEOUT, reason) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        # The latter two: a kind of proxy that httpx does not know by itself.
        lost = isinstance(error, httpx.NetworkError)
        why = "no connection" if lost else type(error).__name__
        reason = f"the token call failed: {why}"
        raise WireError(Cause.REFUSED, reason) from None
    if answer.status_code != 200:
        reason = "the token call was refused"
        raise WireError(Cause.REFUSED, reason, status=answer.status_code)
    try:
        return msgspec.json.decode(answer.content)
    except NOT_JSON:
        raise WireError(Cause.PROTOCOL, "the token call told no JSON") from None
