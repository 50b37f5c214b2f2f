"""Counts the pings of a client before they are answered."""

from __future__ import annotations

from typing import Protocol

from picows import WSTransport

from heartline.wire.deflate import Inflater
from heartline.wire.frames import FrameListener
from heartline.wire.sink import FrameSink


class PingSink(FrameSink, Protocol):
    """A sink that is told of pings, too."""

    def on_ping(self) -> bool:
        """Whether to answer it."""
        ...


class PolicedListener(FrameListener):
    """Counts pings before they are answered."""

    def __init__(
        self, sink: PingSink, *, max_message_bytes: int, inflater: Inflater | None
    ) -> None:
        super().__init__(sink, max_message_bytes=max_message_bytes, inflater=inflater)
        self._polices = sink

    def _answer(self, transport: WSTransport, payload: bytes) -> None:
        if self._polices.on_ping():
            super()._answer(transport, payload)
