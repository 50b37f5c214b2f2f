"""Messages in protobuf, as far as a profile describes them, to and from plain objects.

The only module that imports protobuf, which does both from a description made of the
profile: no generated code is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

import msgspec
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from .decode import Undecodable
from .field import MOST_ROWS
from .profile import Member

Members: TypeAlias = Mapping[str, Member]

MOST_BYTES: Final = 1 << 20
"""Of one message; three bytes that nobody described take up to 2 us."""

_FILE: Final = "profile.proto"
_ROOT: Final = "Root"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the value of a member goes in the plain object."""

    name: str
    many: bool
    inner: _Places | None


_Places: TypeAlias = dict[int, _Place]
"""The members of one message by their numbers."""


class Codec:
    """Reads and writes one kind of message."""

    def __init__(self, members: Members) -> None:
        file = FileDescriptorProto(name=_FILE, syntax="proto3")
        _describe(file.message_type.add(name=_ROOT), members, f".{_ROOT}")
        pool = DescriptorPool()
        pool.Add(file)
        self._new = GetMessageClass(pool.FindMessageTypeByName(_ROOT))
        self._members, self._places = members, _places(members)

    def opened(self, data: str | bytes) -> str | bytes:
        """A binary message as the JSON of what the profile knows of it.

        A text message is what it is. Raises Undecodable over bytes that are no such
        message, over more than MOST_BYTES, and where a member is there in another wire
        type only: protobuf itself would pass over it as unknown.
        """
        if isinstance(data, str):
            return data
        if len(data) > MOST_BYTES:
            raise Undecodable(f"protobuf of more than {MOST_BYTES} bytes")
        message = self._new()
        try:
            message.ParseFromString(data)
        except (DecodeError, ValueError):
            raise Undecodable("not the protobuf of the profile") from None
        told = self._told(message, self._places)
        if not told:
            raise Undecodable("protobuf without any member that the profile knows")
        return msgspec.json.encode(told)

    def packed(self, told: Mapping[str, object]) -> bytes:
        """The binary message that says this, as far as the profile describes it."""
        message = self._new()
        _fill(message, told, self._members)
        return message.SerializeToString()

    def _told(self, message: Message, places: _Places) -> dict[str, object]:
        fields = message.ListFields()
        if len(fields) < len(places):
            # What is missing may be there after all, in another type.
            _check_strays(message, places)
        told: dict[str, object] = {}
        for descriptor, value in fields:
            place = places[descriptor.number]
            if place.many and len(value) > MOST_ROWS:
                raise Undecodable(f"more than {MOST_ROWS} elements")
            if place.inner is None:
                told[place.name] = list(value) if place.many else value
            elif place.many:
                told[place.name] = [self._told(each, place.inner) for each in value]
            else:
                told[place.name] = self._told(value, place.inner)
        return told


def _check_strays(message: Message, places: _Places) -> None:
    strays = UnknownFieldSet(message)
    for at in range(len(strays)):
        place = places.get(strays[at].field_number)
        if place is not None:
            raise Undecodable(f"protobuf has another wire type for {place.name}")


def _describe(message: DescriptorProto, members: Members, path: str) -> None:
    """Say to the library what the profile says, under names of our own.

    Every single member is `optional`: one that is there and zero is then not the same
    as one that is missing.
    """
    for member in members.values():
        described = message.field.add(name=_name(member), number=member.number)
        if member.many:
            described.label = FieldDescriptorProto.LABEL_REPEATED
        else:
            described.label = FieldDescriptorProto.LABEL_OPTIONAL
        if member.message:
            inner = f"M{member.number}"
            described.type = FieldDescriptorProto.TYPE_MESSAGE
            described.type_name = f"{path}.{inner}"
            _describe(
                message.nested_type.add(name=inner),
                member.message,
                described.type_name,
            )
            continue
        kind = f"TYPE_{(member.type or '').upper()}"
        described.type = FieldDescriptorProto.Type.Value(kind)
        if not member.many:
            described.proto3_optional = True
            described.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{described.name}")


def _places(members: Members) -> _Places:
    return {
        member.number: _Place(
            name=name,
            many=member.many,
            inner=_places(member.message) if member.message else None,
        )
        for name, member in members.items()
    }


def _fill(message: Message, told: Mapping[str, object], members: Members) -> None:
    for name, member in members.items():
        if name not in told:
            continue
        value = told[name]
        values = cast("list[object]", value) if member.many else [value]
        for each in values:
            if member.message:
                inner = getattr(message, _name(member))
                target = inner.add() if member.many else inner
                target.SetInParent()
                _fill(target, cast("Mapping[str, object]", each), member.message)
            elif member.many:
                getattr(message, _name(member)).append(_typed(each, member))
            else:
                setattr(message, _name(member), _typed(each, member))


def _typed(value: object, member: Member) -> object:
    """A number as text, where the venue has it so, and the other way round."""
    match member.type:
        case "string":
            return str(value)
        case "float" | "double":
            return float(cast(float, value))
        case "bool":
            return bool(value)
        case _:
            return int(cast(int, value))


def _name(member: Member) -> str:
    """Ours, not the profile's, which need not be one that protobuf takes."""
    return f"f{member.number}"
