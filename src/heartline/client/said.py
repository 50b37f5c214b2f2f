"""What a user said on a stream, kept for as long as its secrets may be echoed."""

from __future__ import annotations

from collections import deque

from heartline.observe import secrets_said

MOST_SAID = 16
"""Messages that begin a link, where one logs in, and as many of the latest."""
LONGEST_SAID = 1 << 16
"""What is longer, in characters or bytes, is no login. A request for some thousand
channels may carry the token of one."""
_NOTHING: frozenset[str] = frozenset()


class Said:
    """The messages of `Stream.send` that a peer may echo. They are read only when it
    has said something: most are orders, and sent in haste."""

    __slots__ = ("_epoch", "_first", "_last", "_secrets")

    def __init__(self) -> None:
        self._epoch = 0
        self._first: list[str | bytes] = []
        self._last: deque[str | bytes] | None = None
        self._secrets: frozenset[str] | None = _NOTHING

    def note(self, epoch: int, data: str | bytes) -> None:
        """It was taken to be sent on the link of `epoch`."""
        if len(data) > LONGEST_SAID:
            return
        if epoch != self._epoch:
            self._epoch = epoch
            self._first.clear()
        said = data if isinstance(data, str) else bytes(data)
        if len(self._first) < MOST_SAID:
            self._first.append(said)
        elif self._last is None:
            self._last = deque((said,), MOST_SAID)
        else:
            self._last.append(said)
        self._secrets = None

    @property
    def secrets(self) -> frozenset[str]:
        """What is to be masked in what the peer says."""
        if self._secrets is None:
            self._secrets = secrets_said([*self._first, *(self._last or ())])
        return self._secrets
