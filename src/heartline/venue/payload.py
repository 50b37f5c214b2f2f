"""One inbound payload: its text and its JSON, each read when first asked for."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

NOT_JSON: Final = (msgspec.DecodeError, UnicodeError, RecursionError, ValueError)
"""What a decoder may raise over bytes from outside, however hostile they are."""

_document = msgspec.json.Decoder[object](object)


class Payload:
    """What one message carries, after decoding of the venue's envelope."""

    __slots__ = ("_document", "_read", "_text", "data")

    def __init__(self, data: str | bytes) -> None:
        self.data = data
        self._document: object = UNSET
        self._read = False
        self._text: str | None = data if isinstance(data, str) else None

    @property
    def text(self) -> str | None:
        """The payload as text; None if its bytes are not UTF-8."""
        if self._text is None and isinstance(self.data, bytes):
            try:
                self._text = self.data.decode()
            except UnicodeDecodeError:
                return None
        return self._text

    @property
    def document(self) -> object:
        """The payload as JSON; UNSET if it is not JSON."""
        if not self._read:
            self._read = True
            try:
                self._document = _document.decode(self.data)
            except NOT_JSON:
                self._document = UNSET
        return self._document
