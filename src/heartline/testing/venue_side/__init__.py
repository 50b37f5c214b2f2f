"""A venue's side of its own contract, from the profile: pure, without sockets.

`Venue` is the house: its channels, their numbers, its faults and its account. `Link` is
one connection to it: it is given the client's frames and the time, returns frames to
send, and sets its own `deadline`.
"""

from __future__ import annotations

from .house import Options, Venue
from .link import Cut, Link
from .market import Account

__all__ = ["Account", "Cut", "Link", "Options", "Venue"]
