"""Small charts of the last 15 minutes as SVG geometry: paths in a box of 900 seconds by 100, drawn by a template."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH_S = 900.0
HEIGHT = 100.0
_LABEL_WIDTH = 9.0  # percent


@dataclass(frozen=True)
class Line:
    """One series: `path` is its line, `area` what is below it where that is filled; empty where there is nothing.

    `alone` are the points with a gap on either side, as spots: a line of one point is not seen.
    """

    name: str
    style: str
    path: str
    area: str
    alone: str


@dataclass(frozen=True)
class Mark:
    """Something that happened: `x` in percent of the width."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True)
class Chart:
    """`ticks` are (distance from the top in percent, label); `data` is what the script reads under the pointer."""

    title: str
    summary: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]
    data: str


@dataclass(frozen=True)
class Series:
    """Values at the chart's times; None is a gap. `filled`: down to the ground."""

    name: str
    style: str
    values: Sequence[float | None]
    filled: bool = False


def chart(
    title: str,
    at_s: Sequence[float],
    now_s: float,
    series: Sequence[Series],
    *,
    least_top: float,
    word: Callable[[float], str],
    events: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Lay a chart out. The scale ends at a round number, never below `least_top`; `events` are (time, label)."""
    highest = max((v for s in series for v in s.values if v is not None), default=0.0)
    top = round_up(max(highest, least_top))
    xs = [WIDTH_S - (now_s - at) for at in at_s]
    lines = tuple(_line(s, xs, top) for s in series)
    data = {
        "at": [round(x / WIDTH_S, 4) for x in xs],
        "when": [round(now_s - at) for at in at_s],
        "series": [[None if v is None else word(v) for v in s.values] for s in series],
    }
    return Chart(
        title=title,
        summary=_summary(series, word),
        lines=lines,
        ticks=((0.0, _tick(word(top))), (50.0, _tick(word(top / 2))), (100.0, "0")),
        marks=_marks(events, now_s),
        data=json.dumps(data, separators=(",", ":")),
    )


def spark(values: Sequence[float], most_points: int) -> str:
    """A line without axes in the same box; empty where nothing happened."""
    top = max(values, default=0.0)
    if top == 0:
        return ""
    step = WIDTH_S / max(1, most_points - 1)
    xs = [WIDTH_S - step * (len(values) - 1 - i) for i in range(len(values))]
    return _paths(xs, list(values), top)[0]


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 and so on, below 1 as well."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 5, 10) if value <= unit * step * (1 + 1e-9))


def _marks(events: Sequence[tuple[float, str]], now_s: float) -> tuple[Mark, ...]:
    """Those within the picture; where two are too close for their labels, the newer one has it."""
    made: list[Mark] = []
    labelled = 200.0
    for at, text in sorted(events, reverse=True):
        x = round(100 * (1 - (now_s - at) / WIDTH_S), 2)
        if 0 <= x <= 100:
            free = labelled - x >= _LABEL_WIDTH
            labelled = x if free else labelled
            made.append(Mark(x, text if free else "", "end" if x > 100 - _LABEL_WIDTH else "start"))
    return tuple(reversed(made))


def _line(series: Series, xs: Sequence[float], top: float) -> Line:
    path, area, alone = _paths(xs, series.values, top)
    return Line(series.name, series.style, path, area if series.filled else "", alone)


def _paths(xs: Sequence[float], values: Sequence[float | None], top: float) -> tuple[str, str, str]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, value in zip(xs, values, strict=True):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x, HEIGHT - HEIGHT * min(value, top) / top))
    lines, areas, alone = [], [], []
    for run in filter(None, runs):
        if len(run) == 1:
            alone.append(f"M{run[0][0]:.0f} {run[0][1]:.1f}h0")
            continue
        line = "L".join(f"{x:.0f} {y:.1f}" for x, y in run)
        lines.append(f"M{line}")
        areas.append(f"M{run[0][0]:.0f} {HEIGHT:.0f}L{line}L{run[-1][0]:.0f} {HEIGHT:.0f}Z")
    return "".join(lines), "".join(areas), "".join(alone)


def _tick(text: str) -> str:
    """A round number without the decimals that a measured one has."""
    return re.sub(r"\.0+\b", "", text)


def _summary(series: Sequence[Series], word: Callable[[float], str]) -> str:
    parts = []
    for one in series:
        known = [v for v in one.values if v is not None]
        if known:
            parts.append(f"{one.name} {word(known[-1])}, highest {word(max(known))}")
    return "; ".join(parts) or "nothing in the last 15 minutes"
