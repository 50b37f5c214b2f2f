"""Takes messages of data as they nearly always are: one in its order after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from heartline.compiled import compiled
from heartline.core.feed import FeedOutput, Line
from heartline.core.figures import Take
from heartline.core.items import Gap, Message
from heartline.venue.classify import Classifier
from heartline.venue.reading import Reading, Update

from .ages import Dated

Note: TypeAlias = Callable[[Update, str | bytes, Dated], None]


class Unusual(Protocol):
    """Takes any message; `taken` says that the feed has it, and `told` what of it."""

    def __call__(
        self,
        data: str | bytes,
        reading: Reading,
        taken: bool,
        told: Iterable[FeedOutput] | None,
        items: list[Message | Gap],
        age: float,
        now: float,
    ) -> None: ...


def pure_take_all(
    data: list[str | bytes],
    classifier: Classifier,
    take: Take,
    unusual: Unusual,
    note: Note | None,
    items: list[Message | Gap],
    *,
    epoch: int,
    age: float,
    now: float,
) -> None:
    """Take all messages of one read by `take`, and give them to `items`.

    What is more than data of a channel that is in order is left to `unusual`. All data
    is shown to `note`.
    """
    append, classify = items.append, classifier.read
    for each in data:
        reading = classify(each)
        told, taken = None, False
        if type(reading) is Update:
            if note is not None:
                note(reading, each, classifier.dated)
            source = reading.source
            line: Line | None = source.line
            if line is not None and line.is_usual:
                told = take(
                    line,
                    reading.track,
                    reading.last,
                    reading.prev,
                    reading.first,
                    reading.restarts,
                    now,
                )
                if told is None and not reading.links and not reading.rest:
                    append(Message(each, now, source.channel, epoch, age))
                    continue
                taken = True
        unusual(each, reading, taken, told, items, age, now)


if TYPE_CHECKING:
    take_all = pure_take_all
elif (_found := compiled("client._usual")) is not None:
    take_all = _found.take_all
else:
    take_all = pure_take_all
