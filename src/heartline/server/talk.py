"""The server's half of `heartline.v1`: what a client asks for, and what it gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from heartline.core.items import Message
from heartline.errors import WireError
from heartline.wire.resume import (
    BEAT,
    Ask,
    GapFrame,
    RefusedFrame,
    Say,
    Subscribe,
    SubscribedFrame,
    Unsubscribe,
    decode_client,
    encode,
)

from .audience import Channel
from .client import Client
from .limits import Limits

PROTOCOL_ERROR = 1002


class Exchange(Protocol):
    """The server, as a conversation sees it."""

    epoch: str
    limits: Limits

    def may_subscribe(self, client: Client, channel: str) -> bool: ...

    def reads(self, client: Client, channel: str) -> bool: ...

    def subscribing(self, client: Client, channel: str) -> None:
        """A client gets a channel: tell it what comes before `subscribed`."""
        ...

    def channel(self, name: str) -> Channel: ...

    def unsubscribe(self, client: Client, channel: str) -> None: ...

    def forget(self, channel: Channel) -> None:
        """Let go of a channel that nobody uses."""
        ...


def converse(
    exchange: Exchange,
    client: Client,
    data: str | bytes,
    *,
    hand: Callable[[Message], None],
    now: float,
) -> None:
    """Do what one frame of a client asks; messages for the program are handed on."""
    try:
        frame = decode_client(data)
    except WireError as error:
        client.close(PROTOCOL_ERROR, error.reason)
        return
    match frame:
        case Subscribe():
            refused = subscribe(
                exchange, client, frame.channel, frame.epoch, frame.offset, now=now
            )
            if refused is not None:
                _refuse(client, frame.channel, refused)
        case Unsubscribe():
            exchange.unsubscribe(client, frame.channel)
        case Say():
            text = bytes(frame.data).decode()
            hand(Message(text, now, frame.channel, client.number))
        case Ask():
            client.say(BEAT)


def subscribe(
    exchange: Exchange,
    client: Client,
    name: str,
    epoch: str | None,
    offset: int | None,
    *,
    now: float,
) -> str | None:
    """Let a client read a channel, from where it was; why not, if it may not."""
    outlet = client.outlet
    if outlet is None or outlet.send is None:
        return "gone"
    if len(outlet.audiences) > exchange.limits.subscriptions:
        return f"at most {exchange.limits.subscriptions} channels"
    if outlet.backlog is not None and outlet.backlog.knows(name):
        return "messages of the last subscription still wait"
    if exchange.reads(client, name):
        return "subscribed already"
    # The program is asked last: what is refused without it must cost no more than that.
    if not exchange.may_subscribe(client, name):
        return "not allowed"
    channel = exchange.channel(name)
    head = channel.history.head
    same = epoch == exchange.epoch
    if offset is not None and (offset < 0 or (same and offset > head)):
        exchange.forget(channel)
        return f"offset: wanted 0 to {head}, got {offset}"
    exchange.subscribing(client, name)
    if client.speaks:
        client.say(encode(_subscribed(name, exchange.epoch, head)))
    if offset is not None:
        _catch_up(exchange, client, channel, epoch, offset if same else 0, offset, now)
    channel.audience.add(client)
    exchange.forget(channel)
    return None


def _catch_up(
    exchange: Exchange,
    client: Client,
    channel: Channel,
    epoch: str | None,
    after: int,
    offset: int,
    now: float,
) -> None:
    """Send what was missed: of another epoch nothing, of this one what is kept."""
    missed = channel.missed(after, now=now)
    if client.speaks and epoch != exchange.epoch:
        ended = GapFrame(
            reason="epoch", channel=channel.name, epoch=epoch, first=offset + 1
        )
        client.say(encode(ended))
    if client.speaks and missed.first is not None and missed.last is not None:
        gone = GapFrame(
            reason="history",
            channel=channel.name,
            epoch=exchange.epoch,
            first=missed.first,
            last=missed.last,
            missing=missed.last - missed.first + 1,
        )
        client.say(encode(gone))
    for message in missed.messages:
        client.deliver(message)


def _subscribed(channel: str, epoch: str, head: int) -> SubscribedFrame:
    return SubscribedFrame(channel=channel, epoch=epoch, offset=head)


def _refuse(client: Client, channel: str, reason: str) -> None:
    client.say(encode(RefusedFrame(reason=reason, channel=channel)))
