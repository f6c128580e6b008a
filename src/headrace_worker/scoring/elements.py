"""The elements of a list that a model with a type hint takes: JSON as it is, or what MLflow makes of each by itself.

What the model does with them is its own affair: it may well make a table of them, whose columns get their types from
all elements. So only elements of one *form* share a call: the same type, the same keys in the same order, and so on
below.
"""

from __future__ import annotations

from typing import Any

_SCALARS = frozenset((str, float, bool, type(None)))
_LONG = 2**63

MAX_DEPTH = 20


def form(value: Any, depth: int = 0) -> Any:
    """The form of a JSON value, hashable; None where it has none that others could share, or is nested too deeply.

    The length of a list is part of its form if it holds numbers, for those are mostly made into one array.
    """
    kind = type(value)
    if kind in _SCALARS:
        return kind
    if kind is int:
        return kind if -_LONG <= value < _LONG else None
    if depth == MAX_DEPTH:
        return None
    if kind is dict:
        inner = tuple([(key, form(one, depth + 1)) for key, one in value.items()])
        return None if any(one is None for _, one in inner) else (dict, inner)
    forms = {form(one, depth + 1) for one in value}
    if None in forms or len(forms) > 1:
        return None
    return list, tuple(forms), len(value) if forms <= {int, float} else None


def copied(value: Any) -> Any:
    """`value` with lists and objects of its own: a model may change what it is given, and it may be given twice."""
    if type(value) is list:
        return [copied(one) for one in value]
    if type(value) is dict:
        return {key: copied(one) for key, one in value.items()}
    return value
