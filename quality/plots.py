"""Detection time over mistakes, one picture for each kind of link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from .environments import ENVIRONMENTS, MONTH_DAYS
from .findings import OURS, Findings
from .limit import FLAT_OUT, limit
from .tables import GROUPS

LEAST, MOST = 0.15, 400.0
SURE = 3.0
"""Who errs so often on average is seen to err, with 95 % confidence."""
ARROW = "arrow: no mistake seen; with 95 % confidence it errs less often"
STYLES: dict[str, dict[str, Any]] = {
    "fixed timeout": {"color": "#4c78a8", "linestyle": "-"},
    "phi accrual": {"color": "#e39c37", "linestyle": "--"},
    "Chen NFD-E": {"color": "#54a24b", "linestyle": ":"},
}
OUR_COLOUR = "#d62728"
POINTS = {
    "websockets, as shipped": ("s", "websockets"),
    "picows, as shipped": ("D", "picows"),
    "phi accrual as in Akka": ("v", "Akka"),
    "phi accrual as in Cassandra": ("^", "Cassandra"),
}


def draw(findings: Findings, results: Path) -> list[Path]:
    """Draw a picture for each group that has curves; where they are."""
    drawn: list[Path] = []
    plt.rcParams["svg.hashsalt"] = "heartline"
    for group, title in GROUPS.items():
        curves = [curve for curve in findings.curves if curve["group"] == group]
        if not curves:
            continue
        names = [
            name
            for name in ENVIRONMENTS
            if any(curve["environment"] == name for curve in curves)
        ]
        columns = len(names)
        figure, axes = plt.subplots(
            1, columns, figsize=(4.0 * columns, 5.0), sharey=True, squeeze=False
        )
        for panel, name in zip(axes[0], names, strict=True):
            _panel(panel, findings, group, name)
        axes[0][0].set_ylabel("mistakes in 30 days")
        entries: dict[str, Any] = {}
        for panel in axes[0]:
            handles, labels = panel.get_legend_handles_labels()
            entries |= dict(zip(labels, handles, strict=True))
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="lower center",
            ncols=columns + 1,
            frameon=False,
            fontsize=8.5,
        )
        figure.suptitle(f"{title} ({ARROW})", fontsize=11 if columns > 2 else 9)
        rows = -(-len(entries) // (columns + 1))
        figure.tight_layout(rect=(0, 0.02 + 0.042 * rows, 1, 1))
        path = results / f"{group}.svg"
        figure.savefig(path, metadata={"Date": None})
        drawn.append(path)
        plt.close(figure)
    return drawn


def _panel(panel: Any, findings: Findings, group: str, name: str) -> None:
    environment = ENVIRONMENTS[name]
    panel.set_title(f"{name}: {environment.meaning}", fontsize=8.5, wrap=True)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_ylim(LEAST, MOST)
    panel.set_xlim(0.25, 45)
    panel.set_xticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    panel.set_yticks([1, 10, 100], ["1", "10", "100"])
    panel.minorticks_off()
    panel.grid(color="#e6e6e6", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.axhline(1.0, color="#bbbbbb", linewidth=0.8)
    flat_out, _ = limit(environment, FLAT_OUT)
    panel.fill_between(
        [0.25, flat_out],
        LEAST,
        1.0,
        color="#ececec",
        linewidth=0,
        label="beyond the limit of any detector",
    )
    panel.set_xlabel("median detection time, s")
    for curve in findings.curves:
        if (curve["group"], curve["environment"]) == (group, name):
            if curve["detector"] == OURS:
                continue
            _fixed(panel, curve)
    _ours(panel, findings, group, name)
    for row in findings.rows:
        if (row.group, row.environment) == (group, name) and row.detector in POINTS:
            marker, label = POINTS[row.detector]
            style = {"marker": marker, "color": "#555555", "markersize": 6}
            _point(panel, row.median, row.mistakes, row.days, label=label, **style)


def _fixed(panel: Any, curve: dict[str, Any]) -> None:
    title, _, each = curve["detector"].partition(", each ")
    points = [point for point in curve["points"] if point["mistakes"]]
    points.sort(key=lambda point: -point["mistakes"])
    panel.plot(
        [point["median"] for point in points],
        [point["mistakes"] for point in points],
        linewidth=2.2 if each == "1 s" else 1.3,
        label=f"{title}, each {each}",
        **STYLES[title],
    )


def _ours(panel: Any, findings: Findings, group: str, name: str) -> None:
    ours = [
        curve
        for curve in findings.curves
        if curve["detector"] == OURS
        and (curve["group"], curve["environment"]) == (group, name)
    ]
    style = {"color": OUR_COLOUR, "marker": "o", "markersize": 4.5}
    for curve in ours:
        point, label = curve["points"][0], "heartline, ride_through fixed"
        if curve["ride_through"] is None:
            continue
        where = (point["median"], point["mistakes"], curve["days"])
        _point(panel, *where, label=label, **style)
    style = {"color": OUR_COLOUR, "marker": "*", "markersize": 15}
    for curve in ours:
        point, label = curve["points"][0], "heartline, as shipped"
        if curve["ride_through"] is None:
            where = (point["median"], point["mistakes"], curve["days"])
            _point(panel, *where, label=label, **style)


def _point(
    panel: Any, at: float, mistakes: float, days: float, *, label: str, **style: Any
) -> None:
    """A detector of one threshold."""
    shown = mistakes or SURE * MONTH_DAYS / days
    if not mistakes:
        panel.annotate(
            "",
            xy=(at, shown / 2.6),
            xytext=(at, shown),
            arrowprops={"arrowstyle": "->", "color": style["color"], "linewidth": 1.0},
        )
    panel.plot(
        at,
        shown,
        linestyle="none",
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=label,
        **style,
    )
