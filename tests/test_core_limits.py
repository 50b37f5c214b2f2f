"""The limits of the core, and the measured times that its bounds are made of.

What is published of a link or a queue is a sum of these: whoever changes one changes a
promise, and says so here as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

LIMITS: dict[str, dict[str, Any]] = {
    "adaptive": {"MOST_RECENT": 128, "PROBE_TIMEOUT_CAP": 0.3, "LEAST_GAP": 0.1},
    "calm": {"LULL": 5.0, "LULL_UNLEARNED": 0.02},
    "channel": {"CHANNEL_PATIENCE": 0.2, "INTERRUPTED": 1.0},
    "channel_bounds": {"MOST_PROMISED": 256, "KEPT": 1.0},
    "detector": {
        "DELAYED_ACK": 0.05,
        "KEEPALIVE_GRACE": 0.04,
        "MOST_KEEPALIVE": 32_767,
        "LOCAL_AFTER": 0.15,
        "LEAST_RESEND": 0.2,
        "REPROOF_WITHIN": 0.5,
        "LARGEST_SEGMENT": 65_535,
        "BUSY_FLOOR": 0.2,
        "POLL": 0.05,
        "TIMER_SLACK": 0.05,
    },
    "excuses": {"MOST": 64},
    "feed": {"REVIVAL": 5.0},
    "fetches": {"GRACE": 1.0},
    "freshness": {"MOST_A_LOOK": 2000, "RECENT": 10.0, "STEP": 0.1, "WITNESSES": 20},
    "mending": {"CALM": 60.0},
    "offset": {"LATEST": 1e11},
    "orderbook": {"MOST_LEVELS": 20_000},
    "overflow": {"DROP_NOTICE_EVERY": 1.0},
    "overlap": {"MOST_KEYS": 4096, "MOST_ODD": 4096, "ASKED_EVERY": 0.5},
    "peer": {"BACKLOG_BYTES": 4096, "KERNEL_TAKES": 0.25},
    "pings": {"MOST_OUT": 16},
    "stall": {
        "SETTLE": 0.02,
        "DRAIN": 0.01,
        "MOST_DRAINS": 50,
        "ASK_EVERY": 1.0,
        "TELL_EVERY": 1.0,
        "LONG": 0.5,
    },
    "terms": {"BURST": 10},
    "tracker": {"LEAST_NUMBER": -1, "LIMIT_NUMBER": 1 << 64, "MOST_KEYS": 65_536},
    "unread": {
        "LATE": 0.1,
        "LOOK_EVERY": 0.01,
        "PUT_OFF": 0.08,
        "LEAST_LOOKS": 2,
        "PAUSED_EVERY": 1.0,
    },
    "watched": {"YOUNG": 300.0, "ALIKE": 5, "LONE": 3.0},
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_and_measured_times_are_these(name: str) -> None:
    module = import_module(f"heartline.core.{name}")
    assert {each: getattr(module, each) for each in LIMITS[name]} == LIMITS[name]


def test_good_cases_are_known_by_the_numbers_that_are_compiled() -> None:
    figures = import_module("heartline.core.figures")
    cases = figures.STEP, figures.CHAIN, figures.MONOTONIC, figures.UNNUMBERED
    assert cases == (1, 2, 3, 4)
