"""The venue simulator's own process: sockets around the pure venue.

Started by `VenueServer`. Unlike the kit's other children it needs msgspec, which lies
beyond the standard library; its first order says where. What needs that is imported
by `_begin`, and stands in `venue_connection.py`.
"""

from __future__ import annotations

import sys
from typing import Any

from .orders import Handler, run


async def _begin(options: dict[str, Any]) -> tuple[object, Handler]:
    sys.path += [path for path in options["path"] if path not in sys.path]
    from .venue_connection import open_house

    return await open_house(options)


def main(parent: int) -> None:
    run(_begin, parent=parent)
