"""The other end: serving streams that keep their clients honest."""

from .client import Client
from .gate import Answer, Request
from .hub import Hub
from .limits import Limits
from .pages import browser_client
from .plan import ServerStatus
from .serve import serve
from .server import Server

__all__ = [
    "Answer",
    "Client",
    "Hub",
    "Limits",
    "Request",
    "Server",
    "ServerStatus",
    "browser_client",
    "serve",
]
