"""`heartline.serve`: everything a user may say about a server, and its defaults."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from types import NoneType

from heartline.core.demands import Kinds, demand_kinds, demand_prompt, demand_whole
from heartline.core.detector import Liveness
from heartline.core.inbox import Inbox, Overflow
from heartline.errors import UsageError
from heartline.wire.resume import Resume

from .gate import Authorize, Gate, Page, is_loopback
from .hub import Handler, Handlers, Hub
from .limits import Limits
from .plan import Plan, Slow, Watcher
from .server import Server

LIVENESS = Liveness(kernel_interval=10, ping_every=10.0, stall_after=0.5)
"""A server hears its clients by its own beats: asking their kernels each second, as a
client does with its one venue, would wake it ten times as often."""

SLOW = Inbox(limit=1024, limit_bytes=1 << 20, policy=Overflow.DROP_OLDEST)

KINDS: Kinds = {
    "program": ("a coroutine function, a Hub or None", (Callable, Hub, NoneType)),
    "host": ("an address, or several", (str, Sequence)),
    "liveness": ("a Liveness", (Liveness,)),
    "limits": ("a Limits or None", (Limits, NoneType)),
    "slow": ("an Inbox or a callable", (Inbox, Callable)),
    "resume": ("a Resume or None", (Resume, NoneType)),
    "origins": ("a list of origins or None", (Sequence, NoneType)),
    "authorize": ("a callable or None", (Callable, NoneType)),
    "pages": ("a mapping or None", (Mapping, NoneType)),
    "ssl_context": ("an ssl.SSLContext or None", (ssl.SSLContext, NoneType)),
    "compression": ("True or False", (bool,)),
    "on_event": ("a callable or None", (Callable, NoneType)),
}


def serve(
    program: Handler | Hub | None = None,
    host: str | Sequence[str] = "127.0.0.1",
    port: int = 0,
    *,
    liveness: Liveness = LIVENESS,
    limits: Limits | None = None,
    slow: Slow = SLOW,
    resume: Resume | None = None,
    origins: Sequence[str] | None = None,
    authorize: Authorize | None = None,
    pages: Mapping[str, Page] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    compression: bool = False,
    on_event: Watcher | None = None,
) -> Server:
    """Describe a server of streams; it listens inside `async with`.

        async with heartline.serve() as server:
            server.publish("ticks", {"price": 42})

    `program` is a coroutine run for each client, which it reads with `async for`, or a
    `Hub` of callbacks, which costs less; without one, clients that speak
    `heartline.v1` read the channels they ask for. Port 0 takes a free one. `slow` is
    what happens to a client that reads too slowly: an `Inbox`, or a callable that
    chooses one by the request. `resume`: what is kept for clients that come back.
    `origins`: pages that may connect, "*" for all; else those of this very host, which
    on a loopback address without TLS has to be an address or `localhost`. `authorize`
    is asked about each request that passed the rest: True, False (401), or an `Answer`;
    it must not wait. `pages` answer plain HTTP. `compression`: clients may compress
    what they send. `on_event` is given every client's events. Raises `UsageError`.
    """
    demand_kinds(KINDS, locals())
    _demand_port(port)
    hosts = [host] if isinstance(host, str) else host
    gate = Gate(
        origins=origins,
        authorize=authorize,
        pages=pages or {},
        compression=compression,
        local=ssl_context is None and all(map(is_loopback, hosts)),
    )
    return Server(
        Plan(
            hub=_hub(program),
            host=host,
            port=port,
            liveness=liveness,
            limits=limits or Limits(),
            slow=slow,
            resume=resume or Resume(),
            gate=gate,
            ssl_context=ssl_context,
            on_event=on_event,
        )
    )


def _demand_port(port: int) -> None:
    demand_whole("port", port)
    if not 0 <= port < 1 << 16:
        raise UsageError("port", wanted="0 to 65535", got=port)


def _hub(program: Handler | Hub | None) -> Hub:
    if program is None:
        return Hub()
    if not isinstance(program, Hub):
        return Handlers(program)
    for name in Hub.CALLED:
        demand_prompt(f"{type(program).__name__}.{name}", getattr(program, name))
    return program
