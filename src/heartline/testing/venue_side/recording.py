"""A recording as a venue's traffic: which of its frames are data, and of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from heartline.testing.capture import Capture
from heartline.testing.rfc6455 import Frame, Opcode
from heartline.venue.classify import Classifier, Contract
from heartline.venue.reading import Acked, Beacon, Update


@dataclass(frozen=True, slots=True)
class Recorded:
    """One frame of data; `at` is seconds after the first of the recording."""

    at: float
    keys: frozenset[str]
    frame: Frame


class _Considered(dict[str, str]):
    """No key is wanted, but each that is looked for is noted.

    A message may belong to any of several channels, whichever is subscribed
    (`btcusdt@depth`, `btcusdt@depth@100ms`). Which that is will be known later.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looked_for: set[str] = set()

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            self.looked_for.add(key)
        return False


@dataclass(frozen=True, slots=True)
class Recording:
    """The data of a recording, in order."""

    frames: tuple[Recorded, ...] = ()
    bound: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """What the venue called its channels then, by their keys."""

    @property
    def keys(self) -> list[str]:
        """Of whom there is data, the most frequent first."""
        counts = Counter(key for one in self.frames for key in one.keys)
        return [key for key, _ in counts.most_common()]


def recorded(capture: Capture, contract: Contract) -> Recording:
    """The frames of data in a recording, as the profile reads them.

    Control frames and what the profile does not know are left out: the simulator says
    the former itself.
    """
    classifier = Classifier(contract)
    considered = classifier.book.by_key = _Considered()
    frames: list[Recorded] = []
    start, latest = None, 0.0
    for one in capture.inbound:
        start = one.at if start is None else start
        # A clock set back while recording must not reorder the frames.
        latest = max(latest, one.at - start)
        considered.looked_for.clear()
        keys = _keys(classifier.decide(one.data))
        if keys:
            keys |= considered.looked_for
            is_text = isinstance(one.data, str)
            opcode = Opcode.TEXT if is_text else Opcode.BINARY
            data = one.data.encode() if isinstance(one.data, str) else one.data
            frames.append(Recorded(latest, keys, Frame(opcode, data)))
    bound = {key: value for value, key in classifier.book.bound.items()}
    return Recording(tuple(frames), bound)


def _keys(reading: object) -> frozenset[str]:
    update = reading.update if isinstance(reading, Beacon | Acked) else reading
    if not isinstance(update, Update):
        return frozenset()
    sources = [update.source, *(each.source for each in update.rest)]
    return frozenset(each.key for each in sources if each.key is not None)
