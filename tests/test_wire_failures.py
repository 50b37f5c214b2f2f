"""Whose fault a failed dial is: this host's, where nothing was ever sent."""

from __future__ import annotations

import errno

import pytest

from heartline.core.items import Cause, Where
from heartline.wire.failures import Ending, explain


def told(failure: OSError) -> tuple[str, str | None]:
    error = explain(failure, where="x:443", ending=Ending.NONE)
    assert error is not None
    return error.cause, error.where


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "EADDRNOTAVAIL"])
def test_what_this_host_has_run_out_of_is_blamed_on_this_host(name: str) -> None:
    failure = OSError(getattr(errno, name), "no more")
    assert told(failure) == (Cause.PATH_DEAD, Where.LOCAL)


@pytest.mark.parametrize("name", ["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"])
def test_what_the_network_did_is_not_blamed_on_this_host(name: str) -> None:
    assert told(OSError(getattr(errno, name), "no way")) == (Cause.PATH_DEAD, None)


def test_one_address_that_was_tried_in_earnest_acquits_this_host() -> None:
    both = f"[Errno {errno.EMFILE}] no more, [Errno {errno.ETIMEDOUT}] no answer"
    assert told(OSError(both)) == (Cause.PATH_DEAD, None)
    alike = f"[Errno {errno.EMFILE}] no more, [Errno {errno.EMFILE}] no more"
    assert told(OSError(alike)) == (Cause.PATH_DEAD, Where.LOCAL)
