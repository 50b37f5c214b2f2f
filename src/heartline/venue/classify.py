"""What an inbound message is, told from the profile of the venue alone.

`Classifier.read` never raises over what a venue sends. A message of data is read by a
plan that was made for messages like it; all others, and the first of each kind, take
the long way. It never times anything and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from functools import cached_property
from typing import Any, Final, cast

from msgspec import UNSET, structs

from .ahead import Ahead, PureAhead
from .control import Control
from .decode import Undecodable, envelope, opened
from .entries import Entries, Found
from .field import TooManyRows
from .guards import SCALARS, Undecided
from .inline import Plan, Unlike, Writing
from .naming import Book, Names
from .numbering import Misfit
from .payload import NOT_JSON, Payload
from .pending import Pending
from .plans import Workshop
from .profile import Endpoint
from .reading import Acked, Beacon, Malformed, Reading, Unknown, Update
from .shape import Read

MOST_PLANS: Final = 32_768
"""Kinds of message (channels, for the most part) of which a plan is kept."""

ODD: Final = (Unlike, KeyError, AttributeError, TypeError, *NOT_JSON)
"""What the short way raises over a message that is not like any before it."""


class Contract:
    """One endpoint's profile, compiled; shared by all links to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Compile; raises UsageError that names what cannot be read."""
        self.endpoint = endpoint
        self.control = Control(endpoint)
        self.entries = Entries(endpoint)
        self.names = Names(endpoint.subscribe)
        self.envelope = envelope(endpoint.decode)
        self.dated = self.entries
        """Those that read the venue's time; `unstamped` has them too."""
        self.workshop = Workshop(self.entries, self.control)

    @cached_property
    def unstamped(self) -> Contract:
        """The same, but that the venue's time in messages of data is not read."""
        other = copy(self)
        other.entries = Entries(structs.replace(self.endpoint, timestamps=None))
        other.workshop = Workshop(other.entries, self.control)
        return other


class Classifier:
    """Reads the messages of one link."""

    def __init__(
        self,
        contract: Contract | Endpoint,
        *,
        pending: Pending | None = None,
    ) -> None:
        """`pending` is what the link's `Writer` notes; without one nothing was sent."""
        if isinstance(contract, Endpoint):
            contract = Contract(contract)
        self.contract = contract
        self.pending = pending or Pending()
        self.book = Book()
        self._control, self._entries = contract.control, contract.entries
        self._open = contract.envelope
        shop = contract.workshop
        self._shop = shop
        self._plans: dict[Any, Any] = {}
        """By the value of the first selector, then of the next: dicts, then plans."""
        self._more_plans: dict[Any, Plan] = {}
        self._kept = 0
        self._select = shop.selector()
        self._select_more: Read | None = None
        unpack = None if contract.envelope is opened else contract.envelope
        self.read: Callable[[str | bytes], Reading]
        """What a message is; never raises over what a venue sends."""
        self.read, self._renew = Writing(shop.shape).chooser(
            shop.selectors,
            self._plans,
            decode=shop.shape.decode,
            unpack=unpack,
            otherwise=self._long_way,
            odd=ODD,
        )
        names = [shop.shape.name(steps) for steps in shop.selectors]
        path = tuple([tuple(name.split(".")) for name in names if name])
        kind = PureAhead if unpack or len(path) < max(1, len(names)) else Ahead
        self._ahead = kind(self.read, shop.shape.decode, self._plans, path)
        self.readings = self._ahead.readings
        """What each of several messages is, told when it is asked for."""

    def want(self, names: Iterable[str]) -> None:
        """Say which channels are wanted: messages then tell them by these names.

        Raises UsageError over a name of no form, and takes none of them.
        """
        self.book.add([self.contract.names.read(name) for name in names])
        self._forget()

    def unwant(self, names: Iterable[str]) -> None:
        """Say which channels are no longer wanted."""
        self.book.remove([self.contract.names.read(name) for name in names])
        self._forget()

    def decide(self, data: str | bytes) -> Reading:
        """The same as `read`, the long way: what plans are made from."""
        try:
            return self._decide(Payload(self._open(data)), planning=False)
        except (Undecodable, Misfit, TooManyRows) as odd:
            return Malformed(str(odd))

    def dated(self, data: str | bytes) -> Update | None:
        """A message of data with the venue's time, the long way, whether `read` tells
        that or not. None if it cannot be read."""
        try:
            payload = Payload(self._open(data))
            found = self.contract.dated.read(payload.document, self.book)
        except (Undecodable, Misfit, TooManyRows):
            return None
        return None if found is None else found.update

    # --- the long way -------------------------------------------------------------

    def _long_way(self, data: str | bytes, error: Exception) -> Reading:
        if isinstance(error, Undecodable):
            return Malformed(str(error))
        try:
            return self._decide(Payload(data), planning=True)
        except (Misfit, TooManyRows) as odd:
            return Malformed(str(odd))

    def _decide(self, payload: Payload, *, planning: bool) -> Reading:
        said = self._before_data(payload)
        if said is not None:
            return said
        if payload.document is not UNSET:
            update = self._data(payload, planning=planning)
            if update is not None:
                return update
        said = self._after_data(payload)
        if said is not None:
            return said
        if payload.document is UNSET:
            return Malformed("neither JSON nor a word that the profile knows")
        return Unknown(self._links(payload))

    def _before_data(self, payload: Payload) -> Reading | None:
        control, pending = self._control, self.pending
        said: Reading | None = control.answer(payload, pending)
        said = said or control.probe(payload) or control.hello(payload)
        if said is None and control.beacon(payload) is None:
            said = control.stray_answer(payload)
        said = said or control.notice(payload)
        if said is None:
            bindings = self.book.bindings
            said = self._acked(payload, known=True)
            if self.book.bindings != bindings:
                self._forget()
        said = said or control.refused(payload, pending, self.book, known=True)
        return None if said is None else self._linked(said, payload)

    def _after_data(self, payload: Payload) -> Reading | None:
        control, pending = self._control, self.pending
        beacon = control.beacon(payload)
        said: Reading | None = None
        if beacon is not None:
            said = Beacon(beacon.index, beacon.counter, None, beacon.captures)
        said = said or control.late_answer(payload, sure=True)
        said = said or self._acked(payload, known=False)
        said = said or control.refused(payload, pending, self.book, known=False)
        said = said or control.late_answer(payload, sure=False)
        return None if said is None else self._linked(said, payload)

    def _acked(self, payload: Payload, *, known: bool) -> Acked | None:
        """An acknowledgement, with the first data where it holds that too."""
        control = self._control
        said = control.acked(payload, self.pending, self.book, known=known)
        if said is None or said.of != "subscribe" or not control.acks_hold_data:
            return said
        found = self._entries.read(payload.document, self.book)
        if found is None:
            return said
        # What counts over the whole link is told of the message, and once.
        update = structs.replace(found.update, links=())
        return structs.replace(said, update=update)

    def _data(self, payload: Payload, *, planning: bool) -> Reading | None:
        """A message of data, and a plan for those like it."""
        beacon = self._control.beacon(payload)
        try:
            found = self._entries.read(payload.document, self.book)
        except Misfit:
            if beacon is None:
                raise
            return beacon
        if found is None:
            return None
        if beacon is not None:
            found = found.as_beacon(beacon.index)
            if beacon.counter is not None:
                return Beacon(
                    beacon.index, beacon.counter, found.update, beacon.captures
                )
        if planning:
            self._keep_plan(payload, found)
        return found.update

    def _keep_plan(self, payload: Payload, found: Found) -> None:
        shop = self._shop
        try:
            plan = shop.plan(found, payload.document, self.pending)
            key = self._select(shop.shape.decode(payload.data))
            path: list[Any] = list(key) if len(shop.selectors) > 1 else [key]
            alone = not self._knows(path) and shop.selects(found.entry)
            if not alone and self._select_more is None:
                self._select_more = shop.full_selector()
            # The plan may read what no plan before it did.
            self._renew(shop.shape.decode)
            self._ahead.renew(shop.shape.decode)
            frame = shop.shape.decode(payload.data)
            more = None if self._select_more is None else self._select_more(frame)
            if not _lasting(key) or not _lasting(more):
                return
            if plan[0](frame, plan) != found.update:
                return
        except (Undecided, Unlike, AttributeError, TypeError, *NOT_JSON):
            return
        if self._kept >= MOST_PLANS:
            self._forget()
        self._kept += 1
        if not alone:
            # The first selectors do not tell this kind of message from another.
            self._more_plans[more] = plan
            plan = (self._second_look,)
        plans = self._plans
        for value in path[:-1]:
            plans = plans.setdefault(value, {})
        name = found.update.channel
        # One text, where they are the same, is less to touch for each message.
        last = name if path[-1] == name else path[-1]
        plans[last] = plan
        self._ahead.keep(plans, last, plan)

    def _knows(self, path: list[Any]) -> bool:
        plans: Any = self._plans
        for value in path:
            plans = plans.get(value)
            if plans is None:
                return False
        return True

    def _second_look(self, frame: Any, _: Plan) -> Update:
        assert self._select_more is not None
        plan = self._more_plans[self._select_more(frame)]
        update: Update = plan[0](frame, plan)
        return update

    def _forget(self) -> None:
        self._kept = 0
        self._ahead.forget()
        self._plans.clear()
        self._more_plans.clear()

    def _links(self, payload: Payload) -> tuple[Update, ...]:
        if payload.document is UNSET:
            return ()
        return self._entries.links(payload.document)

    def _linked(self, said: Reading, payload: Payload) -> Reading:
        links = self._links(payload)
        if not links:
            return said
        linked: Reading = structs.replace(said, links=links)
        return linked


def _lasting(key: object) -> bool:
    """Whether a selection can be met again: plain values, or the types of some."""
    if isinstance(key, tuple):
        return all(_lasting(each) for each in cast("tuple[object, ...]", key))
    return isinstance(key, (*SCALARS, type)) and not isinstance(key, float | bool)
