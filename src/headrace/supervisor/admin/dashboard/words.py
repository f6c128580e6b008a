"""Numbers and times as people read them."""

from __future__ import annotations

import datetime as dt

NOTHING = "–"  # noqa: RUF001 - an en dash, as typography has it


def rate(value: float) -> str:
    """Requests per second: 0, 0.3, 12.5, 1,234."""
    if value < 0.05:
        return "< 0.1" if value else "0"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def milliseconds(seconds: float | None) -> str:
    """A latency with its unit: 0.42 ms, 3.1 ms, 250 ms, 1.2 s."""
    if seconds is None:
        return NOTHING
    ms = seconds * 1000
    if ms >= 1000:
        return f"{seconds:.1f} s"
    return f"{ms:.2f} ms" if ms < 1 else f"{ms:.1f} ms" if ms < 100 else f"{ms:.0f} ms"


def share(value: float | None) -> str:
    """A share as a percentage: 0 %, 0.02 %, 12 %. What is not nothing is never shown as nothing."""
    if value is None:
        return NOTHING
    percent = value * 100
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 0.1 else "< 0.1 %"


def ago(at_s: float | None, now_s: float) -> str:
    """How long ago, in one unit: 4 s, 12 min, 3 h, 2 days."""
    if at_s is None:
        return "never"
    return "just now" if now_s - at_s < 2 else f"{span(now_s - at_s)} ago"


def span(seconds: float) -> str:
    """A duration in one unit."""
    seconds = max(0.0, seconds)
    for most, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < most:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def moment(at_s: float) -> str:
    """A time in the server's zone, to the second."""
    return dt.datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def machine(at_s: float) -> str:
    """A time for a machine (the datetime attribute)."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat(timespec="seconds")


def size(count_bytes: float | None) -> str:
    """Memory with its unit: 0 MB, 85 MB, 1.2 GB."""
    if count_bytes is None:
        return NOTHING
    mb = count_bytes / 1e6
    return f"{mb:.0f} MB" if mb < 1000 else f"{mb / 1000:.1f} GB"


def mean(value: float | None) -> str:
    """A mean of counts: 1, 1.4, 32."""
    return NOTHING if value is None else rate(value).removesuffix(".0")
