"""Silence of single channels -> quiet, suspicious or stalled. It never blames a link.

A channel is held to what was declared of it, or to what was learned: its silences, and
how much its siblings say meanwhile. Where the whole market is quiet nothing is told; a
channel that is silent while its siblings go on as ever is.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from math import inf

from .channel import CHANNEL_PATIENCE
from .contracts import Freshness
from .excuses import Excuses
from .figures import Total
from .pace import Pace
from .watched import Change, Outcome, Watched, Watching

STEP = 0.1
"""Looks lie at least this far apart, however many channels are due."""
MOST_A_LOOK = 2_000
"""Channels visited in one look, about 3 ms; the rest follow in the next."""
LOOK_AGAIN = 8
"""A silent channel is looked at again when its silence has grown by this part."""
WITNESSES = 20
"""Messages of siblings that bear witness, at least, and two for each channel: where a
market closes, each still says its last."""
RECENT = 10.0
"""Half-life, in seconds, of the pace that a bound is published by."""


class ChannelWatch:
    """The third clock of a link that has channels. Feed it; look when `deadline` says.

    A message costs one look-up. The agenda holds one entry for each channel.
    """

    def __init__(self, policy: Watching | None = None, *, now: float) -> None:
        self.policy = policy or Watching()
        self.strays = 0
        """Messages of channels that are not watched."""
        self._heard = Total()
        self._heard.calm, self._heard.memory = Outcome.LIVE, self.policy.memory
        self._watched: dict[str, Watched] = {}
        self._agenda: list[tuple[float, int, Watched]] = []
        self._turn = 0
        self._looked_at = -inf
        self._excuses = Excuses()
        self._opened_total = 0
        self._usual = Pace(now=now)
        self._recent = Pace(now=now)

    # --- the way of a message -----------------------------------------------------

    def feed(self, channel: str, now: float, messages: int = 1) -> Change | None:
        """Messages of one channel were read; the change if that ends a stall.

        So does a keepalive of the venue's on that channel.
        """
        try:
            watched = self._watched[channel]
        except KeyError:
            self.strays += messages
            return None
        silence = now - watched.data_at
        watched.data_at = now
        watched.count += messages
        heard = self._heard
        heard.total += messages
        watched.all_at = heard.total
        if silence > watched.alert:
            return self.end_silence(watched, silence, now)
        return None

    def end_silence(
        self, watched: Watched, silence: float, now: float
    ) -> Change | None:
        """A silence ends that was longer than any, or that something hung on."""
        outcome, forgets = watched.outcome, False
        if watched.awaits_first:
            forgets = True
            watched.awaits_first = False
            if watched.since_at == -inf:
                watched.since_at = now
        elif now - silence >= self._heard.excused_at:
            forgets = watched.learn(self.policy, silence, now=now)
        watched.calm_down()
        if forgets or outcome is Outcome.STALLED:
            # It may be allowed less than when its next look was set.
            self._enter(watched, now + self.policy.floor)
        if outcome is not Outcome.STALLED:
            return None
        return Change(watched.name, Outcome.LIVE, silence, watched.declared)

    # --- what is watched ------------------------------------------------------------

    def watch(
        self, channel: str, contract: Freshness | None = None, *, now: float
    ) -> None:
        """Watch a channel. What was declared of it counts from now, the rest is learned
        from its first data on."""
        watched = self._watched[channel] = Watched(channel, contract, now=now)
        watched.heard = self._heard
        watched.since_at = -inf
        if contract is not None:
            self._enter(watched, now + contract.every)

    def unwatch(self, channel: str) -> None:
        watched = self._watched.pop(channel, None)
        if watched is not None:
            watched.turn = -1

    def excuse(self, *, lag: float = inf, now: float) -> None:
        """The last `lag` seconds of silence were of our making: a stall, a pause.

        Each channel is allowed so much more, and no longer: who stalls often is not
        deaf for ever. Without `lag` it is all of the silence.
        """
        self._excuses.add(lag=lag, now=now)
        self._heard.excused_at = now
        if lag == inf:
            self._opened_total = self.total

    def open(self, *, now: float) -> None:
        """A new link is OPEN: every channel is to bring its first data anew."""
        self.excuse(now=now)
        self._agenda.clear()
        for watched in self._watched.values():
            watched.outcome = Outcome.LIVE
            watched.awaits_first = True
            watched.alert = -1.0
            if watched.contract is not None:
                self._turn += 1
                watched.turn = self._turn
                due_at = now + watched.contract.every
                self._agenda.append((due_at, self._turn, watched))
        heapify(self._agenda)

    # --- what is known ----------------------------------------------------------------

    @property
    def total(self) -> int:
        """Messages of all channels."""
        return self._heard.total

    def of(self, channel: str | None) -> Watched | None:
        """What is known of one channel; None if it is not watched."""
        return None if channel is None else self._watched.get(channel)

    def outcome(self, channel: str) -> Outcome | None:
        """What is held of a channel; None if it is not watched."""
        watched = self._watched.get(channel)
        return None if watched is None else watched.outcome

    def silence(self, channel: str, *, now: float) -> float:
        """Seconds since the last data of a channel that is watched."""
        return now - self._watched[channel].data_at

    def messages(self, channel: str) -> int:
        """How many messages of a watched channel came, since it is watched."""
        return self._watched[channel].count

    def bound(self, channel: str, *, now: float) -> float | None:
        """Seconds of silence within which a channel that falls silent is told STALLED;
        None if nothing is promised of it.

        Of a learned contract it holds while the siblings say at least half of what
        they say now. It is never above `Watching.ceiling`.
        """
        watched = self._watched[channel]
        bounds = [watched.declared + CHANNEL_PATIENCE]
        # What it was allowed a while ago: it is looked at that often, and it shrinks.
        allowed = watched.allowed(self.policy, now=now - self.policy.ceiling)
        siblings = self._recent.value - watched.pace.value
        if allowed is not None and siblings > 0:
            needed = self._witness(watched, allowed)
            learned = max(allowed, 2 * needed / siblings)
            learned = learned * (1 + 1 / LOOK_AGAIN) + CHANNEL_PATIENCE
            if learned <= self.policy.ceiling:
                bounds.append(learned)
        least = min(bounds)
        return None if least == inf else least

    def ceiling(self, channel: str) -> float:
        """The largest that the bound of a channel can grow to while there is one."""
        watched = self._watched[channel]
        if watched.contract is None:
            return self.policy.ceiling
        return watched.declared + CHANNEL_PATIENCE

    # --- time -------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When `look` is wanted; inf if no channel is held to anything."""
        agenda = self._agenda
        while agenda and agenda[0][2].turn != agenda[0][1]:
            heappop(agenda)
        return max(agenda[0][0], self._looked_at + STEP) if agenda else inf

    def look(self, *, proven_at: float, now: float) -> list[Change]:
        """Judge the channels whose time has come.

        `proven_at`: when the last complete frame came, data included.
        """
        self._looked_at = now
        self._usual.learn(self.total, half_life=self.policy.memory, now=now)
        self._recent.learn(self.total, half_life=RECENT, now=now)
        changes: list[Change] = []
        agenda = self._agenda
        for _ in range(MOST_A_LOOK):
            if not agenda or agenda[0][0] > now:
                break
            _, turn, watched = agenda[0]
            if watched.turn != turn:
                heappop(agenda)
                continue
            change, again_at = self._judge(watched, proven_at, now)
            if change is not None:
                changes.append(change)
            if again_at == inf:
                heappop(agenda)
                watched.turn = -1
            else:
                heapreplace(agenda, (max(again_at, now + STEP / 2), turn, watched))
        return changes

    def is_link_at_fault(self, channel: str) -> bool:
        """Whether the link is to be made anew: a channel's own revival has failed.

        Only where its contract says so, or where every sibling of which something is
        expected has stalled as well.
        """
        watched = self._watched.get(channel)
        if watched is None or watched.outcome is not Outcome.STALLED:
            return False
        if watched.contract is not None and watched.contract.redial:
            return True
        siblings = [
            other
            for other in self._watched.values()
            if other is not watched and not other.awaits_first
        ]
        stalled = [o for o in siblings if o.outcome is Outcome.STALLED]
        return 0 < len(siblings) == len(stalled)

    def _judge(
        self, watched: Watched, proven_at: float, now: float
    ) -> tuple[Change | None, float]:
        """The change to tell of one channel, if any, and when to look at it again."""
        base_at = watched.data_at + self._excuses.since(watched.data_at)
        silence = now - base_at
        declared = watched.declared
        if watched.outcome is Outcome.STALLED:
            return self._judge_stalled(watched, silence, now)
        if silence >= declared:
            proven = proven_at >= base_at + declared
            because = f"declared: data every {declared:g} s"
            return self._accuse(watched, silence, declared, because, proven, now)
        again_at = base_at + declared
        if watched.awaits_first:
            return None, again_at
        watched.age(self.policy, now=now)
        allowed = watched.allowed(self.policy, now=now)
        if allowed is None:
            return None, min(again_at, now + self.policy.ceiling)
        if silence < allowed:
            return None, min(again_at, base_at + allowed)
        heard, needed = self._heard_of_siblings(watched, allowed)
        if heard < needed:
            watched.outcome = Outcome.QUIET
            return None, min(again_at, now + max(STEP, silence / LOOK_AGAIN))
        proven = proven_at >= base_at + allowed
        because = f"its siblings said {heard} meanwhile, of {needed:.0f} to be expected"
        return self._accuse(watched, silence, allowed, because, proven, now)

    def _judge_stalled(
        self, watched: Watched, silence: float, now: float
    ) -> tuple[Change | None, float]:
        """A declared channel that stays silent as long again may want a new link."""
        contract = watched.contract
        if contract is None or not contract.redial:
            return None, inf
        given_up_at = now - silence + 2 * contract.every + CHANNEL_PATIENCE
        if now < given_up_at:
            return None, given_up_at
        because = f"declared: data every {contract.every:g} s"
        change = Change(
            watched.name,
            Outcome.STALLED,
            silence,
            contract.every,
            because,
            redial=True,
        )
        return change, inf

    def _accuse(
        self,
        watched: Watched,
        silence: float,
        allowed: float,
        because: str,
        proven: bool,
        now: float,
    ) -> tuple[Change | None, float]:
        """Tell a channel stalled once the link is proven to live after it was due."""
        watched.alert = -1.0
        watched.granted = allowed
        before = watched.outcome
        watched.outcome = Outcome.STALLED if proven else Outcome.SUSPICIOUS
        again_at = now + STEP
        if proven and watched.contract is None:
            again_at = inf
        if watched.outcome is before:
            return None, again_at
        change = Change(
            watched.name, watched.outcome, silence, allowed, because, proven
        )
        return change, again_at

    def _heard_of_siblings(self, watched: Watched, allowed: float) -> tuple[int, float]:
        """What the siblings said in this silence, and what bears witness."""
        heard = self.total - max(watched.all_at, self._opened_total)
        if not watched.needed:
            watched.needed = self._witness(watched, allowed)
            watched.alert = -1.0
        return heard, watched.needed

    def _witness(self, watched: Watched, allowed: float) -> float:
        usual = max(0.0, self._usual.value - watched.pace.value)
        least = max(WITNESSES, 2 * len(self._watched))
        return max(least, self.policy.witness * usual * allowed)

    def _enter(self, watched: Watched, due_at: float) -> None:
        """Let the channel be looked at then, and at no other time."""
        if watched.contract is not None:
            due_at = min(due_at, watched.data_at + watched.contract.every)
        self._turn += 1
        watched.turn = self._turn
        heappush(self._agenda, (due_at, self._turn, watched))
