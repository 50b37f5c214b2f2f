"""Figures drawn with characters: a bar, a sparkline, sizes that fit their place."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def bar(share: float, *, width: int) -> str:
    """Fill `share` of `width` cells, to the eighth; outside 0 to 1 it is cut.

    Any share above nothing shows at least its first eighth.
    """
    share = min(max(share, 0.0), 1.0)
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    whole, rest = divmod(eighths, 8)
    return (_EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def sparkline(values: Sequence[float], *, width: int) -> str:
    """Draw the last `width` values between nothing and the largest one shown."""
    shown = values[-width:] if width > 0 else ()
    top = max(shown, default=0.0)
    if top <= 0.0:
        return _LEVELS[0] * len(shown)
    return "".join(_LEVELS[min(int(value / top * 8), 7)] for value in shown)


def number(value: float) -> str:
    """Write a count or rate in few characters: `7.3`, `1,234`, `1.23 M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}"


def size(size_bytes: float) -> str:
    """Write a size with the decimal unit that fits it: `512 B`, `1.2 kB`, `3.4 MB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= limit:
            scaled = size_bytes / limit
            return f"{scaled:.{0 if scaled >= 99.95 else 1}f} {unit}"
    return f"{size_bytes:.0f} B"
