"""What travels over the simulated network."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Frame(Struct, frozen=True, gc=False):
    """What one end's program says to the other's: a frame, or a word of the upgrade.

    Data comes in blocks: `messages` of them with the numbers from `value` on.
    """

    kind: str
    value: int | bytes = 0
    text: str = ""
    messages: int = 1

    @property
    def numbers(self) -> range:
        """Those of the data it brings."""
        assert isinstance(self.value, int)
        return range(self.value, self.value + self.messages)


class Kind(Enum):
    DATA = "data, or a bare acknowledgement"
    KEEPALIVE = "keepalive"
    WINDOW_PROBE = "window probe"
    RESET = "reset"


class Packet(Struct, frozen=True, gc=False):
    kind: Kind
    seq: int
    size_bytes: int
    frames: tuple[Frame, ...]
    acknowledges: int
    window_bytes: int
    hole: bool
