"""A client of heartline's own reader and writer on a simulated link: no sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from heartline.testing.rfc6455 import Frame, Opcode
from heartline.testing.venue_side import Cut, Link, Options, Venue
from heartline.venue.classify import Classifier, Contract
from heartline.venue.load import load, names
from heartline.venue.reading import Acked, Beacon, Reading, Update
from heartline.venue.writer import Writer

UNIX = 1_767_225_600.0

PLACES = {
    f"{name}/{endpoint.name}": Contract(endpoint)
    for name in names()
    for endpoint in load(name).endpoints.values()
    if endpoint.subscribe is not None
}


@dataclass
class Talk:
    """A client of heartline's reader and writer, on a simulated link."""

    place: str
    options: Options = field(default_factory=Options)
    now: float = 2.0

    def __post_init__(self) -> None:
        self.contract = PLACES[self.place]
        self.venue = Venue(self.contract.endpoint, self.options, unix=UNIX)
        self.link: Link = self.venue.connect(now=0.0)
        self.classifier = Classifier(self.contract)
        pending, book = self.classifier.pending, self.classifier.book
        self.writer = Writer(self.contract, pending=pending, book=book)
        self.cut: Cut | None = None

    @property
    def examples(self) -> list[str]:
        told = self.contract.endpoint.subscribe
        assert told is not None
        return [form.example for form in told.forms]

    def hear(self) -> list[Reading]:
        readings: list[Reading] = []
        for out in self.link.drain():
            if isinstance(out, Cut):
                self.cut = out
            elif out.opcode in (Opcode.TEXT, Opcode.BINARY):
                text = out.opcode is Opcode.TEXT
                data = out.payload.decode() if text else out.payload
                readings.append(self.classifier.read(data))
        return readings

    def subscribe(self, channels: list[str]) -> list[Reading]:
        """Ask for them, slowly enough for any limit."""
        self.classifier.want(channels)
        readings: list[Reading] = []
        for request in self.writer.subscribe(channels, unix=UNIX):
            self.now += 1.0
            self.say(request.text)
            readings += self.hear()
        return readings

    def unsubscribe(self, channels: list[str]) -> list[Reading]:
        readings: list[Reading] = []
        for request in self.writer.unsubscribe(channels, unix=UNIX):
            self.now += 1.0
            self.say(request.text)
            readings += self.hear()
        return readings

    def say(self, text: str) -> None:
        self.link.receive(Frame(Opcode.TEXT, text.encode()), now=self.now)

    def wait(self, duration: float) -> list[Reading]:
        """Let time pass, with the client's own heartbeat every five seconds."""
        readings: list[Reading] = []
        until = self.now + duration
        while self.now < until:
            self.now = min(self.now + 5.0, until)
            self.venue.tick(now=self.now)
            if self.contract.endpoint.liveness.msg_out:
                self.say(self.writer.beat(0, unix=UNIX).text)
            readings += self.hear()
        return readings

    def emit(self, channel: str, messages: int = 1) -> list[Reading]:
        self.venue.burst(channel, messages, now=self.now)
        return self.hear()


def updates(readings: list[Reading]) -> list[Update]:
    """The data among them; where an acknowledgement holds some, that too."""
    found: list[Update] = []
    for reading in readings:
        held = reading.update if isinstance(reading, Beacon | Acked) else reading
        if isinstance(held, Update):
            found.append(held)
    return found


def numbered(update: Update) -> tuple[object, object, object]:
    return update.prev, update.first, update.last
