"""The forms in which people write a value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from headrace.config import forms


@pytest.mark.parametrize(
    ("key", "kind", "written", "value"),
    [
        ("timeout_s", float, "500ms", 0.5),
        ("timeout_s", float, "90 s", 90.0),
        ("timeout_s", float, "5m", 300.0),
        ("timeout_s", float, "2h", 7200.0),
        ("max_delay_ms", float, "1s", 1000.0),
        ("max_age_days", float, "12h", 0.5),
        ("max_bytes", int, "64MiB", 64 * 2**20),
        ("max_bytes", int, "2GB", 2 * 10**9),
        ("max_bytes", int, "1.5kb", 1500),
        ("max_bytes", int, "1_000", 1000),
        ("rows", int, "7", 7),
        ("rows", int, "7.0", 7),
        ("rows", int, "5m", "5m"),  # it has no unit
        ("timeout_s", float, "5MB", "5MB"),
        ("timeout_s", float, "5M", "5M"),  # units of time are in lower case
        ("max_bytes", int, "lots", "lots"),
        ("flag", bool, "Yes", True),
        ("flag", bool, "off", False),
        ("flag", bool, "maybe", "maybe"),
        ("name", str, "5001", "5001"),
        ("path", Path, "a/b", Path("a/b")),
    ],
)
def test_what_a_text_means_for_a_setting(key: str, kind: Any, written: str, value: object) -> None:
    made = forms.as_kind(written, written, kind, key)
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize("unit", ["_s", "_ms", "_days", "_bytes"])
def test_the_schema_s_pattern_takes_what_is_taken(unit: str) -> None:
    pattern, key = re.compile(forms.pattern_of(unit)), f"some{unit}"
    assert forms.unit_of(key) == unit
    for written in ("5ms", "5 s", "2h", "64MiB", "64mib", "1.5GB", "5M", "5x", "ms", "1e3s", "5m", "-5s"):
        taken = not isinstance(forms.as_kind(written, written, float, key), str)
        assert bool(pattern.fullmatch(written)) is taken, written
    assert forms.such_as(unit)


def test_a_number_that_is_no_truth_value_and_a_truth_value_that_is_no_number() -> None:
    assert forms.as_kind(True, "true", int, "rows") is True
    assert forms.as_kind(None, "", str, "name") is None
    assert forms.unit_of("rows") is None
