"""Dates as JavaScript, Java and others write them, in the one form that every MLflow takes. Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
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


def _offset(zone: str | None) -> dt.timedelta:
    if zone is None or zone in "Zz":
        return dt.timedelta()
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    offset = dt.timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset
