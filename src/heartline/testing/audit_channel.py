"""The books of one channel of a recording: its messages, numbers, silences, stamps."""

from __future__ import annotations

from msgspec import Struct, structs

from heartline.core.gaps import Account, Closed, Entry, Proof
from heartline.core.items import Gap
from heartline.core.orderbook import Changes
from heartline.core.proving import Proof as Proven
from heartline.core.sequence import Reset, Rule, Unreadable
from heartline.core.tracker import Tracker
from heartline.venue.reading import Track, Update

from .audit_ages import Ages, Delays

MOST_LISTED = 1_000
"""Gaps of a channel that are listed one by one; all are counted."""


class AuditedGap(Struct, frozen=True, kw_only=True):
    """Numbers `first` to `last`, inclusive, did not come in their place.

    `missing` is how many messages that is. All three are None where the venue's
    numbers do not tell. `from_at` and `until_at` are the receipts around it, on the
    clock of the recording. `closed_by`: they came `late`, or a `snapshot` replaced
    them. `of`: whose numbers, where several are counted in one channel. `checksum`:
    that of the book did not agree; it was last known to be right at `from_at`.
    """

    first: int | None
    last: int | None
    missing: int | None
    from_at: float
    until_at: float
    of: str | None = None
    closed_by: Proof | None = None
    checksum: bool = False


class Totals(Struct, frozen=True, kw_only=True):
    """What the numbers of a channel show. It always holds that

        sent + duplicated + unplaced == received + missing + recovered

    `received` counts a message once for each run of numbers in it, nearly always one.
    `sent` is the venue's own count from the first number received to the last; None
    where `unknown` gaps do not say how many messages they lack. Where nothing is
    numbered it is what came. See `core.gaps`.
    """

    received: int = 0
    sent: int | None = 0
    duplicated: int = 0
    disordered: int = 0
    unplaced: int = 0
    missing: int = 0
    recovered: int = 0
    gaps: int = 0
    unknown: int = 0
    resets: int = 0
    unreadable: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, as far as numbers show."""
        return not self.missing and not self.unknown

    def plus(self, other: Totals) -> Totals:
        """The sum of both; `sent` is known only if both are."""
        sums: dict[str, int | None] = {}
        for name in self.__struct_fields__:
            one, two = getattr(self, name), getattr(other, name)
            sums[name] = None if one is None or two is None else one + two
        return structs.replace(self, **sums)


class Sums(Struct, frozen=True, kw_only=True):
    """The venue's checksums of a book: those that `agreed` with the messages before
    them, and those that did not. Messages whose levels could not be read are `unread`.
    """

    agreed: int = 0
    disagreed: int = 0
    unread: int = 0


class Suspicions(Struct, frozen=True, kw_only=True):
    """What numbers would show that the venue does not promise to count by one rule."""

    rule: str
    totals: Totals
    gaps: tuple[AuditedGap, ...]


class ChannelAudit(Struct, frozen=True, kw_only=True):
    """One channel; `channel` None: what is numbered over the whole connection.

    `rule` None: it has no numbers that the venue promises, and `totals` only count.
    `numbered`: messages that brought a number to compare; without any, a rule shows
    nothing.
    `longest_silence_s` is between two messages of one connection, or from the last to
    the end; it begins at `silent_from_at`.
    """

    channel: str | None
    rule: str | None
    messages: int
    numbered: int
    totals: Totals
    gaps: tuple[AuditedGap, ...] = ()
    longest_silence_s: float = 0.0
    silent_from_at: float | None = None
    latency: Delays | None = None
    suspicions: Suspicions | None = None
    checksums: Sums | None = None


class NumberBook:
    """The account of one channel under one rule, and its gaps one by one."""

    def __init__(
        self,
        channel: str | None,
        tracker: Tracker | None,
        *,
        proof: Proven | None = None,
    ) -> None:
        self.proof = proof
        """The book, where the venue proves it by checksums."""
        self.unread = 0
        self.account = Account(channel)
        self.tracker = tracker
        self.numbered = 0
        self.resets = 0
        self.unreadable = 0
        self._channel = channel
        self._gaps: list[AuditedGap] = []
        self._open: dict[int, tuple[Gap, Track]] = {}
        """What closes none of them yet: by place, with whose numbers they lack."""
        self._at: float | None = None

    @property
    def rule(self) -> Rule | None:
        return None if self.tracker is None else self.tracker.numbering.rule

    def take(self, update: Update, *, epoch: int, now: float, anew: bool) -> None:
        """Enter one run of numbers. `anew`: a snapshot, see `Tracker.feed`."""
        account = self.account
        account.received += 1
        last = update.last
        if self.tracker is not None and last is not None:
            self.numbered += 1
            odd = self.tracker.feed(update.track, last, update.prev, update.first, anew)
            if odd is not None:
                self.resets += isinstance(odd, Reset)
                self.unreadable += isinstance(odd, Unreadable)
                from_at = now if self._at is None else self._at
                noted = account.note(odd, from_at=from_at, now=now, epoch=epoch)
                self._enter(noted, update)
            if anew and account.open and self.proof is None:
                number = last if isinstance(last, int) else None
                account.whole(number, key=update.track, now=now)
                self._replace(update.track, number)
        self._at = now

    def prove(self, changes: Changes | None, *, epoch: int, now: float) -> None:
        """Enter what a message says of the book; None: it could not be read."""
        proof = self.proof
        if proof is None:
            return
        if changes is None:
            self.unread += 1
            return
        agreed_at = proof.agreed_at
        agrees = proof.take(changes, now=now)
        if agrees is False:
            from_at = now if agreed_at is None else agreed_at
            gap = Gap("checksum", from_at, now, epoch, self._channel)
            self.account.doubt(gap)
            proof.doubt(now=now)
            self._list(gap, None, None)
        elif agrees and proof.fresh:
            proof.heal(now=now)
            self.account.whole(now=now)
            for place, (gap, _) in tuple(self._open.items()):
                if gap.last is None:
                    self._close(place, "snapshot")

    def totals(self) -> Totals:
        account = self.account
        return Totals(
            received=account.received,
            sent=account.sent,
            duplicated=account.duplicated,
            disordered=account.disordered,
            unplaced=account.unplaced,
            missing=account.missing,
            recovered=account.recovered,
            gaps=account.gaps,
            unknown=account.unknown,
            resets=self.resets,
            unreadable=self.unreadable,
        )

    def gaps(self) -> tuple[AuditedGap, ...]:
        return tuple(self._gaps)

    def _of(self, update: Update) -> str | None:
        """Whose numbers they are, where the channel's name does not say it."""
        track = update.track
        if isinstance(track, tuple):
            track = track[-1] if self._channel is not None else None
        return None if track is None or track == self._channel else str(track)

    def _enter(self, entries: list[Entry], update: Update) -> None:
        for entry in entries:
            if isinstance(entry, Closed):
                for place, (gap, _) in tuple(self._open.items()):
                    # By identity: two gaps may be equal.
                    if gap is entry.gap:
                        self._close(place, entry.by)
            else:
                self._list(entry, update.track, self._of(update))

    def _list(self, gap: Gap, track: Track, of: str | None) -> None:
        if len(self._gaps) >= MOST_LISTED:
            return
        self._open[len(self._gaps)] = (gap, track)
        self._gaps.append(
            AuditedGap(
                first=gap.first,
                last=gap.last,
                missing=gap.missing,
                from_at=gap.from_at,
                until_at=gap.until_at,
                of=of,
                checksum=gap.reason == "checksum",
            )
        )

    def _replace(self, track: Track, number: int | None) -> None:
        """A snapshot of `number` came: what lacks no number beyond it is replaced.

        The account takes many open gaps for one, and cannot tell of each.
        """
        for place, (gap, whose) in tuple(self._open.items()):
            if whose != track:
                continue
            if gap.last is None or (number is not None and gap.last <= number):
                self._close(place, "snapshot")

    def _close(self, place: int, by: Proof) -> None:
        del self._open[place]
        self._gaps[place] = structs.replace(self._gaps[place], closed_by=by)


class ChannelBook:
    """All that is kept of one channel while its recording is read."""

    def __init__(
        self,
        channel: str | None,
        *,
        sure: NumberBook,
        unsure: NumberBook | None,
    ) -> None:
        self.messages = 0
        self.ages: Ages | None = None
        self._channel = channel
        self._sure, self._unsure = sure, unsure
        self._heard_at: float | None = None
        self._silence = 0.0
        self._silent_from_at: float | None = None

    def message(self, *, now: float) -> None:
        """A message of this channel came, whatever is in it."""
        self.messages += 1
        self.pause(now=now)
        self._heard_at = now

    def numbers(self, update: Update, *, epoch: int, now: float, anew: bool) -> None:
        self._sure.take(update, epoch=epoch, now=now, anew=anew)
        if self._unsure is not None:
            self._unsure.take(update, epoch=epoch, now=now, anew=anew)

    @property
    def proof(self) -> Proven | None:
        return self._sure.proof

    def prove(self, changes: Changes | None, *, epoch: int, now: float) -> None:
        """Enter what a message says of the channel's book."""
        self._sure.prove(changes, epoch=epoch, now=now)

    def pause(self, *, now: float) -> None:
        """The silence ends here, and none is counted until the next message."""
        if self._heard_at is None:
            return
        if now - self._heard_at > self._silence:
            self._silence = now - self._heard_at
            self._silent_from_at = self._heard_at
        self._heard_at = None

    def summary(self) -> ChannelAudit:
        suspicions = None
        unsure = self._unsure
        if unsure is not None and unsure.rule is not None:
            suspicions = Suspicions(
                rule=unsure.rule.value, totals=unsure.totals(), gaps=unsure.gaps()
            )
        rule, proof = self._sure.rule, self._sure.proof
        sums = None
        if proof is not None:
            sums = Sums(
                agreed=proof.agreed,
                disagreed=proof.disagreed,
                unread=self._sure.unread,
            )
        return ChannelAudit(
            channel=self._channel,
            rule=None if rule is None else rule.value,
            messages=self.messages,
            numbered=self._sure.numbered,
            totals=self._sure.totals(),
            gaps=self._sure.gaps(),
            longest_silence_s=self._silence,
            silent_from_at=self._silent_from_at,
            latency=None if self.ages is None else self.ages.summary(),
            suspicions=suspicions,
            checksums=sums,
        )
