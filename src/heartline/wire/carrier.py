"""One connection's socket: frames become facts, commands become bytes.

It belongs to one epoch and reports its end exactly once. It decides nothing and
never waits: every command returns at once, whatever the peer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from picows import WSTransport, WSUpgradeRequest, WSUpgradeResponse

from heartline.core.events import Ended, Fact, Pinged, Ponged
from heartline.core.evidence import Evidence
from heartline.core.items import Cause

from .deflate import Deflater, Inflater, negotiate
from .frames import FrameListener
from .kernel import KernelEyes, SocketLike, drop, harden
from .outbox import Outbox
from .plain import Fast, Hear

NO_CLOSE_FRAME = 1006
"""Reported for an end without a closing handshake (RFC 6455 section 7.1.5)."""
LINGER = 0.25
"""After the closing handshake the transport gets this long to flush; then it is
aborted. Off the critical path: the end has been told before."""


class CarrierOwner(Protocol):
    """Who drives the machine that this connection's facts go to."""

    def on_carried(self, carrier: Carrier) -> None:
        """The upgrade was accepted; frames follow in the same turn of the loop."""
        ...

    def on_data(
        self, carrier: Carrier, data: list[str | bytes], frames: int, size_bytes: int
    ) -> None: ...

    def on_fact(self, fact: Fact) -> None: ...

    def on_answer(self, epoch: int, payload: bytes) -> bool:
        """Take a read that is one pong; False if it is to be told as any other."""
        ...


class Carrier:
    """The I/O of one link."""

    __slots__ = (
        "_deflater",
        "_ended",
        "_eyes",
        "_fast",
        "_keepalive_interval",
        "_lingering",
        "_listener",
        "_max_message_bytes",
        "_outbox_limit_bytes",
        "_owner",
        "_reads",
        "_transport",
        "address",
        "epoch",
        "outbox",
    )

    def __init__(
        self,
        epoch: int,
        owner: CarrierOwner,
        *,
        keepalive_interval: int,
        max_message_bytes: int,
        outbox_limit_bytes: int,
        fast: Fast | None = None,
    ) -> None:
        self.epoch = epoch
        self._fast = fast
        self.address = ""
        self.outbox: Outbox | None = None
        self._owner = owner
        self._keepalive_interval = keepalive_interval
        self._max_message_bytes = max_message_bytes
        self._outbox_limit_bytes = outbox_limit_bytes
        self._listener: FrameListener | None = None
        self._transport: WSTransport | None = None
        self._eyes: KernelEyes | None = None
        self._deflater: Deflater | None = None
        self._ended = False
        self._reads = True
        self._lingering: asyncio.TimerHandle | None = None

    def listen(
        self, request: WSUpgradeRequest, response: WSUpgradeResponse
    ) -> FrameListener:
        """Make the listener of an accepted upgrade; raises `WireError` on a bad one."""
        answers = response.headers.getall("Sec-WebSocket-Extensions", [])
        deflation = negotiate(", ".join(answers) or None)
        inflater: Inflater | None = None
        if deflation is not None:
            inflater, self._deflater = deflation.client_ends()
        self._listener = FrameListener(
            self,
            max_message_bytes=self._max_message_bytes,
            inflater=inflater,
            fast=self._fast,
            answered=self._on_lone_pong,
        )
        return self._listener

    @property
    def socket(self) -> SocketLike | None:
        """The connection's socket; None before the upgrade and after the end."""
        if self._transport is None or self._ended:
            return None
        found: SocketLike = self._transport.underlying_transport.get_extra_info(
            "socket"
        )
        return found

    # --- commands ----------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Queue a ping ahead of waiting messages; report the evidence right after."""
        if self._transport is not None and not self._ended:
            self._owner.on_fact(Pinged(self.epoch, self.ask(payload)))

    def ask(self, payload: bytes) -> Evidence:
        """The same, where the evidence goes to the caller."""
        if self._transport is None or self._ended:
            return Evidence()
        self._transport.send_ping(payload)
        return self.evidence()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._ended:
            self._reads = False
            self._transport.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._ended:
            self._reads = True
            self._transport.underlying_transport.resume_reading()

    def send(self, data: str | bytes) -> None:
        """Queue a message; raises `OutboxFull` and takes nothing over the limit."""
        assert self.outbox is not None
        self.outbox.put(data)

    def send_first(self, data: str | bytes) -> None:
        """Queue a heartbeat ahead of waiting messages; see `Outbox.put_first`."""
        if self.outbox is not None and not self._ended:
            self.outbox.put_first(data)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; its deadline is the machine's business."""
        if self._transport is None or self._ended:
            return
        assert self._listener is not None
        self._listener.close(code, reason)

    def abort(self) -> None:
        """Drop the connection now: unsent bytes are gone, nothing is waited for."""
        self._shut()
        self._release()
        if self._transport is None or self._transport.is_disconnected:
            return
        drop(self._transport.underlying_transport)

    @property
    def talk(self) -> tuple[Callable[[bytes], None], Hear] | None:
        """What sends a ping past us, and who is told who hears lone pongs."""
        listener, transport = self._listener, self._transport
        if transport is None or listener is None or self._ended:
            return None
        return None if listener.hear is None else (transport.send_ping, listener.hear)

    @property
    def unsent(self) -> int:
        """Messages taken and not handed over; none once the end has told of them."""
        return 0 if self._ended or self.outbox is None else self.outbox.unsent

    @property
    def eyes(self) -> KernelEyes | None:
        """What reads the kernel's evidence; None before the upgrade, after the end."""
        return self._eyes

    def evidence(self) -> Evidence:
        if self._eyes is None:
            return Evidence()
        evidence = self._eyes.read()
        blind = not self._reads or evidence.kernel is None
        if blind and self._transport is not None and self._eyes.was_reset():
            # A transport that does not read would not find out before it writes, and
            # uvloop's does not either, in one of some thirty resets on a busy machine.
            self._transport.underlying_transport.abort()
        waiting = self.outbox.waiting if self.outbox else 0
        if waiting:
            return Evidence(evidence.kernel, evidence.unread_bytes, waiting)
        return evidence

    # --- what the connection tells ------------------------------------------------

    def on_open(self, transport: WSTransport) -> None:
        underlying = transport.underlying_transport
        sock = underlying.get_extra_info("socket")
        harden(sock, keepalive_idle=self._keepalive_interval)
        self._transport = transport
        self._eyes = KernelEyes(sock, underlying.get_write_buffer_size)
        self.outbox = Outbox(
            transport, limit_bytes=self._outbox_limit_bytes, deflater=self._deflater
        )
        peer = underlying.get_extra_info("peername")
        self.address = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)
        self._owner.on_carried(self)

    def on_batch(self, data: list[str | bytes], frames: int, size_bytes: int) -> None:
        if not self._ended:
            self._owner.on_data(self, data, frames, size_bytes)

    def on_pong(self, payload: bytes) -> None:
        if not self._ended:
            self._owner.on_fact(Ponged(self.epoch, payload))

    def _on_lone_pong(self, payload: bytes) -> bool:
        return not self._ended and self._owner.on_answer(self.epoch, payload)

    def on_closing(self, code: int, reason: str) -> None:
        self._end(Cause.CLOSED_BY_PEER, code, reason)

    def on_broken(self, cause: Cause, reason: str) -> None:
        self._end(cause, None, reason)

    def on_gone(self) -> None:
        reset = self._eyes is not None and self._eyes.was_reset()
        if reset:
            self._end(Cause.RESET, None, "connection reset")
        else:
            self._end(Cause.CLOSED_BY_PEER, NO_CLOSE_FRAME, "no close frame")
        self._release()

    def on_write_paused(self) -> None:
        if self.outbox is not None:
            self.outbox.pause()

    def on_write_resumed(self) -> None:
        if self.outbox is not None:
            self.outbox.flush()

    def _end(self, cause: Cause, status: int | None, reason: str) -> None:
        """Tell the end once and at once; the last bytes get a moment to leave."""
        if self._ended:
            return
        self._shut()
        kernel = self.evidence().kernel
        fact = Ended(
            self.epoch,
            cause,
            status,
            reason,
            unsent=self.outbox.unsent if self.outbox else 0,
            unconfirmed_bytes=kernel.outstanding_bytes if kernel else 0,
        )
        if self._transport is not None and not self._transport.is_disconnected:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER, self.abort)
            self._transport.underlying_transport.close()
        self._owner.on_fact(fact)

    def _shut(self) -> None:
        """From here on nothing is told but what this end itself tells."""
        self._ended = True
        if self._listener is not None:
            self._listener.shut()

    def _release(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._eyes is not None:
            self._eyes.close()
            self._eyes = None
