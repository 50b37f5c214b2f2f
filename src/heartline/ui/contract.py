"""A venue's contract in plain words: what a profile says, as sentences.

Layout is the business of whoever shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from heartline.observe.words import duration
from heartline.ui.contract_words import (
    CLOCKS,
    CONFIDENCES,
    DEADMEN,
    NOTICES,
    PAYLOADS,
    RECOVERIES,
    RESUBSCRIBED,
    RULES,
    SCOPES,
    STAMPS,
    UNITS,
    checksum_text,
    frame_text,
    json_text,
    match_text,
    members,
    rate_text,
    sentence,
    span,
)
from heartline.venue.channels import Form, Rule
from heartline.venue.profile import Clock, Endpoint, settled
from heartline.venue.vocabulary import (
    Beacon,
    MsgIn,
    MsgOut,
    Sourced,
    Timer,
    WsPingIn,
    WsPingOut,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One group of facts: sentences, and the group that knows their sources."""

    title: str
    lines: tuple[str, ...]
    facts: Sourced


def chapters(endpoint: Endpoint) -> Iterator[Chapter]:
    """Tell everything a profile says of one socket, in the order of a link's life."""
    teller = _Teller(settled(endpoint))
    for title, facts, lines in (
        ("Address", endpoint.address, teller.address()),
        ("Messages", endpoint.decode, teller.messages()),
        ("Before", endpoint.bootstrap, teller.bootstrap()),
        ("On open", endpoint.on_open, teller.on_open()),
        ("Kept alive", endpoint.liveness, teller.liveness()),
        ("Closed", endpoint.idle, teller.idle()),
        ("Lifetime", endpoint.lifetime, teller.lifetime()),
        ("Limits", endpoint.limits, teller.limits()),
        ("Channels", endpoint.subscribe, teller.channels()),
        ("Numbers", endpoint.sequence, teller.sequence()),
        ("Time", endpoint.timestamps, teller.timestamps()),
        ("Freshness", endpoint.freshness, teller.freshness()),
        ("Dead man", endpoint.deadman, teller.deadman()),
    ):
        if facts is not None:
            told = tuple(lines)
            note = (sentence(facts.note),) if facts.note else ()
            yield Chapter(title=title, lines=(*told, *note), facts=facts)


def confidence(facts: Sourced) -> str:
    """Who says so, in a few words."""
    return CONFIDENCES[facts.confidence]


def kept_alive(endpoint: Endpoint) -> str:
    """What keeps the link, in a few words: the duties first, else what may be done."""
    live = settled(endpoint).liveness
    told = [
        *(f"pong to its ping{_every(p.every_s)}" for p in live.ws_ping_in),
        *(f"answer to its probe{_every(p.every_s)}" for p in live.msg_in),
        *(f"our message{_rhythm(p)}" for p in live.msg_out if p.required),
        *(f"our ping{_rhythm(p)}" for p in live.ws_ping_out if p.required),
    ]
    if not told:
        told = [
            *(f"its beacon{_every(p.every_s)}" for p in live.beacon),
            *(f"our message{_rhythm(p)}" for p in live.msg_out if _rhythm(p)),
        ]
    return "; ".join(told) or "nothing documented"


def clocks(endpoint: Endpoint) -> str:
    """When the venue closes, in a few words."""
    idle = settled(endpoint).idle
    every = idle.clocks if idle else ()
    return "; ".join(
        CLOCKS["unknown"]
        if clock.close_after_s is None
        else f"{_time(clock.close_after_s)} without {CLOCKS[clock.clock]}"
        for clock in every
    )


class _Teller:
    """Sentences about one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def address(self) -> Iterator[str]:
        address = self.endpoint.address
        if address.transport == "http":
            yield "Not a WebSocket: streaming over HTTP."
        yield address.url or "No address is known: give one."
        for name, url in address.variants.items():
            yield f"{name}: {url}"
        if self.endpoint.private:
            yield "Serves only who has logged in."

    def messages(self) -> Iterator[str]:
        decode = self.endpoint.decode
        yield PAYLOADS[decode.payload]
        if decode.message:
            yield f"What is read of them: {members(decode.message)}."
            yield "It needs pip install 'heartline[protobuf]'."
        if decode.deflate:
            yield "Compression (permessage-deflate) is worth offering."

    def bootstrap(self) -> Iterator[str]:
        boot = self.endpoint.bootstrap
        if boot is None:
            return
        if boot.http is not None:
            kept = f", good for {span(boot.ttl_s)}" if boot.ttl_s else ""
            yield f"First {boot.http.method} {boot.http.url}{kept}."
        if boot.frame is not None:
            within = _within(boot.frame_within_s)
            yield f"Send nothing before its welcome{within}: {match_text(boot.frame)}."
        for name, extract in boot.extract.items():
            unit = f" ({extract.unit})" if extract.unit else ""
            yield f"It tells {name}, at {extract.field}{unit}."

    def on_open(self) -> Iterator[str]:
        for step in self.endpoint.on_open.steps if self.endpoint.on_open else ():
            within = duration(step.within_s)
            if step.send is not None and step.expect is not None:
                answer = match_text(step.expect)
                sent = frame_text(step.send)
                yield f"We send {sent}; it answers {answer} in {within}."
            elif step.expect is not None:
                yield f"It sends {match_text(step.expect)} in {within}."
            elif step.send is not None:
                yield f"We send {frame_text(step.send)}."

    def liveness(self) -> Iterator[str]:
        live = self.endpoint.liveness
        for name, variable in self.endpoint.variables.items():
            least = "" if variable.least is None else f", at least {variable.least:g}"
            most = "" if variable.most is None else f", at most {variable.most:g}"
            yield f"{name} is {variable.value:g}{least}{most}; the user may set it."
        for primitive in live.primitives:
            seen = "" if primitive.documented else " The venue does not document it."
            note = f" ({primitive.note})" if primitive.note else ""
            yield f"{_primitive(primitive)}{note}.{seen}"
        if live.none_known:
            yield "The venue documents nothing that keeps a link alive."

    def idle(self) -> Iterator[str]:
        for clock in self.endpoint.idle.clocks if self.endpoint.idle else ():
            yield _clock(clock)

    def lifetime(self) -> Iterator[str]:
        lifetime = self.endpoint.lifetime
        if lifetime is None:
            return
        if lifetime.max_age_s is not None:
            yield f"A link lives {span(lifetime.max_age_s)} at most."
        for notice in lifetime.notices:
            lead = f" {duration(notice.lead_s)} before" if notice.lead_s else ""
            note = f" ({notice.note})" if notice.note else ""
            found = match_text(notice.match)
            yield f"{NOTICES[notice.action]} at {found}{lead}{note}."

    def limits(self) -> Iterator[str]:
        limits = self.endpoint.limits
        if limits is None:
            return
        for text, value in (
            ("connections", limits.connections),
            ("channels on a connection", limits.subscriptions),
            ("channels in a request", limits.channels_per_request),
            ("bytes in a request", limits.request_bytes),
        ):
            if value is not None:
                yield f"At most {value} {text}."
        for text, rate in (
            ("connects", limits.connects),
            ("messages from us", limits.messages),
            ("subscribe or unsubscribe requests", limits.requests),
        ):
            if rate is not None:
                yield f"At most {rate_text(rate, text)}."
        if limits.pings_count:
            yield "Protocol pings and pongs count as messages."
        if limits.subscribe_within_s is not None:
            within = duration(limits.subscribe_within_s)
            yield f"The first subscription is due {within} after opening."
        if limits.send_after_s is not None:
            yield f"Send nothing in the first {duration(limits.send_after_s)}."

    def channels(self) -> Iterator[str]:
        subscribe = self.endpoint.subscribe
        if subscribe is None:
            return
        for form in subscribe.forms:
            yield _form(form)
        frame = subscribe.request or subscribe.forms[0].request
        if frame is not None:
            yield f"Asked for with {frame_text(frame)}."
        if subscribe.item is not None:
            yield f"Each item is {json_text(subscribe.item)}."
        answers = [a for a in subscribe.acks if a.of == "subscribe"]
        for ack in answers:
            yield f"Confirmed by {match_text(ack.match)}."
        if not answers:
            yield "Not confirmed: data is the only answer."
        if subscribe.silent_acks:
            yield "Channels that do not exist are confirmed all the same."
        for refusal in subscribe.refusals:
            yield f"Refused by {match_text(refusal.match)}."
        if subscribe.resubscribe is not None:
            yield RESUBSCRIBED[subscribe.resubscribe]

    def sequence(self) -> Iterator[str]:
        for rule in self.endpoint.sequence.rules if self.endpoint.sequence else ():
            yield _rule(rule)

    def timestamps(self) -> Iterator[str]:
        stamps = self.endpoint.timestamps
        for stamp in stamps.stamps if stamps else ():
            only = f" of {', '.join(stamp.channels)}" if stamp.channels else ""
            yield f"{stamp.field}{only}: {STAMPS[stamp.of]}, {UNITS[stamp.unit]}."

    def freshness(self) -> Iterator[str]:
        fresh = self.endpoint.freshness
        for contract in fresh.contracts if fresh else ():
            note = f" ({contract.note})" if contract.note else ""
            named = ", ".join(contract.channels)
            yield f"{named}: something every {_time(contract.every_s)}{note}."

    def deadman(self) -> Iterator[str]:
        deadman = self.endpoint.deadman
        if deadman is None:
            return
        scope = f"; it covers {deadman.scope}" if deadman.scope else ""
        yield f"{DEADMEN[deadman.kind]}{scope}."
        if deadman.call:
            yield f"Armed by {deadman.call}."
        bounds = [
            f"{word} {bound:g} {deadman.unit or ''}".strip()
            for word, bound in (("least", deadman.least), ("most", deadman.most))
            if bound is not None
        ]
        if bounds:
            yield f"Its time: at {', at '.join(bounds)}."
        if deadman.refresh_s is not None:
            yield f"Refresh it every {duration(deadman.refresh_s)}."
        if deadman.disable:
            yield f"Switched off by {deadman.disable}."


def _primitive(primitive: WsPingIn | WsPingOut | MsgOut | MsgIn | Beacon) -> str:
    match primitive:
        case WsPingIn():
            due = _within(primitive.deadline_s)
            same = " with the same payload" if primitive.echo else ""
            every = _every(primitive.every_s)
            return f"It sends a protocol ping{every}; we answer with a pong{same}{due}"
        case WsPingOut():
            when = _rhythm(primitive) or " at any time"
            verb = "must" if primitive.required else "may"
            within = _within(primitive.reply_within_s)
            return f"We {verb} send a protocol ping{when}; it answers{within}"
        case MsgOut():
            when = " once" if primitive.once else _rhythm(primitive) or " at any time"
            verb = "must" if primitive.required else "may"
            within = _within(primitive.reply_within_s)
            expect = primitive.expect
            answer = f"; it answers {match_text(expect)}{within}" if expect else ""
            return f"We {verb} send {frame_text(primitive.send)}{when}{answer}"
        case MsgIn():
            asked = f"It asks {match_text(primitive.match)}{_every(primitive.every_s)}"
            due = _within(primitive.deadline_s)
            enable = primitive.enable
            on = f"; {frame_text(enable)} switches it on" if enable else ""
            return f"{asked}; we answer {frame_text(primitive.reply)}{due}{on}"
        case Beacon():
            return _beacon(primitive)


def _beacon(beacon: Beacon) -> str:
    when = {
        "always": "",
        "idle": " while nothing else flows",
        "on_enable": ", once it is asked for",
    }[beacon.when]
    enable = "" if beacon.enable is None else f" with {frame_text(beacon.enable)}"
    counter = beacon.counter
    counted = ""
    if counter is not None:
        step = "never falls" if counter.step == "monotonic" else f"+{counter.step}"
        counted = f"; its counter {counter.field}: {step}"
    every, scope = _every(beacon.every_s), SCOPES[beacon.scope]
    return f"It sends {match_text(beacon.match)}{every}{when}{enable}, {scope}{counted}"


def _clock(clock: Clock) -> str:
    seen = " (observed, not documented)" if clock.basis == "observed" else ""
    note = f" ({clock.note})" if clock.note else ""
    code = f", with {clock.close_code}" if clock.close_code else ""
    if clock.close_after_s is None:
        return f"When it closes is not stated; its clock: {CLOCKS[clock.clock]}{note}."
    after = _time(clock.close_after_s)
    return f"After {after} without {CLOCKS[clock.clock]}{code}{seen}{note}."


def _form(form: Form) -> str:
    return f"{form.name}, as in {form.example}"


def _rule(rule: Rule) -> str:
    fields = {n: getattr(rule, n) for n in ("prev", "cur", "first", "last")}
    law = RULES[rule.rule].format_map(fields)
    scope = "" if rule.rule in {"none", "snapshot_only"} else f", {SCOPES[rule.scope]}"
    sure = "" if rule.certain else " Customary, not promised."
    sums = f" {checksum_text(rule.checksum)}" if rule.checksum else ""
    mended = f" {RECOVERIES[rule.recover.how]}" if rule.recover else ""
    if rule.recover and rule.recover.url:
        mended = f"{mended.removesuffix('.')}: {rule.recover.url}."
    named = "every message" if "*" in rule.channels else ", ".join(rule.channels)
    note = f" {sentence(rule.note)}" if rule.note else ""
    return f"{named}: {law}{scope}.{sure}{sums}{mended}{note}"


def _rhythm(primitive: WsPingOut | MsgOut) -> str:
    if primitive.every_s is not None:
        return _every(primitive.every_s)
    if primitive.idle_s is not None:
        return f" after {_time(primitive.idle_s)} of silence"
    return ""


def _every(timer: Timer | None) -> str:
    return "" if timer is None else f" every {_time(timer)}"


def _within(timer: Timer | None) -> str:
    return "" if timer is None else f" within {_time(timer)}"


def _time(timer: Timer) -> str:
    if isinstance(timer, str):
        return timer.removeprefix("${").removesuffix("}")
    return span(timer)
