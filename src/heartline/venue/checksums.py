"""What a profile says of checksums of books; what types cannot say of it is checked.

An example, for messages such as `{"type": "update", "sum": 7, "asks": [{"p": 1.50,
"q": 2.0}], "bids": []}`:

    checksum = { field = "sum", algorithm = "crc32", levels = 10, order = "asks_bids",
        written = "digits", asks = ["asks"], bids = ["bids"], price = "p", size = "q" }
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from heartline.errors import UsageError

from .field import Every, parse_field
from .vocabulary import Field, Json


class Checksum(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Which checksum proves a book, and where its levels stand in a message.

    It is told at `field`, by messages that fit `when` (of fields, as in `Match.json`).
    `algorithm` unpublished: it is there, and nobody can verify it; nothing else is
    said then. crc32: over the text of the best `levels` of each side, best first, in
    this `order` (see `core.orderbook.Order`), with `between` between any two numbers,
    each `written` as it was sent or as digits alone: without point and leading zeros.

    `asks` and `bids` are lists of levels, the first that is there; or `both` is one
    list of levels, or a single level, of which a negative size is an ask. `price`,
    `size` and `gone` stand in a level; a price is gone where `gone` is 0, else where
    its size is. The rule's `snapshot_when` tells whole books. Where levels below
    the depth of the subscription fall out without a word, `depth` is that depth, and
    `depth_part` the part of a channel's name that holds another.
    """

    field: Field
    algorithm: Literal["crc32", "unpublished"]
    when: dict[Field, Json] | None = None
    levels: Annotated[int, Meta(ge=1, le=1000)] | None = None
    order: Literal["asks_bids", "bid_ask"] | None = None
    written: Literal["digits", "as_sent"] | None = None
    between: Annotated[str, Meta(max_length=1)] = ""
    signed: bool = False
    """Told as a signed number of 32 bits."""
    asks: tuple[Field, ...] = ()
    bids: tuple[Field, ...] = ()
    both: Field | None = None
    price: Field | None = None
    size: Field | None = None
    gone: Field | None = None
    depth: Annotated[int, Meta(ge=1)] | None = None
    depth_part: str | None = None


_RECIPE: Final = ("levels", "order", "written", "price", "size")
_MORE: Final = ("when", "asks", "bids", "both", "gone", "depth", "depth_part")
_IN_A_LEVEL: Final = ("price", "size", "gone")


def check_checksum(told: Checksum, *, has_snapshots: bool, at: str) -> None:
    """Raise UsageError over the first thing that is missing or too much."""
    parse_field(told.field, field=f"{at}.field")
    if told.algorithm == "unpublished":
        for name in (*_RECIPE, *_MORE, "between", "signed"):
            if getattr(told, name):
                wanted = "none, as algorithm = unpublished"
                raise UsageError(f"{at}.{name}", wanted=wanted, got=getattr(told, name))
        return
    for name in _RECIPE:
        if getattr(told, name) is None:
            wanted = "one, as algorithm = crc32"
            raise UsageError(f"{at}.{name}", wanted=wanted, got=None)
    if not has_snapshots:
        wanted = "snapshot_when: a book is known from a whole one on"
        raise UsageError(at, wanted=wanted, got=None)
    if (told.both is not None) == bool(told.asks or told.bids):
        got = "both" if told.both is not None else None
        raise UsageError(at, wanted="either asks and bids, or both", got=got)
    if bool(told.asks) != bool(told.bids):
        missing = "bids" if told.asks else "asks"
        raise UsageError(f"{at}.{missing}", wanted="a list of fields", got=None)
    for name in _IN_A_LEVEL:
        text = getattr(told, name)
        if text is not None:
            first, *more = parse_field(text, field=f"{at}.{name}")
            if more or isinstance(first, Every):
                wanted = "one step from its level, such as price or [0]"
                raise UsageError(f"{at}.{name}", wanted=wanted, got=text)
    for name in ("asks", "bids"):
        for index, text in enumerate(getattr(told, name)):
            parse_field(text, field=f"{at}.{name}[{index}]")
    if told.both is not None:
        parse_field(told.both, field=f"{at}.both")
    for text in told.when or ():
        parse_field(text, field=f"{at}.when.{text}")
    if told.depth_part is not None and told.depth_part.strip() != told.depth_part:
        raise UsageError(
            f"{at}.depth_part", wanted="a part of a name", got=told.depth_part
        )
