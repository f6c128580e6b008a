"""The forms in which people write a value beside the one that the tree holds: `60s`, `256MB`, `yes`, `"5"`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from headrace.config.reading import number

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip
_WITH_UNIT = re.compile(r"([0-9][0-9_.]*(?:[eE][-+]?[0-9]+)?) ?([A-Za-z]+)")

# What a key's own unit is worth in the unit of the table, and what to write, by the end of its name.
_DURATIONS = {"_s": 1.0, "_ms": 0.001, "_days": 86_400.0}
_SUCH_AS = {
    "_s": "a number of seconds, or one with a unit: 500ms, 90s, 5m, 2h",
    "_ms": "a number of milliseconds, or one with a unit: 5ms, 1s",
    "_days": "a number of days, or one with a unit: 12h, 30d",
    "_bytes": "a number of bytes, or one with a unit: 64MiB, 2GB",
}

_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def unit_of(key: str) -> str | None:
    """The end of a key's name that says its unit: `_s`, `_ms`, `_days` or `_bytes`; None: it has none."""
    return next((end for end in _SUCH_AS if key.endswith(end)), None)


def such_as(unit: str) -> str:
    """What to write for a key with this unit."""
    return _SUCH_AS[unit]


def pattern_of(unit: str) -> str:
    """A regular expression (of JSON Schema) for numbers that are written with a unit."""
    names = sorted(_BYTES if unit == "_bytes" else _SECONDS, key=len, reverse=True)
    cased = "|".join("".join(f"[{c}{c.upper()}]" if unit == "_bytes" else c for c in name) for name in names)
    return rf"^[0-9][0-9_.]*([eE][-+]?[0-9]+)? ?({cased})$"


def as_kind(value: Any, written: str, kind: Any, key: str) -> Any:
    """What a scalar means for a setting of this type (without bounds); the value as it is where nothing fits better.

    `written` is its text in the file, `key` the setting's name.
    """
    if kind is bool:
        return _TRUTH.get(written.lower(), value)
    if kind in {int, float} and not isinstance(value, bool):
        return _as_number(value, kind, unit_of(key))
    if kind is str and value is not None:
        return written
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    return value


def _as_number(value: Any, kind: type, unit: str | None) -> Any:
    found = number(value.strip()) if isinstance(value, str) else value
    if found is None and unit is not None and isinstance(value, str):
        found = _with_unit(value.strip(), unit)
    if found is None:
        return value
    if kind is int and isinstance(found, float) and found.is_integer():
        return int(found)
    return float(found) if kind is float and abs(found) < 1e300 else found


def _with_unit(text: str, unit: str) -> float | None:
    found = _WITH_UNIT.fullmatch(text)
    amount = number(found[1]) if found else None
    if found is None or amount is None:
        return None
    if unit == "_bytes":
        factor = _BYTES.get(found[2].lower())
        return None if factor is None else round(amount * factor, 6)
    seconds = _SECONDS.get(found[2])
    return None if seconds is None else round(amount * seconds / _DURATIONS[unit], 9)
