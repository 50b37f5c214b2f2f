"""The state of channels, fetched by HTTP: a task for each call that the core wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol

from heartline.core.feed import Feed, FeedOutput
from heartline.core.fetches import Fetch, Hosts, Snapshots
from heartline.core.items import Cause, Message
from heartline.errors import WireError
from heartline.wire.failures import seconds_to_wait

from .contract import Venue
from .discreet import discreet
from .trust import system_trust

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 64 << 20
"""Of one answer; a whole book of 5000 levels a side is about 0.5 MB."""
HOSTS = Hosts()
"""What the streams of this process know of the hosts they call."""


class RestoringOwner(Protocol):
    """Who holds the channels."""

    feed: Feed

    def obey(self, outputs: list[FeedOutput]) -> None: ...
    def run(self, what: str, epoch: int, work: Coroutine[None, None, None]) -> None: ...


class Restoring:
    """The calls of one stream. Whatever comes of one is told to the feed.

    They go by the `proxy` of the stream, and trust whom it trusts.
    """

    def __init__(
        self,
        venue: Venue,
        owner: RestoringOwner,
        *,
        clock: Callable[[], float],
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._venue = venue
        self._owner = owner
        self._clock = clock
        self._proxy = proxy
        self._ssl_context = ssl_context
        self._calls: set[asyncio.Task[None]] = set()

    def fetch(self, fetch: Fetch) -> None:
        what = f"snapshot of {fetch.channel}, {fetch.serial}"
        self._owner.run(what, fetch.epoch, self._fetch(fetch))

    def cancel(self) -> None:
        """The link is gone, and with it whatever an answer could be joined to."""
        for call in self._calls:
            call.cancel()

    async def _fetch(self, fetch: Fetch) -> None:
        feed, task = self._owner.feed, asyncio.current_task()
        call = self._venue.snapshot_call(fetch.channel)
        if call is None or not feed.restoring.fetches.awaits(fetch) or task is None:
            return
        self._calls.add(task)
        try:
            body = await self._asked(call.url)
            number, text = call.number_in(body), _text(body)
        except WireError as error:
            out = feed.restoring.failed(
                fetch,
                error.reason,
                status=error.status,
                retry_after=error.retry_after,
                now=self._clock(),
            )
        else:
            now = self._clock()
            snapshot = Message(text, now, fetch.channel, fetch.epoch, snapshot=True)
            out = feed.restoring.fetched(fetch, number, snapshot, now=now)
        finally:
            self._calls.discard(task)
        self._owner.obey(out)

    async def _asked(self, url: str) -> bytes:
        """The answer. Raises `WireError`; neither address nor answer is in its text."""
        import httpx  # costs a start that only few venues have to pay

        within = (self._venue.snapshots or Snapshots()).within
        trust = self._ssl_context or system_trust()
        try:
            client = httpx.AsyncClient(timeout=None, verify=trust, proxy=self._proxy)
            async with asyncio.timeout(within), client:
                with discreet():
                    async with client.stream("GET", url) as answer:
                        if answer.status_code != 200:
                            raise _refused(answer)
                        return await _body(answer)
        except TimeoutError:
            reason = f"it was not answered within {within:g} s"
            raise WireError(Cause.HANDSHAKE_TIMEOUT, reason) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
            # The latter two: a kind of proxy that httpx does not know by itself.
            reason = f"the call failed: {type(error).__name__}"
            raise WireError(Cause.REFUSED, reason) from None


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MOST_BYTES:
            raise WireError(Cause.TOO_BIG, f"it has more than {MOST_BYTES} bytes")
    return bytes(body)


def _refused(answer: httpx.Response) -> WireError:
    status = answer.status_code
    wait = seconds_to_wait(answer.headers.get("Retry-After"))
    reason = f"HTTP {status}"
    return WireError(Cause.REFUSED, reason, status=status, retry_after=wait)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise WireError(Cause.PROTOCOL, "the answer is no text") from None
