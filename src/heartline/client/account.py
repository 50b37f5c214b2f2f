"""What the user restores by other ways before a link counts as OPEN: account state."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from msgspec import Struct

from heartline.core.items import Cause
from heartline.errors import UsageError, WireError

from .callables import report_discreetly


class Outage(Struct, frozen=True):
    """What a stream comes back from, on its link `epoch`. Monotonic seconds.

    Nothing after `from_at`, the last sign of life of the last OPEN link, is known to
    be complete; None where there was none: the stream begins.

    `connect(..., restore=ask)` calls `ask(outage)`, and awaits it, before each link
    counts as OPEN: open orders and positions are asked again there. Of several, the
    next is tried where one raises or takes longer than `Dialling.restore`; where all
    do, the link is given up and dialled again.
    """

    epoch: int
    from_at: float | None
    until_at: float


Restore: TypeAlias = Callable[[Outage], Awaitable[object] | object]


def routes_of(restore: Restore | Sequence[Restore]) -> tuple[Restore, ...]:
    """The ways that `connect` was given, in their order; raises `UsageError`."""
    routes: tuple[object, ...] = (restore,)
    if isinstance(restore, Sequence):
        routes = tuple(cast("Sequence[object]", restore))
    for route in routes:
        if not callable(route):
            wanted, got = "a callable, or several", type(route).__name__
            raise UsageError("restore", wanted=wanted, got=got)
    return cast("tuple[Restore, ...]", routes)


async def restore_account(
    routes: Sequence[Restore], outage: Outage, *, within: float
) -> None:
    """Try one way after another until one succeeds; each has `within` seconds.

    Raises `WireError` if none does: without its account state no link is OPEN. What a
    way raises goes to the loop's exception handler; its text, which may hold a secret,
    only to one that the user has set.
    """
    failed: list[str] = []
    for number, route in enumerate(routes, 1):
        try:
            async with asyncio.timeout(within):
                done = route(outage)
                if inspect.isawaitable(done):
                    await done
        except TimeoutError:
            failed.append(f"way {number} took longer than {within:g} s")
        except Exception as error:
            report_discreetly("restore", error)
            failed.append(f"way {number} raised {type(error).__name__}")
        else:
            return
    if routes:
        reason = f"the account's state was not restored: {'; '.join(failed)}"
        raise WireError(Cause.CLOSED_BY_US, reason)
