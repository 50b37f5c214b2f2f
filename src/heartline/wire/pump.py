"""Drives one machine of the core: its timer, its facts, the evidence it judges by.

It decides nothing. What the machine wants is handed to `obey`, one output at a time
and never nested: facts that arise while outputs are obeyed wait for their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

from heartline.core.events import Fact, Output, Received, Tick
from heartline.core.evidence import Evidence

from .alarms import Alarms
from .heard import Counted, Heard, add
from .machine import Machine, Sleepy
from .pulse import Pulse
from .resting import PureResting, Said, resting_of, slept_through

LATE = 0.1
"""A read this much after the armed deadline means our own loop stood still: the tick
is given first, so that what is read is known to be old. The machine has its own say."""
MOST_ARMED = 3600.0
MOST_EARLY = 0.5
"""An alarm that would ring earlier than this before anything is due is set anew."""


class Pump:
    """The clockwork around one machine. `clock` is the monotonic clock, in seconds."""

    __slots__ = (
        "_alarms",
        "_armed_at",
        "_asks",
        "_asleep",
        "_asleep_before",
        "_facts",
        "_feeding",
        "_heard",
        "_look",
        "_loop",
        "_obey",
        "_pulse",
        "_resting",
        "_rests_as",
        "_settle",
        "_sleepy",
        "_tell_by",
        "clock",
        "machine",
    )

    def __init__(
        self,
        machine: Machine,
        *,
        obey: Callable[[Output], None],
        look: Callable[[], tuple[int, Evidence]],
        settle: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.monotonic,
        asleep: Callable[[], float] = slept_through,
        pulse: Pulse | None = None,
        heard: Heard | None = None,
        sleepy: Sleepy | None = None,
    ) -> None:
        self.machine = machine
        self.clock = clock
        self._obey = obey
        self._look = look
        self._settle = settle
        self._loop = loop
        self._asleep = asleep
        self._asleep_before = asleep()
        self._pulse = pulse
        if pulse is not None:
            pulse.listen(self, self._stood_still)
        self._facts: list[Fact] = []
        self._feeding = False
        self._alarms = Alarms.of(loop, clock)
        self._armed_at = inf
        self._heard: Heard = heard if heard is not None else Counted()
        self._tell_by = -inf
        self._sleepy = sleepy
        self._resting: PureResting | None = None
        if sleepy is not None:
            self._resting = resting_of(loop, clock, asleep)
        self._rests_as: int | None = None
        """Its number among those at rest; then they are looked at without it."""
        self._asks = False
        """A ping was sent at rest, and nothing has happened since."""

    @property
    def suspended(self) -> float:
        """Seconds slept since the last tick: not seen by the monotonic clock."""
        return max(0.0, self._asleep() - self._asleep_before)

    def feed(self, fact: Fact) -> None:
        """Give the machine a fact, obey what it wants, arm its next deadline."""
        self._facts.append(fact)
        if not self._feeding:
            self._run()

    def hears(
        self, epoch: int, frames: int, data: int, size_bytes: int, *, now: float
    ) -> bool:
        """Count a read at `now` that the calm machine need not be told of yet.

        False if it has to be: then give it to `heard`. What is counted is told as of
        when it was read, and before any other fact, so that no clock of the machine
        is ever behind.
        """
        heard = self._heard
        if epoch != heard.epoch:
            return False
        if now >= heard.until_at:
            # On a busy link reads come between a deadline and its alarm.
            if now >= self._tell_by or not heard.reads:
                return False
            rests = self._rests_as is not None
            self._rouse()
            self._put_off(now)
            if rests:
                self._arm()
            if now >= heard.until_at:
                return False
        if heard.reads >= heard.most_reads or (heard.data and not data):
            # The last data is told as of when it came, and this as of now.
            return False
        if self._pulse is not None and not self._pulse.goes_on(now):
            return False
        add(heard, frames, data, size_bytes, now=now)
        return True

    def heard(
        self, epoch: int, frames: int, data: int, size_bytes: int, *, now: float
    ) -> None:
        """Tell the machine of a read at `now`, and of those counted before it."""
        self._rouse()
        if self._pulse is not None:
            self._pulse.feel(self)
        if self.is_late(now):
            self.tick()
        self.flush()
        heard = self._heard
        if epoch != heard.epoch:
            heard.epoch, heard.size_bytes = epoch, 0
        add(heard, frames, data, size_bytes, now=now)
        self.flush()

    def brought(self, fact: Fact) -> None:
        """Give the machine what a read brought beside data: an answer has its time.

        After a standstill the loop reads before it looks at its timers; the machine is
        to know of it first, or the time we slept would be the peer's round trip.
        """
        self._rouse()
        if self._pulse is not None:
            self._pulse.feel(self)
        if self.is_late(self.clock()):
            self.tick()
        self.feed(fact)

    def flush(self) -> None:
        """Tell what was kept back, so that the machine can be asked."""
        if self._rests_as is not None and self._sleepy is not None:
            self._learn(self._rests_as)
            self._sleepy.tell()
        if self._heard.frames and not self._feeding:
            self._run()

    def _run(self) -> None:
        if self._rests_as is not None:
            self._rouse()
        machine, facts, heard = self.machine, self._facts, self._heard
        self._feeding = True
        heard.until_at = self._tell_by = -inf
        told, least_delay = False, LATE
        try:
            while facts or heard.frames:
                untold, due = heard.frames, machine.deadline
                fact, now = self._next()
                for output in machine.handle(fact, now=now):
                    told = True
                    self._carry_out(output)
                if untold and machine.deadline < due and self._sleepy is not None:
                    # Nobody is late for what nobody knew of before.
                    self._sleepy.hold(min(due, self.clock()))
            least_delay = 0.0
        finally:
            # Whatever the machine raised goes to the caller; it is looked at again,
            # but not in a hot loop.
            self._feeding = False
            self._stay_calm()
            self._arm(least_delay)
        if told:
            self._settle()

    def _stay_calm(self) -> None:
        """Find out how long reads need not be told."""
        machine, now = self.machine, self.clock()
        lull = machine.lull(now=now)
        if lull and machine.epoch == self._heard.epoch:
            self._tell_by = now + lull
            self._heard.most_reads = machine.spare_reads
            self._heard.until_at = min(machine.deadline, self._tell_by)

    def _next(self) -> tuple[Fact, float]:
        """The next fact and its time: what was read first, then what else arose."""
        heard = self._heard
        if not heard.frames:
            return self._facts.pop(0), self.clock()
        fact = Received(heard.epoch, heard.frames, heard.data, heard.size_bytes)
        if heard.reads > 1:
            several = heard.reads, heard.first_at, tuple(heard.gaps)
            fact = Received(
                heard.epoch, heard.frames, heard.data, heard.size_bytes, *several
            )
        heard.frames = heard.data = heard.size_bytes = heard.reads = 0
        heard.gaps.clear()
        return fact, heard.at

    def _stood_still(self, seconds: float) -> None:
        if self.machine.deadline != inf:
            self.tick(stalled=seconds)

    def tick(self, *, stalled: float = 0.0) -> None:
        """Read the evidence and let the machine judge."""
        asleep = self._asleep()
        suspended = asleep - self._asleep_before
        self._asleep_before = asleep
        epoch, evidence = self._look()
        # Clock readings taken apart differ by microseconds; sleep is seconds.
        suspended = suspended if suspended > LATE else 0.0
        self.feed(Tick(epoch, evidence, suspended, stalled))

    def is_late(self, now: float) -> bool:
        return now - self.machine.deadline > LATE

    def stop(self) -> None:
        if self._pulse is not None:
            self._pulse.leave(self)
        self._rouse()
        self._armed_at = inf
        self._alarms.cancel(self)

    def _carry_out(self, output: Output) -> None:
        """What fails is reported, and the rest obeyed: it may be what ends the link."""
        try:
            self._obey(output)
        except Exception as error:
            self.failed_to_obey(output, error)

    def failed_to_obey(self, output: Output, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"heartline failed to obey {type(output).__name__}",
                "exception": error,
            }
        )

    def _arm(self, least_delay: float = 0.0) -> None:
        """Set the alarm; one that rings too early is cheaper than one set anew."""
        if self._lie_down():
            return
        due, armed_at = self.machine.deadline, self._armed_at
        if due >= armed_at and (due < armed_at + MOST_EARLY or due == inf):
            return
        now = self.clock()
        self._armed_at = due
        self._alarms.set(self, min(max(due, now + least_delay), now + MOST_ARMED))

    def wake(self) -> None:
        """The alarm rings."""
        if self._armed_at == inf and self._rests_as is None:
            return
        self._rouse()
        self._armed_at = inf
        if self._pulse is not None:
            self._pulse.feel(self)
            self._rouse()
        now, machine = self.clock(), self.machine
        if now >= machine.deadline and now < self._tell_by:
            self._put_off(now)
        if now >= machine.deadline:
            self.tick()
        else:
            self._arm()

    def _put_off(self, now: float) -> None:
        """Nothing may be due, for data was read that the machine was not told of."""
        heard = self._heard
        if not heard.reads or self.suspended > LATE:
            return
        self.machine.put_off(heard.at, now=now)
        heard.until_at = min(self.machine.deadline, self._tell_by)

    # --- at rest -------------------------------------------------------------------

    def _lie_down(self) -> bool:
        """Leave the looks to those who look for all at rest; whether they do."""
        sleepy, heard = self._sleepy, self._heard
        if sleepy is None:
            return False
        rest, eyes = sleepy.rest() or (None, None)
        flow = sleepy.flow(now=self.clock())
        if rest is None and flow is None:
            return False
        assert self._resting is not None
        if self._rests_as is None:
            same = self.machine.epoch == heard.epoch
            self._rests_as = self._resting.add(
                self,
                rest,
                eyes,
                late_after=sleepy.late_after,
                due_at=self.machine.deadline,
                heard=heard,
                flow=flow,
                tell_by=self._tell_by,
                lull=sleepy.lull if same else 0.0,
            )
        if self._armed_at != inf:
            self._armed_at = inf
            self._alarms.cancel(self)
        return True

    def _rouse(self) -> None:
        """Take the looks back, and let the machine know of those it was spared."""
        number = self._rests_as
        if number is None:
            return
        assert self._resting is not None
        assert self._sleepy is not None
        self._learn(number)
        if (out := self._resting.unanswered(number)) is not None:
            self._sleepy.waits(*out)
        self._rests_as, self._asks = None, False
        until, at = self._resting.take(number)
        self._sleepy.rested(until=until, at=at)

    def _learn(self, number: int) -> None:
        assert self._resting is not None
        assert self._sleepy is not None
        if (answers := self._resting.answers(number)) is not None:
            self._sleepy.learn(*answers)

    def voice(self) -> Said | None:
        assert self._sleepy is not None
        pulse = self._pulse
        return self._sleepy.voice(None if pulse is None else pulse.goes_on)

    def answered_enough(self) -> None:
        """Pings that were answered past us are to be told."""
        number = self._rests_as
        assert number is not None
        self._learn(number)
        self._rest_on(number)

    def ask(self) -> None:
        """A look has found that a ping is due, and nothing else."""
        number = self._rests_as
        if number is None or self._asks:
            return
        if self._heard.frames:
            self.wake()
            return
        assert self._resting is not None
        assert self._sleepy is not None
        self._asks = True
        self._heard.until_at = self._tell_by = -inf
        due_at = now = self.clock()
        try:
            due_at = self._sleepy.ask(now=now)
        finally:
            if self._rests_as == number:
                self._resting.wait(number, due_at)

    def answered(self, epoch: int, payload: bytes) -> bool:
        """Take a read that is one pong, if nothing but it is waited for.

        False, and nothing done, if it has to be told as any other.
        """
        number, sleepy, now = self._rests_as, self._sleepy, self.clock()
        if sleepy is None or self._feeding or self._heard.frames:
            return False
        if number is not None and not self._asks:
            return False
        if self._pulse is not None and not self._pulse.goes_on(now):
            return False
        if epoch != self.machine.epoch or self.suspended > LATE:
            return False
        outputs = sleepy.answered(payload, now=now)
        if outputs is None:
            return False
        self._rest_on(number)
        for output in outputs:
            self._carry_out(output)
        return True

    def _rest_on(self, number: int | None) -> None:
        """After an answer."""
        assert self._sleepy is not None
        found = self._sleepy.rest()
        if number is not None and found is not None:
            assert self._resting is not None
            self._asks = False
            self._resting.renew(number, found[0], self._sleepy.due_at)
        else:
            self._rouse()
            self._stay_calm()
            self._arm()
