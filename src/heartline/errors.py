"""Every exception heartline raises. It imports nothing.

HeartlineError
├── UsageError     the caller asked for something that cannot be: fix the call
├── VenueError     a venue profile cannot be used: fix the file
├── OutboxFull     more was sent than the link takes; that message was not taken
├── NotOpen        there is no open link to send on
├── GaveUp         the stream has ended for good and says why
└── WireError      one attempt to connect failed, or one link broke the protocol;
                   the stream handles it and tells it as an event, never raises it
"""

from __future__ import annotations


class HeartlineError(Exception):
    """Catch this to catch everything heartline raises on purpose."""


class UsageError(HeartlineError, ValueError):
    """Something was asked that cannot be; the text names field, wanted and got."""

    def __init__(self, field: str, *, wanted: str, got: object) -> None:
        super().__init__(f"{field}: wanted {wanted}, got {got!r}")
        self.field = field
        self.wanted = wanted
        self.got = got


class VenueError(HeartlineError, ValueError):
    """A venue profile says what cannot be; the text names file, key, wanted and got.

    `key` is the dotted place in the file, `got` what stands there, or None for nothing.
    """

    def __init__(self, file: str, key: str, *, wanted: str, got: object) -> None:
        found = "nothing" if got is None else _shortened(repr(got))
        super().__init__(f"{file}: {key}: wanted {wanted}, got {found}")
        self.file = file
        self.key = key
        self.wanted = wanted
        self.got = got


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


class OutboxFull(HeartlineError):
    """`send` was called with the outbox at its limit: the message was not taken.

    The stream stays as it was. Wait, shed load, or raise the limit.
    """

    def __init__(self, *, limit_bytes: int, waiting_bytes: int) -> None:
        super().__init__(
            f"outbox: wanted at most {limit_bytes} bytes waiting, "
            f"got {waiting_bytes} with this message"
        )
        self.limit_bytes = limit_bytes
        self.waiting_bytes = waiting_bytes


class NotOpen(HeartlineError):
    """`send` was called while the stream is not OPEN: the message was not taken.

    Nothing is kept for later: an order that waits through an outage is a stale order.
    `wait_live` raises it, too, where the stream has ended and will not be live again.
    """

    def __init__(self, *, phase: str, asked: str = "send") -> None:
        super().__init__(f"{asked}: wanted an OPEN stream, got phase {phase}")
        self.phase = phase


class GaveUp(HeartlineError):
    """The stream ended for good: the other end refuses us, or the policy ran out.

    `cause` is the name of the last cause (`heartline.Cause`), `status` the HTTP
    status or close code where there was one, `attempts` how many dials were made
    since the stream was last useful.
    """

    def __init__(
        self, *, cause: str, status: int | None, reason: str, attempts: int
    ) -> None:
        code = "" if status is None else f" {status}"
        detail = f": {reason}" if reason else ""
        plural = "" if attempts == 1 else "s"
        super().__init__(
            f"gave up after {attempts} attempt{plural}: {cause}{code}{detail}"
        )
        self.cause = cause
        self.status = status
        self.reason = reason
        self.attempts = attempts


class WireError(HeartlineError):
    """One link could not be made, or was broken, for a reason that has a name.

    `cause` is a `heartline.Cause` value. `status` is an HTTP status (refusals) or a
    close code; `retry_after` is seconds the other end asked us to stay away; `where` is
    a `heartline.Where` value where it is known which part of the path failed.
    """

    def __init__(
        self,
        cause: str,
        reason: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(f"{cause}: {reason}" if reason else cause)
        self.cause = cause
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.where = where
