"""Who takes what the frames of a link bring."""

from __future__ import annotations

from typing import Protocol

from picows import WSTransport

from heartline.core.items import Cause


class FrameSink(Protocol):
    """Whoever drives a link. Called in the read path: be quick, never block.

    An exception raised here is a defect of ours: it goes to the loop's exception
    handler, and the link is aborted.
    """

    def on_open(self, transport: WSTransport) -> None:
        """Take the transport, before any frame."""
        ...

    def on_batch(self, data: list[str | bytes], frames: int, size_bytes: int) -> None:
        """Take what a read of the socket completed; the list is yours to keep.

        `frames` counts all complete frames, control frames and fragments too, so
        `data` may be empty. `size_bytes` is their size on the wire with headers.
        A read that completes no frame is not told.
        """
        ...

    def on_pong(self, payload: bytes) -> None:
        """Take a pong, before the data of the same read."""
        ...

    def on_closing(self, code: int, reason: str) -> None:
        """The peer sent CLOSE, and it has been answered; no frame follows.

        Once at most. `code` is 1005 if the peer gave none.
        """
        ...

    def on_broken(self, cause: Cause, reason: str) -> None:
        """The peer broke the protocol or a limit: PROTOCOL or TOO_BIG.

        Once at most. A CLOSE with the right code is queued, no frame follows, and
        the link is good for nothing but to be aborted.
        """
        ...

    def on_gone(self) -> None:
        """The connection has ended. Always last, exactly once."""
        ...

    def on_write_paused(self) -> None:
        """The transport holds more than its high-water mark: write nothing more."""
        ...

    def on_write_resumed(self) -> None: ...
