"""What a link takes to come about: the dial, and all that is said on open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from picows import WSUpgradeRequest, WSUpgradeResponse

from heartline.core.events import DialFailed, Ended, Fact, Stage, Staged, Synced
from heartline.core.items import Cause, Where
from heartline.core.session import Session
from heartline.core.terms import Terms
from heartline.errors import WireError
from heartline.observe import redact_text, secrets_of, secrets_said
from heartline.wire.carrier import Carrier, CarrierOwner
from heartline.wire.dial import dial
from heartline.wire.frames import FrameListener
from heartline.wire.plain import Fast

from .account import Outage, restore_account
from .desk import Desk
from .resuming import OFFER as PROTOCOL
from .route import Route


class AttemptOwner(CarrierOwner, Protocol):
    """Who drives the session."""

    session: Session
    carriers: dict[int, Carrier]
    """By epoch, of the links that live."""
    sent: int

    def abandon(self, epoch: int) -> None:
        """Drop the link, or the dial, of `epoch`."""
        ...


class Attempts:
    """Dials and opens the links of one stream, each for one epoch."""

    def __init__(
        self,
        route: Route,
        terms: Terms,
        owner: AttemptOwner,
        *,
        fast: Callable[[], Fast | None],
    ) -> None:
        self._route = route
        self._terms = terms
        self._owner = owner
        self._fast = fast
        self.desk: Desk | None = None
        self._variables: dict[str, object] = {}
        self._secrets: dict[int, frozenset[str]] = {}
        """By epoch, of the links that live and of the last that was dialled."""

    @property
    def secrets(self) -> frozenset[str]:
        """All that is to be masked in what any of the links says."""
        return frozenset[str]().union(*self._secrets.values())

    async def dial(self, epoch: int) -> None:
        """Connect; the outcome is told to the owner as a fact."""
        owner = self._owner
        carrier = Carrier(
            epoch,
            owner,
            keepalive_interval=self._terms.liveness.kernel_interval,
            max_message_bytes=self._route.max_message_bytes,
            outbox_limit_bytes=self._route.outbox_limit_bytes,
            fast=self._fast(),
        )
        owner.on_fact(Staged(epoch, Stage.ADDRESSING))
        try:
            target, self._variables = await self._route.target()
            self._keep(epoch, secrets_of(target.url, target.headers, target.proxy))
            if (venue := self._route.venue) is not None:
                self._keep(epoch, secrets_said(venue.variables))
            resumes = self._route.resumes

            def listen(
                request: WSUpgradeRequest, response: WSUpgradeResponse
            ) -> FrameListener:
                if resumes is not None:
                    resumes.check(response.headers.getall(PROTOCOL, []))
                return carrier.listen(request, response)

            await dial(
                target,
                listen,
                resolver=self._route.resolver,
                on_stage=lambda stage: owner.on_fact(Staged(epoch, stage)),
            )
        except WireError as error:
            self._tell(
                DialFailed(
                    epoch,
                    Cause(error.cause),
                    redact_text(error.reason, self.secrets),
                    error.status,
                    error.retry_after,
                    where=Where(error.where) if error.where else None,
                )
            )

    def _keep(self, epoch: int, secrets: frozenset[str]) -> None:
        """Remember them for as long as the link of `epoch` lives."""
        living = {*self._owner.carriers, epoch}
        kept = {of: each for of, each in self._secrets.items() if of in living}
        if secrets:
            kept[epoch] = kept.get(epoch, secrets) | secrets
        self._secrets = kept

    def begin(self, epoch: int, *, beside: bool) -> None:
        """The link of `epoch` was accepted: what comes from now on is its own."""
        if self.desk is not None:
            self.desk.begin(epoch, self._variables, beside=beside)

    async def sync(self, epoch: int) -> None:
        """Say what is to be said on open; the outcome is told as a fact."""
        owner = self._owner
        try:
            messages = await self._route.opening()
            self._keep(epoch, secrets_said(tuple(messages)))
            carrier = owner.carriers.get(epoch)
            if carrier is None:
                return
            if self.desk is not None:
                sent = await self.desk.greet(epoch, messages)
            else:
                for message in messages:
                    carrier.send(message)
                sent = len(messages)
            await self._restore(epoch)
        except WireError as error:
            owner.abandon(epoch)
            self._tell(Ended(epoch, Cause(error.cause), reason=error.reason))
            return
        owner.sent += sent
        self._tell(Synced(epoch, sent))

    async def _restore(self, epoch: int) -> None:
        """Have the user restore what only he can; raises `WireError`."""
        owner, ways = self._owner, self._route.restore
        if ways:
            since_at = owner.session.recovery.silent_since
            outage = Outage(epoch, since_at, asyncio.get_running_loop().time())
            await restore_account(ways, outage, within=self._terms.dialling.restore)

    def _tell(self, fact: Fact) -> None:
        self._owner.on_fact(fact)
