"""One venue's contract as a value: what a file of `heartline/venues/` says.

A profile is read by `load`, never built by hand:

    profile = load("deribit")
    endpoint = profile.endpoint()              # the first; or .endpoint("private")
    endpoint.address.url                       # wss://www.deribit.com/ws/api/v2
    endpoint.liveness.msg_in[0].reply.json     # what answers a test_request
    endpoint.subscribe.forms[0].name           # book.{instrument}.{interval}

How a channel's name and its messages find each other. The user writes a name, which
fits the `name` of one `Form`; the form's `key` (by default the whole name) is what of
it can be read back from a message. Requests are made from the name's parts. A message
is matched against `acks`, then `refusals`, then `data`, each in the order of the file;
the first that fits says which keys it speaks of. A frame of data thereby costs one
match and one short template. `Rule`, `Stamp` and `Contract` are chosen by key too,
again the first that fits.

`Form` to `Contract` stand in `channels.py`, the notations of fields, templates and
patterns in `vocabulary.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct, field, structs

from heartline.errors import UsageError

from .channels import Freshness, Sequence, Subscribe, Timestamps
from .vocabulary import (
    Basis,
    Beacon,
    Field,
    Frame,
    Json,
    Match,
    MsgIn,
    MsgOut,
    Primitive,
    Rate,
    Seconds,
    Sourced,
    Template,
    Timer,
    WsPingIn,
    WsPingOut,
)

Timed = TypeVar("Timed", bound=Struct)

Scalar: TypeAlias = Literal[
    "string",
    "bool",
    "float",
    "double",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "sint32",
    "sint64",
    "fixed32",
    "fixed64",
    "sfixed32",
    "sfixed64",
]
"""Types of protobuf that JSON has too."""

_TIMERS = ("every_s", "idle_s", "deadline_s", "reply_within_s", "close_after_s")


class Address(Sourced, frozen=True, kw_only=True):
    """Where to connect. `variants` keep the same contract: testnet, region, product."""

    url: Template | None = None
    """None where no address is known: the user gives one."""
    variants: dict[str, Template] = field(default_factory=dict[str, Template])
    transport: Literal["websocket", "http"] = "websocket"

    def named(self, variant: str | None = None) -> Template:
        """The URL of this variant, or the usual one; UsageError names those there are.

        It may hold variables: of the bootstrap, or of the user's (`${token}`).
        """
        url = self.url if variant is None else self.variants.get(variant)
        if url is None:
            wanted = ", ".join(self.variants) or "a URL of your own"
            raise UsageError("variant", wanted=wanted, got=variant)
        return url


class Variable(Sourced, frozen=True, kw_only=True):
    """A number the user may set, used as `${its name}`; bounds inclusive."""

    value: float
    least: float | None = None
    most: float | None = None


class Member(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field of a protobuf message: its `number`, and what stands there.

    Exactly one of `type`, as .proto files name it, and `message`: its own members by
    their names. `many` is `repeated` there.
    """

    number: Annotated[int, Meta(ge=1, le=2**29 - 1)]
    type: Scalar | None = None
    message: dict[str, Member] = field(default_factory=dict[str, "Member"])
    many: bool = False


class Decode(Sourced, frozen=True, kw_only=True):
    """How a frame becomes a message.

    text: text frames. utf8: binary frames that hold text. gzip: binary frames, text
    when unpacked; what we send is plain text. protobuf: data in binary frames, control
    messages as JSON in text frames. `deflate`: whether permessage-deflate is worth
    offering; None where nobody says.

    `message`: the members of a protobuf message that other facts of the profile speak
    of, by the names they use; all others are passed over. A member that is not in the
    message is missing, as a key of a JSON object is.
    """

    payload: Literal["text", "utf8", "gzip", "protobuf"]
    message: dict[str, Member] = field(default_factory=dict[str, Member])
    deflate: bool | None = None


class Http(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call to make before dialling."""

    method: Literal["GET", "POST"]
    url: Template


class Extract(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of an answer that becomes a variable; with `unit`, in seconds."""

    field: Field
    unit: Literal["s", "ms"] | None = None
    default: float | str | None = None
    """Where the answer does not hold it."""


class Bootstrap(Sourced, frozen=True, kw_only=True):
    """What tells the parameters of a link: an HTTP call before it, or its welcome.

    Nothing may be sent before the welcome `frame`, where there is one. `ttl_s`: how
    long an answer of `http` serves further dials.
    """

    http: Http | None = None
    frame: Match | None = None
    frame_within_s: Seconds | None = None
    extract: dict[str, Extract] = field(default_factory=dict[str, Extract])
    ttl_s: Seconds | None = None


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send, if there is anything to send, and wait for what is expected."""

    send: Frame | None = None
    expect: Match | None = None
    within_s: Seconds


class OnOpen(Sourced, frozen=True, kw_only=True):
    """What every new link does first, in this order."""

    steps: tuple[Step, ...]


class Liveness(Sourced, frozen=True, kw_only=True):
    """Everything that keeps a link alive or tells that it is."""

    ws_ping_in: tuple[WsPingIn, ...] = ()
    ws_ping_out: tuple[WsPingOut, ...] = ()
    msg_out: tuple[MsgOut, ...] = ()
    msg_in: tuple[MsgIn, ...] = ()
    beacon: tuple[Beacon, ...] = ()
    none_known: bool = False
    """No primitive stands here because none is documented, not by oversight."""

    @property
    def primitives(self) -> tuple[Primitive, ...]:
        return (
            *self.ws_ping_in,
            *self.ws_ping_out,
            *self.msg_out,
            *self.msg_in,
            *self.beacon,
        )


class Clock(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue closes after `close_after_s` without what `clock` names.

    client_ping: only the venue's own ping counts. client_message: anything we send.
    server_message: what the venue sends. any_message: either way. pong: our answer to
    its ping. no_subscription: runs only while nothing is subscribed.
    """

    clock: Literal[
        "client_ping",
        "client_message",
        "server_message",
        "any_message",
        "pong",
        "no_subscription",
        "unknown",
    ]
    close_after_s: Timer | None = None
    basis: Basis
    close_code: int | None = None
    note: str = ""


class Idle(Sourced, frozen=True, kw_only=True):
    """The venue's own clocks; all of them run. None are known where it is absent."""

    clocks: Annotated[tuple[Clock, ...], Meta(min_length=1)]


class Notice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message that announces something; `lead_s` is how long before."""

    match: Match
    action: Literal["reconnect_now", "reconnect_soon", "pause", "resume", "resubscribe"]
    lead_s: Seconds | None = None
    note: str = ""


class Lifetime(Sourced, frozen=True, kw_only=True):
    """How links end by plan."""

    max_age_s: Seconds | None = None
    notices: tuple[Notice, ...] = ()


class Limits(Sourced, frozen=True, kw_only=True):
    """What the venue takes. A limit that is absent is not known."""

    connections: int | None = None
    connects: Rate | None = None
    subscriptions: int | None = None
    """Channels on one connection."""
    messages: Rate | None = None
    """Messages from us, heartbeats included."""
    pings_count: bool | None = None
    """Whether protocol pings and pongs count as messages from us."""
    requests: Rate | None = None
    """Subscribe and unsubscribe requests, where they have a limit of their own."""
    channels_per_request: int | None = None
    request_bytes: int | None = None
    subscribe_within_s: Seconds | None = None
    """From the open socket to the first subscription."""
    send_after_s: Seconds | None = None
    """Nothing may be sent sooner after the socket opened."""


class Deadman(Sourced, frozen=True, kw_only=True):
    """The venue cancels our orders when we fall silent.

    `call` is the request that arms or refreshes it. `least`, `most` bound its timeout
    in `unit`, inclusive.
    """

    kind: Literal[
        "countdown",
        "deadline_at",
        "on_disconnect",
        "session_heartbeat",
        "dcp",
        "none",
    ]
    call: str | None = None
    params: dict[str, Json] = field(default_factory=dict[str, Json])
    unit: Literal["s", "ms"] | None = None
    least: float | None = None
    most: float | None = None
    disable: str | None = None
    scope: str | None = None
    refresh_s: Seconds | None = None
    timeout_s: Seconds | None = None


class Endpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One socket of a venue and all that is promised about it."""

    name: str = ""
    """Its key in the file."""
    product: str
    status: Literal["active", "legacy"] = "active"
    private: bool = False
    """It serves only who has logged in."""
    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])
    address: Address
    decode: Decode
    bootstrap: Bootstrap | None = None
    on_open: OnOpen | None = None
    liveness: Liveness
    idle: Idle | None = None
    lifetime: Lifetime | None = None
    limits: Limits | None = None
    subscribe: Subscribe | None = None
    sequence: Sequence | None = None
    timestamps: Timestamps | None = None
    freshness: Freshness | None = None
    deadman: Deadman | None = None
    traps: tuple[str, ...] = ()
    """What surprises, a sentence each."""


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one venue promises about its sockets."""

    name: str
    title: str
    endpoints: Annotated[dict[str, Endpoint], Meta(min_length=1)]
    """The first is the default."""

    def endpoint(self, name: str | None = None) -> Endpoint:
        """The one of this name, or the first; UsageError names those there are."""
        if name is None:
            return next(iter(self.endpoints.values()))
        if name not in self.endpoints:
            wanted = ", ".join(self.endpoints)
            raise UsageError(f"endpoint of {self.name}", wanted=wanted, got=name)
        return self.endpoints[name]


def settled(
    endpoint: Endpoint, variables: Mapping[str, float] | None = None
) -> Endpoint:
    """The same endpoint, its timers numbers where `variables` tell them.

    `variables` stand over the profile's own; what a bootstrap has to tell stays open.
    """
    known = {name: each.value for name, each in endpoint.variables.items()}
    known |= variables or {}
    live, idle = endpoint.liveness, endpoint.idle
    kinds = ("ws_ping_in", "ws_ping_out", "msg_out", "msg_in", "beacon")
    told = {
        kind: tuple(_settled(each, known) for each in getattr(live, kind))
        for kind in kinds
    }
    if idle is not None:
        clocks = tuple(_settled(clock, known) for clock in idle.clocks)
        idle = structs.replace(idle, clocks=clocks)
    return structs.replace(endpoint, liveness=structs.replace(live, **told), idle=idle)


def _settled(timed: Timed, known: Mapping[str, float]) -> Timed:
    timers = {
        name: seconds(timer, known)
        for name in _TIMERS
        if isinstance(timer := getattr(timed, name, None), str) and timer[2:-1] in known
    }
    return structs.replace(timed, **timers)


def seconds(timer: float | str, variables: Mapping[str, float]) -> float:
    """What a timer says: itself, or the value of the one variable it names.

    `variables` holds the profile's own, as the user set them, and what the bootstrap
    extracted. KeyError where the name is not among them.
    """
    if isinstance(timer, str):
        return variables[timer[2:-1]]
    return timer
