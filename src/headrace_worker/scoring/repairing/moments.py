"""Dates as JavaScript, Java and others write them, in the one form that every MLflow takes. Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_SHORTEST = len("2024-02-29T12:34:56")
_ZONE = re.compile("[+-][0-9]{2}:[0-9]{2}")
_FIRST_YEAR, _LAST_YEAR = "1678", "2262"
"""Nanoseconds of years from the one to before the other fit 64 bits, wherever on Earth."""
MAX_CHARACTERS = 64
"""No date is longer."""


def without_zone(value: Any) -> str | None:
    """An ISO 8601 text in UTC, to the nanosecond and without a zone; None for what is no such text.

    All come out in one form, because pandas reads a column of dates by the form of the first. A text without a zone
    keeps its time: MLflow takes it as it stands.
    """
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return None
    found = _MOMENT.fullmatch(value)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    clock = int(hour or 0), int(minute or 0), int(second or 0)
    try:
        moment = dt.datetime(int(year), int(month), int(day), *clock, tzinfo=dt.timezone.utc) - _offset(zone)
    except (ValueError, OverflowError):
        return None
    return f"{moment.replace(tzinfo=None).isoformat()}.{(fraction or '').ljust(9, '0')}"


def all_without_zone(values: Iterable[Any]) -> dict[str, str | None]:
    """`without_zone` of every text among `values`."""
    texts = {value for value in values if type(value) is str}
    known = _by_numpy(texts)
    return {text: known[text] if text in known else without_zone(text) for text in texts}


def _by_numpy(texts: Iterable[str]) -> dict[str, str]:
    """What is known at once of the usual dates: those that NumPy reads and writes again as the very same."""
    import numpy as np

    ends = {text: text[-6:] for text in texts}
    offsets = {end: _minutes(end) for end in set(ends.values())}
    known = [text for text, end in ends.items() if offsets[end] is not None]
    plain = [text[:-1] if text[-1] in "Zz" else text[:-6] for text in known]
    minutes = [offsets[ends[text]] for text in known]
    try:
        moments = np.array(plain, "datetime64[ns]")
    except ValueError:  # one of them is no date, or has parts of days
        return {}
    read = written = np.datetime_as_string(moments).tolist() if plain else []
    if any(minutes):
        written = np.datetime_as_string(moments - np.array(minutes, "timedelta64[m]")).tolist()
    return {
        text: whole
        for text, one, same, whole in zip(known, plain, read, written)
        if same.startswith(one) and len(one) >= _SHORTEST and one[-1] != "." and _FIRST_YEAR <= one < _LAST_YEAR
    }


def _minutes(end: str) -> int | None:
    """The offset from UTC with which a date ends, in minutes; None where it is not written in the usual form."""
    if end[-1:] in ("Z", "z"):
        return 0
    if not _ZONE.fullmatch(end):
        return None
    try:
        return int(_offset(end).total_seconds()) // 60
    except ValueError:
        return None


def _offset(zone: str | None) -> dt.timedelta:
    if zone is None or zone in "Zz":
        return dt.timedelta()
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    offset = dt.timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset
