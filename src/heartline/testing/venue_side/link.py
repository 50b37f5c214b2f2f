"""One client's connection, seen from the venue.

    link = venue.connect(now=0.0)
    link.receive(frame, now=0.1)        # what the client sent
    link.tick(now=link.deadline)        # when nothing came before that
    link.drain()                        # frames to send, or the end

Instants are monotonic seconds; `Venue` knows how they stand to the venue's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from heartline.testing.rfc6455 import Frame, Opcode, Violation, close_code
from heartline.venue.field import parse_field

from .beats import Beat, beat_of_channel, beats_of, repetition
from .clocks import Meter, Sentence, Times, Unanswered, Waiting, sentences
from .hearing import Asked, Heard, Said
from .market import Event, Series
from .service import Service
from .times import ticks

if TYPE_CHECKING:
    from .house import Venue

OVER_LIMIT: Final = 1008
NO_FRAME: Final = 1006
"""A cut without a close frame."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The venue ends the connection; code 1006 is without a close frame."""

    code: int
    reason: str


Out: TypeAlias = Frame | Cut


class Link:
    """What the venue knows of one client, and what it has to say to it."""

    def __init__(self, venue: Venue, *, now: float) -> None:
        self.venue = venue
        self.cut: Cut | None = None
        self.breaches: list[str] = []
        """What the client did that the venue does not take, at most a hundred."""
        self.written = 0
        """Messages of channels that it was sent, snapshots and repetitions too."""
        self.service = Service(venue)
        self._out: list[Out] = []
        self._variables = dict(venue.variables)
        self._beats = beats_of(venue.endpoint)
        self._pings, self._probes = Waiting(), Waiting()
        self._times = Times(
            opened_at=now,
            client_ping_at=now,
            client_message_at=now,
            server_message_at=now,
            empty_since=now,
        )
        limits = venue.endpoint.limits
        self._messages = Meter(limits.messages if limits else None)
        self._requests = Meter(limits.requests if limits else None)
        for beat in self._beats:
            if beat.on:
                beat.begin(self._variables, now=now)
        self._greet(now)

    # --- facts --------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When it next has something to do of itself; None once it is cut."""
        if self.cut is not None:
            return None
        instants = [beat.next_at for beat in self._beats if beat.on]
        instants += [sentence.at for sentence in self._sentences()]
        return min(instants, default=None)

    def tick(self, *, now: float) -> None:
        """Do what has fallen due, in its order; a beat comes before a cut."""
        while self.cut is None:
            sentence = min(self._sentences(), key=lambda s: s.at, default=None)
            beats = [b for b in self._beats if b.on and b.next_at <= now]
            beat = min(beats, key=lambda b: b.next_at, default=None)
            if beat is not None and (sentence is None or beat.next_at <= sentence.at):
                self._beat(beat)
            elif sentence is not None and sentence.at <= now:
                self._end(sentence)
            else:
                return

    def receive(self, frame: Frame, *, now: float) -> None:
        """Take one frame of the client's. What fell due before it is done first."""
        if self.cut is None:
            # What comes at the very moment of a cut still counts.
            self._overdue(now)
        if self.cut is not None:
            return
        match frame.opcode:
            case Opcode.PING:
                self._pinged(frame.payload, now)
            case Opcode.PONG:
                self._ponged(frame.payload, now)
            case Opcode.CLOSE:
                self._closed(frame.payload)
            case _:
                self._message(frame.payload, now)

    def drain(self) -> list[Out]:
        """Take what is to be sent, in order; a `Cut` is always the last."""
        out, self._out = self._out, []
        return out

    # --- what the house says through it -------------------------------------------

    def deliver(self, event: Event, *, now: float) -> bool:
        """Send a channel's message; False if this client does not get it."""
        service, name = self.service, event.series.name
        is_on = name in service.subscribed and name not in service.muted
        if self.cut is not None or not is_on:
            return False
        if event.frame is not None:
            self._send(event.frame, now, name)
        else:
            self._put(service.data(event, unix=self.venue.unix(now)), now, name)
        return True

    def say(self, said: object, *, now: float) -> None:
        """Send a message of the venue's own."""
        self._put(said, now)

    def end(self, code: int, reason: str) -> None:
        """Cut the client, whatever it did."""
        if self.cut is None:
            self.cut = Cut(code, reason)
            self._out.append(self.cut)

    # --- the client's frames ------------------------------------------------------

    def _pinged(self, payload: bytes, now: float) -> None:
        self._out.append(Frame(Opcode.PONG, payload))
        self._times.client_message_at = now
        if self.venue.endpoint.liveness.ws_ping_out:
            self._times.client_ping_at = now
        self._measure(now, is_control=True)

    def _ponged(self, payload: bytes, now: float) -> None:
        pings = self.venue.endpoint.liveness.ws_ping_in
        echo = any(each.echo for each in pings)
        if pings and not self._pings.answered(payload, echo=echo):
            self._breach("a pong that answers no ping")
        self._measure(now, is_control=True)

    def _closed(self, payload: bytes) -> None:
        try:
            code, _ = close_code(payload)
        except Violation as violation:
            code = violation.code
        self.end(code, "")

    def _message(self, payload: bytes, now: float) -> None:
        endpoint, limits = self.venue.endpoint, self.venue.endpoint.limits
        self._times.client_message_at = now
        self._measure(now, is_control=False)
        after = limits.send_after_s if limits else None
        if after is not None and now < self._times.opened_at + after:
            self._breach("a message too soon after the connection opened")
            return
        most = limits.request_bytes if limits else None
        if most is not None and len(payload) > most:
            self._breach("a message too long")
            self.end(1009, "message too long")
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._breach("bytes that are no text")
            return
        heard = self.venue.hearing.hear(text)
        if not heard.said and heard.asked is None:
            self._breach("a message of no known kind")
            if endpoint.subscribe is not None:
                return
        if self.cut is None:
            self._act(heard, now)

    def _act(self, heard: Heard, now: float) -> None:
        for said in heard.said:
            if said.kind in ("enable_probe", "enable_beacon"):
                self._enable(said, now)
        step = heard.first("step")
        answered = step is not None and self._answer(step, "on_open", now)
        if step is not None or heard.asked is not None or not heard.said:
            self._times.asked_at = now
        ping = heard.first("ping")
        if ping is not None:
            self._times.client_ping_at = now
        for said in heard.said:
            if said.kind == "reply" and self._replied(said):
                self._times.client_ping_at = now
                answered = answered or self._answer(said, "msg_in", now)
        if ping is not None and not answered:
            self._answer(ping, "msg_out", now)
        if heard.asked is not None:
            self._request(heard.asked, now)

    def _enable(self, said: Said, now: float) -> None:
        known = self.venue.endpoint.variables
        for name, value in said.values.items():
            if name in known and isinstance(value, int | float):
                self._variables[name] = max(float(value), known[name].least or 0.0)
        kind = "probe" if said.kind == "enable_probe" else "beacon"
        chosen = [b for b in self._beats if b.kind == kind and b.index == said.index]
        timers = {beat.every for beat in chosen if isinstance(beat.every, str)}
        for beat in self._beats:
            # Asking again for what beats already does not put it off.
            if (beat in chosen and not beat.on) or beat.every in timers:
                beat.begin(self._variables, now=now)

    def _replied(self, said: Said) -> bool:
        captured = self.venue.captured(said.index)
        echoed = {name: said.values.get(name) for name in captured}
        return self._probes.answered((said.index, _key(echoed)), echo=True)

    def _answer(self, said: Said, kind: str, now: float) -> bool:
        speech, unix = self.venue.speech, self.venue.unix(now)
        if self.venue.silent_to(kind):
            return True
        text = speech.answer(
            kind, said.index, said.values, unix=unix, counted=self.service.count
        )
        if text is not None:
            self._put(text, now)
        return text is not None

    # --- requests -----------------------------------------------------------------

    def _request(self, asked: Asked, now: float) -> None:
        if not self._requests.takes(now=now):
            self._breach("too many requests")
            self.end(OVER_LIMIT, "too many requests")
            return
        before = set(self.service.subscribed)
        if asked.of == "subscribe":
            said = self.service.subscribe(asked, unix=self.venue.unix(now))
        else:
            said = self.service.unsubscribe(asked)
        self._follow(before, now)
        for each, channel in said:
            self._put(each, now, channel)

    def _follow(self, before: set[str], now: float) -> None:
        """Begin the signs of life of new channels, and end those of others."""
        subscribed = self.service.subscribed
        if subscribed:
            self._times.empty_since = None
            self.venue.began(now=now)
        elif before:
            self._times.empty_since = now
        self._beats = [
            b for b in self._beats if b.channel is None or b.channel in subscribed
        ]
        for name in subscribed:
            if name not in before:
                self._begin_signs(subscribed[name], now)

    def _begin_signs(self, series: Series, now: float) -> None:
        every = series.says_again_every
        if every is not None and not series.beacons:
            beat = repetition(every, series.name)
            beat.begin(self._variables, now=now)
            self._beats.append(beat)
        for index in series.beacons:
            scope = self.venue.endpoint.liveness.beacon[index].scope
            if scope != "connection":
                beat = beat_of_channel(self.venue.endpoint, index, series.name)
                beat.begin(self._variables, now=now)
                self._beats.append(beat)
                continue
            for beat in self._beats:
                if beat.kind == "beacon" and beat.index == index and not beat.on:
                    beat.begin(self._variables, now=now)

    # --- what it sends ------------------------------------------------------------

    def _greet(self, now: float) -> None:
        endpoint, speech = self.venue.endpoint, self.venue.speech
        if endpoint.bootstrap is not None:
            welcome = speech.welcome(endpoint.bootstrap, counted=self.service.count)
            if welcome is not None:
                self._put(welcome, now)
        steps = endpoint.on_open.steps if endpoint.on_open else ()
        for index, step in enumerate(steps):
            if step.send is None:
                self._answer(Said("step", index, {}), "on_open", now)

    def _put(self, said: object, now: float, channel: str | None = None) -> None:
        frame = self.venue.speech.framed(said, is_data=channel is not None)
        self._send(frame, now, channel)

    def _send(self, frame: Frame, now: float, channel: str | None) -> None:
        """Send a message, and put off the beats that are for silences."""
        if self.cut is not None:
            return
        self._times.server_message_at = now
        for beat in self._beats:
            if beat.channel is None or beat.channel == channel:
                beat.heard(self._variables, now=now)
        self.written += channel is not None
        self._out.append(frame)

    # --- beats and clocks ---------------------------------------------------------

    def _beat(self, beat: Beat) -> None:
        now = beat.next_at
        beat.next_at = now + beat.seconds(self._variables)
        beat.count += 1
        match beat.kind:
            case "ping":
                self._ping(beat, now)
            case "probe":
                self._probe(beat, now)
            case "beacon" if beat.channel is None:
                self._sign(beat, now)
            case "beacon" | "repetition":
                self._sign_of(self.service.subscribed[beat.channel or ""], beat, now)

    def _ping(self, beat: Beat, now: float) -> None:
        each = self.venue.endpoint.liveness.ws_ping_in[beat.index]
        payload = str(ticks(self.venue.unix(now), "ms")).encode()
        deadline = self.venue.timer(each.deadline_s, self._variables)
        self._pings.asked(Unanswered(now, payload, deadline))
        self._out.append(Frame(Opcode.PING, payload))

    def _probe(self, beat: Beat, now: float) -> None:
        each = self.venue.endpoint.liveness.msg_in[beat.index]
        value = ticks(self.venue.unix(now), "ms")
        captures: dict[str, object] = {
            name: value for name in self.venue.captured(beat.index)
        }
        said = self.venue.speech.say(
            self.venue.contract.control.probes[beat.index],
            counted=self.service.count,
            captures=captures,
        )
        if said is None:
            return
        deadline = self.venue.timer(each.deadline_s, self._variables)
        payload = (beat.index, _key(captures))
        self._probes.asked(Unanswered(now, payload, deadline))
        self._put(said, now)

    def _sign(self, beat: Beat, now: float) -> None:
        """A sign of life of the whole link, with its counter."""
        each = self.venue.endpoint.liveness.beacon[beat.index]
        counter = each.counter
        extra = [(parse_field(counter.field), beat.count)] if counter else []
        matcher = dict(self.venue.contract.control.beacons)[beat.index]
        said = self.venue.speech.say(matcher, counted=self.service.count, extra=extra)
        if said is not None:
            self._put(said, now)

    def _sign_of(self, series: Series, beat: Beat, now: float) -> None:
        if series.name not in self.service.muted:
            unix = self.venue.unix(now)
            index = beat.index if beat.kind == "beacon" else None
            said = self.service.standing(series, index, unix=unix)
            self._put(said, now, series.name)

    def _sentences(self) -> list[Sentence]:
        waiting = (self._pings, self._probes)
        return sentences(self.venue.endpoint, self._times, waiting, self._variables)

    def _overdue(self, now: float) -> None:
        """Do what fell due before this very moment."""
        deadline = self.deadline
        while self.cut is None and deadline is not None and deadline < now:
            self.tick(now=deadline)
            deadline = self.deadline

    def _end(self, sentence: Sentence) -> None:
        self._breach(sentence.reason)
        self.end(sentence.code, sentence.reason)

    def _measure(self, now: float, *, is_control: bool) -> None:
        limits = self.venue.endpoint.limits
        if is_control and not (limits and limits.pings_count):
            return
        if not self._messages.takes(now=now):
            self._breach("too many messages")
            self.end(OVER_LIMIT, "too many messages")

    def _breach(self, what: str) -> None:
        if len(self.breaches) < 100:
            self.breaches.append(what)


def _key(captures: dict[str, object]) -> tuple[object, ...]:
    return tuple(sorted((name, repr(value)) for name, value in captures.items()))
