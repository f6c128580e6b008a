"""Whether two answers to one request say the same, up to how exactly their numbers are to be taken."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace_worker import wire


def near(one: wire.Answer, other: wire.Answer, tolerance: float) -> bool:
    """Equal to the byte; or, with a tolerance above 0, alike but for floats that differ by no more than that.

    `tolerance` is a share of the larger of two floats, and for those below 1 the difference itself. Integers, texts,
    booleans and the form of the answer are never taken for alike.
    """
    if one == other:
        return True
    if tolerance <= 0.0 or one._replace(body=b"") != other._replace(body=b""):
        return False
    try:
        return _alike(json.loads(one.body), json.loads(other.body), tolerance)
    except ValueError:  # no JSON: then only the same bytes are the same
        return False


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        is_missing = math.isnan(one) and math.isnan(other)
        return is_missing or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(one, list):
        return len(one) == len(other) and all(_alike(a, b, tolerance) for a, b in zip(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key], tolerance) for key in one)
    return bool(one == other)
