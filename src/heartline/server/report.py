"""Faults that must not spread go to the loop's exception handler."""

from __future__ import annotations

import asyncio


def report(what: str, error: Exception) -> None:
    """Hand over an exception that nobody else will see."""
    asyncio.get_running_loop().call_exception_handler(
        {
            "message": f"heartline: {what} raised {type(error).__name__}",
            "exception": error,
        }
    )
