"""One client of a server: its socket, its link, its way out, and its end.

It has no timer: its server looks at it when it asks to be looked at.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import Any, Protocol

from picows import WSTransport

from heartline.core.demands import demand_whole
from heartline.core.diagnosis import Finding
from heartline.core.events import Event, Lost
from heartline.core.inbox import Inbox
from heartline.core.items import Bounds, Cause, Message
from heartline.errors import UsageError
from heartline.wire.carrier import LINGER, NO_CLOSE_FRAME
from heartline.wire.deflate import Inflater
from heartline.wire.frames import FrameListener, may_be_sent
from heartline.wire.kernel import KernelEyes, drop, harden
from heartline.wire.outbox import HIGH_WATER_BYTES
from heartline.wire.resume import BEAT

from .gate import Request
from .limits import Allowance, Limits
from .outgoing import Outgoing, checked, outgoing
from .outlet import Outlet
from .pace import Pace
from .policed import PolicedListener
from .reading import Reading
from .watch import RoundTrip, Watch
from .wheel import phase

INHERITS = sys.platform == "linux"
"""Whether what is accepted has the options of what listens: see `Server`."""
GOING_AWAY = 1001
POLICY_VIOLATION = 1008


class Owner(Protocol):
    """The server, as its clients see it."""

    limits: Limits
    pace: Pace
    clock: Callable[[], float]

    def joined(self, client: Client) -> None:
        """The upgrade is done; frames follow in the same turn of the loop."""
        ...

    def said(self, client: Client, data: list[str | bytes], now: float) -> None: ...

    def left(self, client: Client, lost: Lost) -> None: ...

    def told(self, client: Client, event: Event) -> None: ...

    def hasten(self, client: Client, due: float) -> None:
        """Look at it at `due` at the latest."""
        ...


class Client:
    """One connected client. `send` and `close` never wait."""

    __slots__ = (
        "__weakref__",
        "_abort_at",
        "_allowance",
        "_closing",
        "_expires_at",
        "_listener",
        "_owner",
        "_slow",
        "_transport",
        "_watch",
        "data",
        "joined_at",
        "lost",
        "number",
        "outlet",
        "reading",
        "request",
        "slot",
        "speaks",
    )

    def __init__(
        self, number: int, owner: Owner, request: Request, *, speaks: bool, slow: Inbox
    ) -> None:
        self.number = number
        self.request = request
        self.speaks = speaks
        """Whether it speaks `heartline.v1`."""
        self.data: Any = None
        """Yours: whatever your program wants to know of this client."""
        self.lost: Lost | None = None
        """How it ended; None while it is connected."""
        self.joined_at = 0.0
        self.outlet: Outlet | None = None
        self.reading: Reading | None = None
        self.slot = -1
        self._owner = owner
        self._slow = slow
        self._listener: FrameListener | None = None
        self._transport: WSTransport | None = None
        self._watch: Watch | None = None
        self._allowance: Allowance | None = None
        self._closing: tuple[int, str] | None = None
        self._abort_at = self._expires_at = inf

    # --- for the server's program -------------------------------------------------

    @property
    def address(self) -> str:
        """Host and port of the other end."""
        if self._transport is None:
            return ""
        peer = self._transport.underlying_transport.get_extra_info("peername")
        return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)

    @property
    def round_trip(self) -> RoundTrip:
        """Round trips of its beats; the first is known after its first beat."""
        return RoundTrip() if self._watch is None else self._watch.round_trip

    @property
    def bounds(self) -> Bounds | None:
        """Seconds of silence after which it is dropped; None once it is gone."""
        watch = None if self.lost is not None else self._watch
        return None if watch is None else watch.bounds(now=self._owner.clock())

    @property
    def waiting(self) -> int:
        """Messages that wait because it reads too slowly."""
        return 0 if self.outlet is None else self.outlet.waiting

    def __aiter__(self) -> AsyncIterator[Message]:
        """What it says, in order, until it has gone; for one handler at a time.

        A loop that was left, or timed out, is gone on with by the next.
        """
        if self.reading is None:
            raise UsageError("client", wanted="iteration in its handler", got="a hub")
        return self.reading.messages()

    def send(self, data: str | bytes) -> None:
        """Send one message to this client alone; never waits.

        If it reads too slowly the message waits for it, under the policy of its
        class. Once it has gone, nothing is sent and nothing raised.
        """
        data = checked(data)
        if self.outlet is not None and self.lost is None:
            now, number = self._owner.clock(), self.outlet.number()
            self.deliver(outgoing(None, number, data, now=now))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close: what has been written leaves first, as far as `Limits.close` allows.

        What still waits because it reads too slowly is lost. Raises `UsageError` over a
        code that no close frame may have.
        """
        demand_whole("code", code)
        if not may_be_sent(code := int(code)):
            wanted = "1000 to 1003, 1007 to 1014 or 3000 to 4999"
            raise UsageError("code", wanted=wanted, got=code)
        # It may repeat what the other end has said, which is no reason to stay.
        reason = reason.encode(errors="replace").decode()
        if self.lost is not None or self._closing is not None or not self._listener:
            return
        self._closing = (code, reason)
        self._listener.close(code, reason)
        self._abort_by(self._owner.clock() + self._owner.limits.close)

    def abort(self, reason: str = "") -> None:
        """Drop the connection now; what it has not read is gone."""
        self._end(Cause.CLOSED_BY_US, None, reason)
        self._drop()

    # --- for its server -----------------------------------------------------------

    def deliver(self, message: Outgoing) -> None:
        """Send a message at once, or let it wait as far as its class allows."""
        outlet = self.outlet
        if outlet is None or self._closing is not None:
            return
        now = self._owner.clock()
        waited = outlet.backlog is not None
        if not outlet.deliver(message, now=now):
            self.close(POLICY_VIOLATION, "slow consumer: too much waits")
        elif outlet.backlog is not None and not waited:
            self._owner.hasten(self, now + self._owner.limits.outbound_age)

    def say(self, frame: bytes) -> None:
        """Send a frame of the sub-protocol ahead of all that waits."""
        if self.outlet is None or self._closing is not None:
            return
        if not self.outlet.say(frame):
            self.close(POLICY_VIOLATION, "slow consumer: it asks and does not read")

    def pause_reading(self) -> None:
        """Take nothing more from it; only its path is watched meanwhile."""
        if self.lost is not None or not self._watch or self._transport is None:
            return
        if not self._watch.paused:
            self._transport.underlying_transport.pause_reading()
            self._watch.pause(now=self._owner.clock())
            self._owner.hasten(self, self._watch.due)

    def resume_reading(self) -> None:
        if self.lost is not None or not self._watch or self._transport is None:
            return
        if self._watch.paused:
            self._transport.underlying_transport.resume_reading()
            self._watch.resume(now=self._owner.clock())
            self._owner.hasten(self, self._watch.due)

    def look(self, *, now: float) -> float:
        """Let the link judge if it is time; when to look again, inf for never."""
        if now >= self._abort_at:
            self._end_as_told(Cause.CLOSED_BY_US, "")
            self._drop()
        elif self.lost is None and self._watch is not None:
            self._look(self._watch, now)
        if self.lost is not None or self._watch is None:
            return self._abort_at
        due = min(self._watch.due, self._abort_at, self._expires_at)
        return min(due, self._patience_ends_at)

    def _look(self, watch: Watch, now: float) -> None:
        if watch.paused and self._transport and watch.was_reset():
            # A transport that does not read would not find out before it writes.
            self._transport.underlying_transport.abort()
            return
        found = watch.look(now=now)
        if found is not None:
            self._end(found.cause, None, "", found)
            self._drop()
        elif now >= self._expires_at:
            self._expires_at = inf
            self.close(GOING_AWAY, "this connection has reached its age")
        elif now >= self._patience_ends_at:
            self.close(POLICY_VIOLATION, "slow consumer: it takes nothing any more")

    @property
    def _patience_ends_at(self) -> float:
        backlog = None if self.outlet is None else self.outlet.backlog
        if backlog is None or self._closing is not None:
            return inf
        return backlog.progress_at + self._owner.limits.outbound_age

    # --- what its link wants ------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        if self._transport is not None and self.lost is None:
            self._transport.send_ping(payload)

    def beat(self) -> None:
        if self.speaks:
            self.say(BEAT)

    def eyes(self) -> KernelEyes | None:
        if self._transport is None:
            return None
        underlying = self._transport.underlying_transport
        with contextlib.suppress(OSError):
            sock = underlying.get_extra_info("socket")
            return KernelEyes(sock, underlying.get_write_buffer_size)
        return None

    def told(self, event: Event) -> None:
        self._owner.told(self, event)

    # --- what the connection tells ------------------------------------------------

    def listener(self, inflater: Inflater | None) -> FrameListener:
        """Make what picows calls for this client."""
        self._listener = PolicedListener(
            self,
            max_message_bytes=self._owner.limits.message_bytes,
            inflater=inflater,
        )
        return self._listener

    def on_open(self, transport: WSTransport) -> None:
        owner = self._owner
        underlying = transport.underlying_transport
        underlying.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if not INHERITS:
            sock = underlying.get_extra_info("socket")
            harden(sock, keepalive_idle=owner.pace.policy.kernel_interval)
        self._transport = transport
        self.outlet = Outlet(transport.send, speaks=self.speaks, slow=self._slow)
        self.joined_at = now = owner.clock()
        self._watch = Watch(
            self, owner.pace, beats=self.speaks, phase=phase(self.number), now=now
        )
        if owner.limits.age is not None:
            self._expires_at = self.joined_at + owner.limits.age
        owner.hasten(self, min(self._watch.due, self._expires_at))
        owner.joined(self)

    def on_batch(self, data: list[str | bytes], frames: int, size_bytes: int) -> None:
        watch = self._watch
        if self.lost is not None or watch is None:
            return
        now = self._owner.clock()
        if watch.heard(frames, len(data), size_bytes, now=now):
            self._owner.hasten(self, watch.due)
        if data:
            self._owner.said(self, data, now)

    def on_pong(self, payload: bytes) -> None:
        if self._watch is not None:
            self._watch.ponged(payload)

    def on_ping(self) -> bool:
        now = self._owner.clock()
        if self._allowance is None:
            per_minute = self._owner.limits.pings_per_minute
            self._allowance = Allowance(per_minute, now=now)
        if not self._allowance.spend(now=now):
            self.close(POLICY_VIOLATION, "too many pings")
        return self._closing is None

    def on_closing(self, code: int, reason: str) -> None:
        self._end_as_told(Cause.CLOSED_BY_PEER, reason, code)
        self._linger()

    def on_broken(self, cause: Cause, reason: str) -> None:
        self._end(cause, None, reason)
        self._linger()

    def on_gone(self) -> None:
        eyes = self.eyes()
        if eyes is not None and eyes.was_reset():
            self._end_as_told(Cause.RESET, "connection reset")
        else:
            self._end_as_told(Cause.CLOSED_BY_PEER, "no close frame", NO_CLOSE_FRAME)
        if eyes is not None:
            eyes.close()
        self._release()

    def on_write_paused(self) -> None:
        if self.outlet is not None:
            self.outlet.pause()

    def on_write_resumed(self) -> None:
        # Nothing may follow a CLOSE: what waits stays, and is told as unsent.
        if self.outlet is not None and self._closing is None:
            self.outlet.resume(now=self._owner.clock())

    # --- its end ------------------------------------------------------------------

    def _end_as_told(
        self, cause: Cause, reason: str, status: int | None = None
    ) -> None:
        """End for the reason we gave it, if we did."""
        if self._closing is not None:
            self._end(Cause.CLOSED_BY_US, *self._closing)
        else:
            self._end(cause, status, reason)

    def _end(
        self,
        cause: Cause,
        status: int | None,
        reason: str,
        found: Finding | None = None,
    ) -> None:
        """Tell the end once and at once, whatever becomes of the socket."""
        watch = self._watch
        if self.lost is not None or watch is None:
            return
        now, kernel = self._owner.clock(), watch.evidence().kernel
        self.lost = Lost(
            at=now,
            epoch=self.number,
            cause=cause,
            where=found.where if found else None,
            status=status,
            reason=reason,
            evidence=found.evidence if found else "",
            since_at=max(self.joined_at, watch.heard_at),
            bound=watch.broken_promise(found, now=now) if found else None,
            unsent=self.outlet.shut() if self.outlet else 0,
            unconfirmed_bytes=kernel.outstanding_bytes if kernel else 0,
        )
        self._owner.left(self, self.lost)

    def _linger(self) -> None:
        """The last bytes get a moment to leave; then the connection is dropped."""
        if self._transport is None or self._transport.is_disconnected:
            return
        self._transport.underlying_transport.close()
        self._abort_by(self._owner.clock() + LINGER)

    def _abort_by(self, at: float) -> None:
        self._abort_at = at
        self._owner.hasten(self, at)

    def _drop(self) -> None:
        """Drop the connection: the kernel does not go on trying to deliver."""
        self._release()
        if self._transport is None or self._transport.is_disconnected:
            return
        drop(self._transport.underlying_transport)

    def _release(self) -> None:
        self._abort_at = inf
        if self._watch is not None:
            self._watch.stop()
