"""What a server answers to plain HTTP, ready made."""

from __future__ import annotations

from importlib.resources import files

from .gate import Answer


def browser_client() -> Answer:
    """The client for browsers and Node: `pages={"/heartline.js": browser_client}`."""
    text = (
        files("heartline.server").joinpath("heartline.js").read_text(encoding="utf-8")
    )
    return Answer(200, text, {"Content-Type": "text/javascript; charset=utf-8"})
