"""NATS JetStream as the bus needs it; the only module that imports nats-py.

Nothing here decides: it stores, reads, and says by its errors what became of it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# nats-py ships types, but leaves **kwargs and the headers it read untyped.

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext, api
from nats.js.errors import (
    APIError,
    BadRequestError,
    KeyNotFoundError,
    NoKeysError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from .lane import Cursor
from .stored import cursor_of
from .subjects import EVERYTHING

ANSWER = 3.0
"""Seconds that the server may take for an answer."""
NO_MESSAGE = 10037
WRONG_LAST = (10071, 10164)
DUPLICATE = 10201
TOO_BIG = 10054
"""Error codes of the server: no message found, wrong last sequence, a batch that holds
an id which is known, a message too long (server/errors.json of nats-server)."""
HEADERS_BYTES = 4096
"""More than ours are long; the server's limit holds for both together."""
PENDING_BYTES = 16 << 20

Stored: TypeAlias = tuple[str, bytes, dict[str, str]]
"""Subject, data, headers."""


class BusError(Exception):
    """It was not done, or nobody knows; the text says why."""


class Conflict(BusError):
    """Not stored: another message is the last of its subject by now."""


class Known(BusError):
    """None of a batch was stored: some of its ids are known."""


class NoStream(BusError):
    """There is no stream that takes the subject."""


class TooBig(BusError):
    """A message is longer than the server takes."""


class _Error(Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(Struct, frozen=True):
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_read_ack = msgspec.json.Decoder(_Ack).decode


class JetStream:
    """One connection, made again by nats-py for ever until `close`."""

    def __init__(self, stream: str, *, on_change: Callable[[bool, str], None]) -> None:
        """`on_change`: told whether it is connected, and what went wrong, if so."""
        self._stream = stream
        self._on_change = on_change
        self._client = Client()
        self._context: JetStreamContext = self._client.jetstream(timeout=ANSWER)
        self._bucket: KeyValue | None = None
        self.batches = False
        """Whether the stream takes batches, which needs nats-server 2.12."""

    async def connect(self, urls: Sequence[str], name: str) -> None:
        """Connect, however long it takes."""

        async def failed(error: Exception) -> None:
            self._on_change(self._client.is_connected, str(error) or repr(error))

        async def lost() -> None:
            self._on_change(False, "the connection to the bus was lost")

        async def back() -> None:
            self._on_change(True, "")

        await self._client.connect(
            servers=[*urls],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=2,
            ping_interval=3,
            max_outstanding_pings=2,
            pending_size=PENDING_BYTES,
            error_cb=failed,
            disconnected_cb=lost,
            reconnected_cb=back,
        )
        self._on_change(True, "")

    async def close(self) -> None:
        with suppress(NatsError, TimeoutError, OSError):
            async with asyncio.timeout(0.5):
                await self._client.close()

    # --- the stream -------------------------------------------------------------------

    async def ensure(self, *, size_bytes: int, age: float, duplicates: float) -> None:
        """Make the stream, unless there is one: that is taken as it is.

        It keeps so many bytes, and seconds; and ids for `duplicates` seconds.
        """
        config = api.StreamConfig(
            name=self._stream,
            description="messages that relays of heartline passed on",
            subjects=[*EVERYTHING],
            max_bytes=size_bytes,
            max_age=age,
            duplicate_window=duplicates,
            discard=api.DiscardPolicy.OLD,
            storage=api.StorageType.FILE,
            allow_direct=True,
            allow_atomic=True,
        )
        try:
            try:
                info = await self._context.stream_info(self._stream)
            except NotFoundError:
                with suppress(BadRequestError):  # another relay was quicker
                    await self._context.add_stream(config)
                info = await self._context.stream_info(self._stream)
        except (NatsError, TimeoutError, OSError) as error:
            raise BusError(f"stream {self._stream}: {error}") from error
        self.batches = bool(info.config.allow_atomic)

    async def last(self, subject: str) -> Cursor | None:
        """The last message of a subject; None if there is none."""
        try:
            found = await self._context.get_last_msg(self._stream, subject)
        except APIError as error:
            if error.err_code == NO_MESSAGE:
                return None
            raise BusError(str(error)) from error
        except (NatsError, TimeoutError, OSError) as error:
            raise BusError(_said(error)) from error
        headers: dict[str, str] = found.headers or {}
        return cursor_of(found.seq or 0, headers)

    async def store(
        self, subject: str, data: bytes, headers: dict[str, str]
    ) -> int | None:
        """Store one message; its sequence in the stream, None if its id is known.

        Raises `Conflict`, or `BusError` where it may or may not have been stored.
        """
        ack = await self._ask(subject, data, headers)
        return None if ack.duplicate else ack.seq

    async def store_all(self, messages: Sequence[Stored]) -> int:
        """Store all or none; the sequence of the last.

        Raises `Conflict` and `Known`, or `BusError` as `store`.
        """
        batch = {"Nats-Batch-Id": uuid.uuid4().hex}
        *others, (subject, data, headers) = messages
        try:
            for at, (to, body, head) in enumerate(others, 1):
                self._check(body)
                head |= batch | {"Nats-Batch-Sequence": str(at)}
                await self._client.publish(to, body, headers=head)
        except (NatsError, OSError) as error:
            raise BusError(_said(error)) from error
        headers |= batch | {"Nats-Batch-Sequence": str(len(messages))}
        ack = await self._ask(subject, data, headers | {"Nats-Batch-Commit": "1"})
        return ack.seq

    async def _ask(self, subject: str, data: bytes, headers: dict[str, str]) -> _Ack:
        self._check(data)
        try:
            answer = await self._client.request(
                subject, data, timeout=ANSWER, headers=_any(headers)
            )
        except NoRespondersError as error:
            raise NoStream(f"no stream takes {subject}") from error
        except (NatsError, TimeoutError, OSError) as error:
            raise BusError(_said(error)) from error
        ack = _read_ack(answer.data)
        if (wrong := ack.error) is None:
            return ack
        if wrong.err_code in WRONG_LAST:
            raise Conflict(wrong.description)
        if wrong.err_code == DUPLICATE:
            raise Known(wrong.description)
        if wrong.err_code == TOO_BIG:
            raise TooBig(wrong.description)
        raise BusError(wrong.description)

    def _check(self, data: bytes) -> None:
        # The server would end the connection.
        most = self._client.max_payload - HEADERS_BYTES
        if len(data) > most:
            raise TooBig(f"a message of {len(data)} bytes; the bus takes {most}")

    # --- leases -----------------------------------------------------------------------

    async def open_bucket(self, name: str, *, ttl: float) -> None:
        """Make the bucket of the leases, unless there is one."""
        config = api.KeyValueConfig(
            bucket=name, ttl=ttl, storage=api.StorageType.MEMORY
        )
        try:
            try:
                self._bucket = await self._context.key_value(name)
            except NotFoundError:
                self._bucket = await self._context.create_key_value(config)
        except (NatsError, TimeoutError, OSError) as error:
            raise BusError(f"bucket {name}: {error}") from error

    async def put(self, key: str, value: bytes) -> None:
        """Write an entry; it is gone when the bucket's time has passed."""
        await self._keyed(lambda bucket: bucket.put(key, value))

    async def delete(self, key: str) -> None:
        await self._keyed(lambda bucket: bucket.delete(key))

    async def get(self, key: str) -> bytes | None:
        """An entry as it stands now, if there is one."""
        try:
            found = await self._keyed(lambda bucket: bucket.get(key))
        except KeyNotFoundError:  # or deleted
            return None
        value: bytes | None = found.value
        return value

    async def keys(self) -> list[str]:
        """All keys that have an entry now."""
        try:
            found: list[str] = await self._keyed(lambda bucket: bucket.keys())
        except NoKeysError:
            return []
        return found

    async def _keyed(self, ask: Callable[[KeyValue], Any]) -> Any:
        if self._bucket is None:
            raise BusError("no bucket yet")
        try:
            return await ask(self._bucket)
        except (NoKeysError, KeyNotFoundError):
            raise
        except (NatsError, TimeoutError, OSError) as error:
            raise BusError(_said(error)) from error


def _any(headers: dict[str, str]) -> dict[str, Any]:
    return {**headers}


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
