"""What we send to a venue: heartbeats, answers, subscriptions; all from its profile.

It writes and remembers; it never sends and never times anything. Instants are seconds
since 1970, given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .channels import Form
from .classify import Contract
from .naming import Book, Channel
from .pending import Beat, Kind, Pending, Request
from .reading import Probe
from .template import FrameTemplate, Fresh, Values, as_text, fill, names_in
from .vocabulary import Frame

Of: TypeAlias = Literal["subscribe", "unsubscribe"]

MOST_CHANNELS_AT_ONCE = 200
"""Of one request, where the venue names no limit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to send; `number` is what its answer will be told by."""

    text: str
    number: int
    channels: tuple[str, ...] = ()


class Writer:
    """Writes the messages of one link."""

    def __init__(
        self,
        contract: Contract,
        *,
        pending: Pending,
        book: Book,
        variables: Mapping[str, object] | None = None,
        seed: str = "",
        first: int = 1,
    ) -> None:
        """`pending` and `book` are those of the link's `Classifier`.

        `variables` are the user's and those of the bootstrap; where the profile has
        variables of its own, they stand in for what is not given. `seed` makes the
        uuids of this link its own; its messages are numbered from `first` on.
        """
        self._contract, self._pending, self._book = contract, pending, book
        own = {k: v.value for k, v in contract.endpoint.variables.items()}
        self._variables: dict[str, object] = {
            **{k: int(v) if v.is_integer() else v for k, v in own.items()},
            **(variables or {}),
        }
        self._fresh = Fresh(seed=seed, first=first)
        self._templates: dict[str, FrameTemplate] = {}

    def learn(self, variables: Mapping[str, object]) -> None:
        """Take what a welcome told."""
        self._variables.update(variables)

    # --- heartbeats ---------------------------------------------------------------

    def beat(self, index: int, *, unix: float) -> Outgoing:
        """Our own heartbeat: the message `liveness.msg_out[index]`."""
        each = self._contract.endpoint.liveness.msg_out[index]
        values = self._values(unix)
        at = f"liveness.msg_out[{index}]"
        kind: tuple[Kind, int] = ("msg_out", index)
        return self._sent(each.send, f"{at}.send", values, kind, _number(values))

    def reply(self, probe: Probe, *, unix: float) -> Outgoing:
        """The answer to a probe; it carries what the probe carried."""
        each = self._contract.endpoint.liveness.msg_in[probe.index]
        own = self._values(unix)
        # What it carried may be called id, and need not be a number.
        values, number = own | probe.captures, _number(own)
        at = f"liveness.msg_in[{probe.index}].reply"
        return self._sent(each.reply, at, values, ("msg_in", probe.index), number)

    def enable(self, *, unix: float, symbols: Sequence[str] = ()) -> list[Outgoing]:
        """What switches on probes and beacons that are off at first.

        A beacon for each symbol is asked for `symbols`; without any it stays off.
        """
        live = self._contract.endpoint.liveness
        written: list[Outgoing] = []
        frames = [
            *((f"msg_in[{at}]", each.enable) for at, each in enumerate(live.msg_in)),
            *((f"beacon[{at}]", each.enable) for at, each in enumerate(live.beacon)),
        ]
        for where, frame in frames:
            if frame is None:
                continue
            at = f"liveness.{where}.enable"
            names = self._template(frame, at).names
            values: list[dict[str, object]] = [{}]
            if "symbol" in names:
                values = [{"symbol": symbol} for symbol in symbols]
            elif "symbol[]" in names or "symbol[,]" in names:
                values = [_several("symbol", symbols)] if symbols else []
            written += [self._plain(frame, at, unix, each) for each in values]
        return written

    def step(self, index: int, *, unix: float) -> Outgoing | None:
        """What step `index` of opening sends; None if it only waits."""
        opening = self._contract.endpoint.on_open
        if opening is None or opening.steps[index].send is None:
            return None
        frame, values = opening.steps[index].send, self._values(unix)
        assert frame is not None
        kind: tuple[Kind, int] = ("on_open", index)
        at = f"on_open[{index}].send"
        return self._sent(frame, at, values, kind, _number(values))

    # --- subscriptions ------------------------------------------------------------

    def subscribe(self, names: Iterable[str], *, unix: float) -> list[Outgoing]:
        """Requests for these channels, as few as the venue's limits allow.

        Raises UsageError over a name of no form. Where a new request replaces the
        earlier ones (`resubscribe = "replace"`), give all channels that are wanted.
        """
        return self._requests("subscribe", names, unix)

    def unsubscribe(self, names: Iterable[str], *, unix: float) -> list[Outgoing]:
        """Requests to end these channels; none where the venue has no such request.

        Where the venue wants its own word for a channel (`${bound}`), a channel that
        it has not yet acknowledged is left out.
        """
        return self._requests("unsubscribe", names, unix)

    def _requests(self, of: Of, names: Iterable[str], unix: float) -> list[Outgoing]:
        read = self._contract.names.read
        channels = [read(name) for name in dict.fromkeys(names)]
        groups: dict[object, list[Channel]] = {}
        for channel in channels:
            frame, item = self._forms(of, channel)
            if frame is None:
                continue
            if "bound" in names_in(frame.text or frame.json) and (
                self._book.bound_to(channel.name) is None
            ):
                continue
            alike = (repr(frame), *self._single(frame, item, channel))
            groups.setdefault(alike, []).append(channel)
        most = self._most()
        written: list[Outgoing] = []
        for group in groups.values():
            for start in range(0, len(group), most):
                written += self._batch(of, group[start : start + most], unix)
        return written

    def _batch(self, of: Of, channels: list[Channel], unix: float) -> list[Outgoing]:
        """One request, or two halves of it where the venue takes no such long one."""
        frame, _ = self._forms(of, channels[0])
        assert frame is not None
        values = self._values(unix) | self._parts(of, frame, channels)
        template = self._template(frame, f"subscribe.{of}")
        text = template.render(values)
        limits = self._contract.endpoint.limits
        most = limits.request_bytes if limits else None
        if most is not None and len(text.encode()) > most and len(channels) > 1:
            half = len(channels) // 2
            first, second = channels[:half], channels[half:]
            return [*self._batch(of, first, unix), *self._batch(of, second, unix)]
        number = _number(values)
        self._pending.asked(Request(number, of, tuple(channels)), values)
        named = tuple(channel.name for channel in channels)
        return [Outgoing(text=text, number=number, channels=named)]

    def _forms(self, of: Of, channel: Channel) -> tuple[Frame | None, object]:
        """The request and the item of this channel's form."""
        told = self._contract.endpoint.subscribe
        assert told is not None
        form: Form = told.forms[channel.form]
        if of == "subscribe":
            frame = form.request or told.request
        else:
            frame = form.unsubscribe or told.unsubscribe
        return frame, form.item if form.item is not None else told.item

    def _single(
        self, frame: Frame, item: object, channel: Channel
    ) -> tuple[object, ...]:
        """What must be alike for channels to share a request."""
        names = names_in(frame.text if frame.json is None else frame.json)
        known = {**channel.parts, "channel": channel.name}
        if "bound" in names:
            return (channel.name,)
        if not any(name.endswith(("[]", "[,]")) for name in names):
            return (channel.name,)
        return tuple(known[name] for name in sorted(names & known.keys()))

    def _parts(
        self, of: Of, frame: Frame, channels: list[Channel]
    ) -> dict[str, object]:
        names = names_in(frame.text if frame.json is None else frame.json)
        values = _of_channels(channels)
        if "bound" in names:
            values["bound"] = self._book.bound_to(channels[0].name)
        if "item[]" in names:
            values["item[]"] = self._items(of, channels)
        return values

    def _items(self, of: Of, channels: list[Channel]) -> list[object]:
        """An item for each channel, or for each group if it holds a list itself."""
        groups: dict[object, list[Channel]] = {}
        for channel in channels:
            _, item = self._forms(of, channel)
            names = names_in(item)
            known = {**channel.parts, "channel": channel.name}
            alike: object = channel.name
            if any(name.endswith(("[]", "[,]")) for name in names):
                single = sorted(names & known.keys())
                alike = (repr(item), *(known[name] for name in single))
            groups.setdefault(alike, []).append(channel)
        return [
            fill(
                self._forms(of, group[0])[1],
                _of_channels(group),
                field="subscribe.item",
            )
            for group in groups.values()
        ]

    def _most(self) -> int:
        limits = self._contract.endpoint.limits
        most = limits.channels_per_request if limits else None
        return MOST_CHANNELS_AT_ONCE if most is None else most

    # --- one message --------------------------------------------------------------

    def _sent(
        self,
        frame: Frame,
        at: str,
        values: dict[str, object],
        kind: tuple[Kind, int],
        number: int,
    ) -> Outgoing:
        text = self._template(frame, at).render(values)
        self._pending.beat(*kind, Beat(number, values))
        return Outgoing(text=text, number=number)

    def _plain(self, frame: Frame, at: str, unix: float, more: Values) -> Outgoing:
        values = self._values(unix) | dict(more)
        text = self._template(frame, at).render(values)
        return Outgoing(text=text, number=_number(values))

    def _template(self, frame: Frame, at: str) -> FrameTemplate:
        known = self._templates.get(at)
        if at.startswith("subscribe.") or known is None:
            known = self._templates[at] = FrameTemplate(frame, field=at)
        return known

    def _values(self, unix: float) -> dict[str, object]:
        return {**self._variables, **self._fresh.values(unix=unix)}


def _of_channels(channels: Sequence[Channel]) -> dict[str, object]:
    """The variables of one request: parts of names, singly and in lists."""
    values: dict[str, object] = {"channel": channels[0].name, **channels[0].parts}
    values |= _several("channel", [channel.name for channel in channels])
    for part in channels[0].parts:
        values |= _several(part, [c.parts[part] for c in channels if part in c.parts])
    return values


def _several(name: str, listed: Sequence[object]) -> dict[str, object]:
    each = list(dict.fromkeys(listed))
    return {f"{name}[]": each, f"{name}[,]": ",".join(as_text(v) for v in each)}


def _number(values: Values) -> int:
    number = values["id"]
    assert isinstance(number, int)
    return number
