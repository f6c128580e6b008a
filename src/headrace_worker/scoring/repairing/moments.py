"""Dates as JavaScript, Java and others write them, in the one form that every MLflow takes. Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_USUAL = re.compile(
    r"(?:167[89]|16[89][0-9]|1[7-9][0-9]{2}|2[01][0-9]{2}|22[0-5][0-9]|226[01])-[0-9]{2}-[0-9]{2}"
    r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""The usual date with a zone, of a year whose nanoseconds fit 64 bits, wherever on Earth."""
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


def in_utc(values: Sequence[Any]) -> NDArray[np.datetime64] | None:
    """The moments of dates with a zone, in nanoseconds; None where one of them is not written in the usual form."""
    if not all(type(value) is str and _USUAL.fullmatch(value) for value in values):
        return None
    return _moments(values)


def _moments(usual: Sequence[str]) -> NDArray[np.datetime64] | None:
    import numpy as np

    cuts = [-1 if text[-1] in "Zz" else -6 for text in usual]
    try:
        moments = np.array([text[:cut] for text, cut in zip(usual, cuts)], "datetime64[ns]")
    except ValueError:  # the 30th of February
        return None
    zones = [text[cut:] for text, cut in zip(usual, cuts)]
    minutes = {zone: int(_offset(zone).total_seconds()) // 60 for zone in set(zones)}
    if any(minutes.values()):
        moments -= np.array([minutes[zone] for zone in zones], "timedelta64[m]")
    return moments


def _by_numpy(texts: Iterable[str]) -> dict[str, str]:
    """What is known at once: the usual dates with a zone."""
    import numpy as np

    usual = [text for text in texts if _USUAL.fullmatch(text)]
    moments = _moments(usual)
    return {} if moments is None else dict(zip(usual, np.datetime_as_string(moments).tolist()))


def _offset(zone: str | None) -> dt.timedelta:
    if zone is None or zone in "Zz":
        return dt.timedelta()
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    offset = dt.timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset
