"""Property tests draw the same examples in every run; `HEARTLINE_EXPLORE=1` draws new.

A change is thereby judged by what it changed. Whoever explores and finds something
leaves the seed or the example in the test.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from heartline.client import desk
from heartline.core.fetches import Hosts

settings.register_profile("the same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("HEARTLINE_EXPLORE") else "the same")


@pytest.fixture(autouse=True)
def no_host_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process knows of its calls by one clock; here every test has its own."""
    monkeypatch.setattr(desk, "HOSTS", Hosts())
