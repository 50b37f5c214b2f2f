"""The public fault kit: servers that misbehave on command, and real traffic replayed.

Everything runs on the loopback interface, and every server in a process of its own:
a stall of the loop under test never stalls its venue, and a frozen venue never
freezes the test. Any WebSocket client can be tested with it.

| want                                       | take                        |
|--------------------------------------------|-----------------------------|
| a venue with any fault, frozen or killed   | `FaultyServer`              |
| a path that is truly dead, either way      | `drop_inbound`              |
| that, without being privileged             | `enter_own_network`         |
| faults in front of somebody else's server  | `FaultProxy`                |
| a recording played back as a server        | `serve_capture`             |
| any venue that has a profile, as a server  | `VenueServer`               |
| made-up bursts and silences                | `market_traffic`, `SAMPLE`  |
"""

from __future__ import annotations

from .capture import (
    Capture,
    CapturedFrame,
    Unrecorded,
    read_capture,
    write_capture,
)
from .faults import Fault, Scope
from .faulty import FaultyServer, VenueCounts
from .halfopen import drop_inbound, restore_inbound
from .namespace import enter_own_network
from .proxy import Direction, FaultProxy, ProxyCounts
from .replay import Replay, ReplayCounts, serve_capture
from .traffic import SAMPLE, market_traffic
from .venue_server import VenueServer
from .venue_side import Account

__all__ = [
    "SAMPLE",
    "Account",
    "Capture",
    "CapturedFrame",
    "Direction",
    "Fault",
    "FaultProxy",
    "FaultyServer",
    "ProxyCounts",
    "Replay",
    "ReplayCounts",
    "Scope",
    "Unrecorded",
    "VenueCounts",
    "VenueServer",
    "drop_inbound",
    "enter_own_network",
    "market_traffic",
    "read_capture",
    "restore_inbound",
    "serve_capture",
    "write_capture",
]
