"""`heartline audit`: what a recording holds, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from heartline.cli.running import Exit, fail, leave_stdout
from heartline.errors import UsageError, VenueError
from heartline.observe.words import duration, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from heartline.testing.audit import Audit, Dropped
    from heartline.testing.audit_ages import Clocks
    from heartline.testing.audit_channel import AuditedGap, ChannelAudit
    from heartline.ui.audit import Row
    from heartline.venue.profile import Endpoint, Profile

PIPE_WIDTH = 100
"""Columns where the output is no terminal."""
MOST_ROWS = 200
"""Channels in the table, those that lack something first; --json has all."""
MOST_GAPS = 20
"""Gaps told one by one; --json has more."""
MOST_SILENT = 5
"""Channels without any data that are named; --json has all."""
SINCE_1970 = 1e9
"""Receipts above this are times of day, those below are counted from anything."""
WHOLE_LINK = "(whole connection)"


def audit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The recording: a .jsonl or .gz, or what watch --json wrote.",
        ),
    ],
    venue: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Whose traffic it is: a venue, or a profile (./mine.toml).",
        ),
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The venue's endpoint. Without it, the one the recording dialled, "
            "or the venue's first.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object instead.")
    ] = False,
) -> None:
    """Tell what a recording of a venue's traffic holds, and what it lacks.

    For each channel: its messages, its gaps and how much was lost, what came twice or
    late, its longest silence, and how old its messages were on receipt. The exit status
    is 0 when nothing is missing, 1 when something is. Channels whose numbers the venue
    does not promise show suspicions, which are told apart and change nothing.
    """
    try:
        found = _audit(file, venue, endpoint)
    except (UsageError, VenueError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{file}: wanted a file to read, got {error.strerror or error}")
    try:
        if json:
            told = msgspec.to_builtins(found)
            head = {"file": file.name, "venue": venue, "whole": found.whole}
            encoded = msgspec.json.encode(head | told)
            print(msgspec.json.format(encoded, indent=2).decode())
        else:
            _tell(found, file.name, venue)
    except BrokenPipeError:
        leave_stdout()
    if not found.whole:
        raise typer.Exit(Exit.GAVE_UP)


def _audit(file: Path, venue: str, endpoint: str | None) -> Audit:
    # Other commands need not wait for what only this one imports.
    from heartline.testing.audit import audit_capture
    from heartline.testing.capture import read_capture
    from heartline.venue.classify import Contract
    from heartline.venue.load import load

    profile = load(venue)
    named = profile.endpoint(endpoint) if endpoint is not None else None
    capture = read_capture(file)
    if not capture.inbound:
        raise UsageError(file.name, wanted="an inbound frame", got="none")
    chosen = named if named is not None else dialled(profile, capture.url)
    found = audit_capture(capture, Contract(chosen))
    if found.unknown.count == found.inbound:
        # Of what it cannot read it must not say that nothing is missing.
        wanted = f"messages of {venue}, {found.endpoint}"
        got = f"{_several(found.inbound, 'message')} unknown to it"
        fail(f"{file.name}: wanted {wanted}, got {got}")
    return found


def dialled(profile: Profile, url: str | None) -> Endpoint:
    """The endpoint whose address is most like the one dialled, or the first."""
    if url is None:
        return profile.endpoint()
    given = urlsplit(url)

    def likeness(endpoint: Endpoint) -> tuple[bool, bool, int]:
        known = [endpoint.address.url, *endpoint.address.variants.values()]
        addresses = [urlsplit(address) for address in known if address]
        same = [a.path for a in addresses if a.netloc == given.netloc]
        shared = [len(path) for path in same if given.path.startswith(path)]
        return bool(same), _bare(given.path) in map(_bare, same), max(shared, default=0)

    return max(profile.endpoints.values(), key=likeness)


def _bare(path: str) -> str:
    return path.rstrip("/")


# --- in words ---------------------------------------------------------------------


def _tell(audit: Audit, file: str, venue: str) -> None:
    from heartline.ui.audit import table
    from heartline.ui.page import Page

    console = Page(pipe_width=PIPE_WIDTH, plain=True)
    console.print(f"{file}: {venue}, {audit.endpoint}", style="bold")
    for line in contents(audit):
        console.print(line)
    console.print()
    books = sorted((*audit.link, *audit.channels), key=lambda each: each.totals.whole)
    rows = [row_of(each) for each in books[:MOST_ROWS]]
    console.print(table(rows, width=console.width))
    console.print()
    if len(books) > MOST_ROWS:
        console.print(f"And {len(books) - MOST_ROWS:,} more channels: see --json.\n")
    _tell_losses(console, audit)
    for line in (*suspicions(audit), *ages(audit), *proofs(audit), sums(audit)):
        console.print(line)
    console.print(verdict(audit), style="green" if audit.whole else "bold red")


def contents(audit: Audit) -> Iterator[str]:
    """What came, in all."""
    links = "" if audit.connections == 1 else f", over {audit.connections} connections"
    yield (
        f"{_several(audit.inbound, 'message')} in, {audit.outbound:,} out, in "
        f"{duration(audit.seconds)}{links}."
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in audit.control.items())
    yield f"Data: {audit.data:,}. Control: {kinds or 'none'}."
    for what, odd in (("Unknown", audit.unknown), ("Malformed", audit.malformed)):
        if odd.count:
            frames = ", ".join(map(str, odd.frames))
            more = ", …" if odd.count > len(odd.frames) else ""
            why = "; ".join(f"{one_line(r)} ({n:,})" for r, n in odd.reasons.items())
            tail = f": {why}" if why else ""
            yield f"{what}: {odd.count:,}, in frame {frames}{more}{tail}."
    if audit.silent:
        named = ", ".join(map(one_line, audit.silent[:MOST_SILENT]))
        more = ", …" if len(audit.silent) > MOST_SILENT else ""
        asked = _several(len(audit.silent), "channel")
        yield f"Asked for and silent throughout: {asked}: {named}{more}."
    if audit.unknown.count > audit.inbound / 2:
        yield "Most of it is unknown: it may be of another venue or endpoint."


def row_of(each: ChannelAudit) -> Row:
    """What the table shows of a channel."""
    from heartline.ui.audit import Row

    totals, latency = each.totals, each.latency
    rule = each.rule or ""
    if each.suspicions is not None:
        rule = f"{each.suspicions.rule}?"
    elif rule and not each.numbered:
        rule = "none came"
    elif each.checksums is not None and not rule:
        rule = "checksums"
    return Row(
        channel=WHOLE_LINK if each.channel is None else each.channel,
        rule=rule,
        messages=each.messages,
        gaps=totals.gaps,
        lost=lost(totals.missing, totals.unknown),
        duplicated=totals.duplicated,
        disordered=totals.disordered,
        resets=totals.resets,
        silence=each.longest_silence_s,
        median=latency.median_s if latency else None,
        p99=latency.p99_s if latency else None,
        skew=latency.skew_s if latency else None,
        tone="plain" if totals.whole else "bad",
    )


def lost(missing: int, unknown: int) -> str:
    """How much is missing: `3`, `?` where nobody can count it, `3+?`; or nothing."""
    parts = [f"{missing:,}"] * (missing > 0) + ["?"] * (unknown > 0)
    return "+".join(parts)


def _tell_losses(console: Console, audit: Audit) -> None:
    for outage in audit.outages:
        took = duration(outage.until_at - outage.from_at)
        when = moment(outage.from_at)
        console.print(
            f"{when}  nothing received for {took}, over a reconnect", style="red"
        )
    for dropped in audit.dropped:
        console.print(dropped_words(dropped), style="red")
    found = [
        (each, gap) for each in (*audit.link, *audit.channels) for gap in each.gaps
    ]
    found.sort(key=lambda one: one[1].until_at)
    for each, gap in found[:MOST_GAPS]:
        style = "dim" if gap.closed_by == "late" else "red"
        console.print(gap_words(each.channel, gap), style=style)
    if len(found) > MOST_GAPS:
        console.print(f"And {len(found) - MOST_GAPS:,} more gaps: see --json.")
    if found or audit.outages or audit.dropped:
        console.print()


def dropped_words(gap: Dropped) -> str:
    """What the recording says it lacks, in one line."""
    count = "messages" if gap.missing is None else _several(gap.missing, "message")
    of = "" if gap.channel is None else f" of {one_line(gap.channel)}"
    took = duration(gap.until_at - gap.from_at)
    return f"{moment(gap.until_at)}  not recorded: {count}{of}, within {took}"


def gap_words(channel: str | None, gap: AuditedGap) -> str:
    """One gap in one line."""
    name = WHOLE_LINK if channel is None else one_line(channel)
    of = f" of {one_line(gap.of)}" if gap.of else ""
    if gap.checksum:
        what = "the checksum of its book does not agree"
    elif gap.first is None:
        what = "the numbers do not follow"
    elif gap.first == gap.last:
        what = f"number {gap.first}{of} missing"
    else:
        what = f"numbers {gap.first} to {gap.last}{of} missing"
    count = f", {_several(gap.missing, 'message')}" if gap.missing else ""
    closed = {
        "late": "; came late",
        "snapshot": "; a snapshot replaced it",
        "replay": "; fetched",
        None: "",
    }[gap.closed_by]
    return f"{moment(gap.until_at)}  {name}: {what}{count}{closed}"


def suspicions(audit: Audit) -> Iterator[str]:
    """What numbers show that the venue promises nothing of."""
    for each in audit.channels:
        doubt = each.suspicions
        if doubt is not None and (doubt.totals.gaps or doubt.totals.disordered):
            totals = doubt.totals
            yield (
                f"Suspicion: {one_line(each.channel or WHOLE_LINK)}: "
                f"{_several(totals.gaps, 'jump')} in its numbers "
                f"({lost(totals.missing, totals.unknown) or 'none'} lost), "
                f"{totals.disordered:,} late. The venue does not promise that they "
                "follow one another."
            )


def ages(audit: Audit) -> Iterator[str]:
    """What ages mean, and how far they can be trusted."""
    yield _clocks(audit.clocks)
    stamped = [each for each in audit.channels if each.latency is not None]
    events = sum(each.latency.of == "event" for each in stamped if each.latency)
    if events:
        whose = f"{events:,} of {_several(len(stamped), 'channel')}"
        yield (
            f"In {whose} the stamp tells when something happened, not when it was "
            "sent: what had not changed for long is old by right."
        )


def _clocks(clocks: Clocks) -> str:
    least, most = clocks.offset_least_s, clocks.offset_most_s
    steps = f" One of them was set {clocks.steps} times." if clocks.steps else ""
    if least is None:
        return "No message was stamped by the venue: no ages are told."
    if most is None:
        return (
            "Age is told beyond that of the fastest message: nothing in the recording "
            f"tells the two clocks apart. Its uncertainty is unbounded.{steps}"
        )
    middle, half = (least + most) / 2, (most - least) / 2
    why = (
        ", if the fastest message took no longer than the fastest answer"
        if clocks.assumed
        else ""
    )
    return (
        f"Age: give or take {duration(half)}. The venue's clock minus the recorder's "
        f"is {duration(middle)}, give or take as much{why}.{steps}"
    )


def sums(audit: Audit) -> str:
    """The totals of all channels, as the sum that they must be."""
    totals = audit.totals
    sent = "unknown" if totals.sent is None else f"{totals.sent:,}"
    return (
        f"Totals: {sent} sent + {totals.duplicated:,} twice + {totals.unplaced:,} "
        f"unplaced = {totals.received:,} received + "
        f"{lost(totals.missing, totals.unknown) or '0'} missing + "
        f"{totals.recovered:,} recovered."
    )


def proofs(audit: Audit) -> Iterator[str]:
    """How many checksums were verified, where there were any."""
    told = [each.checksums for each in audit.channels if each.checksums is not None]
    agreed, disagreed = sum(s.agreed for s in told), sum(s.disagreed for s in told)
    if told:
        unread = sum(s.unread for s in told)
        more = f" {unread:,} messages could not be read for them." if unread else ""
        yield (
            f"Checksums of {_several(len(told), 'book')}: {agreed:,} agree, "
            f"{disagreed:,} do not.{more}"
        )


def verdict(audit: Audit) -> str:
    """Whether something is missing, and how much of it could have been seen."""
    numbered = sum(
        (bool(each.numbered) and each.rule in ("chain", "range", "step"))
        or (each.checksums is not None and each.checksums.agreed > 0)
        for each in audit.channels
    )
    everything = any(each.numbered for each in audit.link)
    seen = len(audit.channels) if everything else numbered
    share = f"{seen:,} of {_several(len(audit.channels), 'channel')}"
    proven = any(each.checksums is not None for each in audit.channels)
    would = "Numbers and checksums" if proven else "Numbers"
    if audit.whole:
        known = "" if seen == len(audit.channels) else "known to be "
        return f"Nothing is {known}missing. {would} would show a loss in {share}."
    bad = sum(not each.totals.whole for each in audit.channels)
    parts = [_several(bad, "channel")] if bad else []
    parts += [WHOLE_LINK[1:-1]] if any(not e.totals.whole for e in audit.link) else []
    parts += [_several(len(audit.outages), "outage")] if audit.outages else []
    if audit.dropped:
        parts.append("what was not recorded")
    return f"Messages are missing: {', '.join(parts)}. {would} show it in {share}."


def moment(at: float) -> str:
    """A receipt as time of day, UTC, or as seconds where it is none."""
    if not SINCE_1970 < at < 10 * SINCE_1970:
        return f"{at:.10g} s"
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f}"[:-3]


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
