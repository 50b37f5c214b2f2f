"""The user's end of a stream: socket and clock into facts, commands into I/O."""

from .account import Outage
from .connect import connect
from .contract import Venue
from .heartbeat import Heartbeat
from .resume import Numbered
from .stream import Stream

__all__ = ["Heartbeat", "Numbered", "Outage", "Stream", "Venue", "connect"]
