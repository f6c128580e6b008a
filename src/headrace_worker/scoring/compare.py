"""Whether an answer out of a shared call says what the request alone is answered, but for the noise of floats.

A model that computes in floats rounds otherwise where there are more rows: BLAS adds up in another order. Such noise
is far smaller than what a row's neighbours change in a model that looks at them. How small depends on the type in
which the model computes, and on the values that went into its sums. Neither is told, so both are read off the values:
those at the same place of all rows of the call (a *column*), and those of the same answer.
"""

from __future__ import annotations

import json
import math
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace_worker import wire

AUTO = "auto"
"""The tolerance that follows the type in which a model computes."""


class _Bound(NamedTuple):
    """How far two floats may be apart: a share of the larger one, or a share of the values beside it."""

    relative: float
    beside: float


_DOUBLE = _Bound(1e-9, 1e-12)
_SINGLE = _Bound(1e-4, 1e-5)
# Measured, a row alone and the same row among 2 to 256: doubles (linear models of 20 to 1,000 columns, MLP, Gaussian
# process, kernel ridge, PCA, PLS) differ by up to 3e-13 of themselves. Floats of 32 bits (MLP, convolution, LSTM,
# sentence embeddings) by up to 6e-5 where no sum came out near zero; else by up to 2e-6 of the values beside it.

_SHORT_BITS = 20
"""Of the 24 bits of a 32-bit float. Fractions like 0.375 need fewer, whatever the type; computed ones hardly do."""


class Judge:
    """Compares the answers of one shared call with those of its requests alone.

    `tolerance` 0: only the same bytes are the same. `auto`: floats may differ by the rounding noise of their type. Any
    other: floats may differ by that share of the larger, those below 1 by the tolerance itself. Integers, texts,
    booleans, nulls and the form of an answer are never taken for alike. `together` are the answers of the call.
    `read` makes of an answer what is compared: its JSON, with the rows below ``predictions``; it raises ValueError
    where there is none.
    """

    def __init__(
        self, tolerance: float | str, together: list[wire.Answer], read: Callable[[wire.Answer], Any] | None = None
    ) -> None:
        self._read = read if read is not None else _read
        self._tolerance = tolerance
        self._together = together
        self._column: _Column | _Fixed | None = None

    def near(self, alone: wire.Answer, merged: wire.Answer) -> bool:
        """Whether `merged`, one of the call, says what `alone` says."""
        if alone == merged:
            return True
        if self._tolerance == 0 or alone._replace(body=b"") != merged._replace(body=b""):
            return False
        try:
            one, other = self._read(alone), self._read(merged)
            if self._column is None:
                self._column = self._look()
        except ValueError:  # no JSON: then only the same bytes are the same
            return False
        lists, others = _lists(one), _lists(other)
        if list(lists) != list(others) or not lists:
            return bool(one == other)
        return all(_rows_alike(lists[name], rows, self._column.at(name)) for name, rows in others.items())

    def _look(self) -> _Column | _Fixed:
        if isinstance(self._tolerance, float):
            return _Fixed(self._tolerance)
        bodies = [_lists(self._read(answer)) for answer in self._together if answer.status == 200]
        # A row at a time, so that what stands at one place of all rows is found below one name.
        return _Column([{name: row} for lists in bodies for name, rows in lists.items() for row in rows])


def _read(answer: wire.Answer) -> Any:
    return json.loads(answer.body)


def _lists(body: Any) -> dict[str, list[Any]]:
    """The lists with an element for each row in an answer: below no name the only one, else those of an object."""
    predictions = body.get("predictions") if isinstance(body, dict) and len(body) == 1 else None
    named: dict[str, Any] = predictions if isinstance(predictions, dict) else {"": predictions}
    return named if all(isinstance(rows, list) for rows in named.values()) else {}


def _rows_alike(lists: list[Any], others: list[Any], column: _Column | _Fixed) -> bool:
    return len(lists) == len(others) and all(_alike(one, other, column, others) for one, other in zip(lists, others))


def _alike(one: Any, other: Any, column: _Column | _Fixed, around: list[Any]) -> bool:
    """Whether `one` and `other` are the same but for noise; `around` is the list of `other`, empty below an object."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (one != one and other != other) or column.allows(one, other, around)  # noqa: PLR0124
    if isinstance(one, list):
        pairs = enumerate(zip(one, other))
        return len(one) == len(other) and all(_alike(a, b, column.at(i), other) for i, (a, b) in pairs)
    if isinstance(one, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key], column.at(key), []) for key in one)
    return bool(one == other)


class _Fixed:
    """The same tolerance everywhere."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance

    def at(self, _place: Any) -> _Fixed:
        return self

    def allows(self, one: float, other: float, _around: list[Any]) -> bool:
        return math.isclose(one, other, rel_tol=self._tolerance, abs_tol=self._tolerance)


class _Column:
    """What stands at one place of all rows of a call; what it shows is found out where it is asked for."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self._inner: dict[Any, _Column] = {}
        self._floats: array[float] | None = None

    def at(self, place: Any) -> _Column:
        """What stands below `place`: the position in lists, or the key of objects."""
        inner = self._inner.get(place)
        if inner is None:
            kind = dict if isinstance(place, str) else list
            held = [value for value in self._values if type(value) is kind]
            known = [v[place] for v in held if (place in v if kind is dict else place < len(v))]
            inner = self._inner[place] = _Column(known)
        return inner

    def allows(self, one: float, other: float, around: list[Any]) -> bool:
        """Whether rounding noise explains why `one` and `other` differ, neither of them NaN."""
        if self._floats is None:
            self._floats = _finite(self._values)
        if one.is_integer() and other.is_integer() and all(map(float.is_integer, self._floats)):
            return False  # counts, ranks, labels: whole numbers in floats are as discrete as any
        bound = _SINGLE if _is_single([one, other, *self._floats]) else _DOUBLE
        beside = max(map(abs, self._floats), default=0.0)
        near = bound.beside * max(beside, _usual(around))
        return math.isclose(one, other, rel_tol=bound.relative, abs_tol=near)


def _finite(values: list[Any]) -> array[float]:
    return array("d", [v for v in values if type(v) is float and math.isfinite(v)])


def _is_single(values: list[float]) -> bool:
    """Whether all of `values` are floats of 32 bits, and not just because they are short fractions."""
    return array("d", array("f", values)).tolist() == values and any(map(_is_long, values))


def _is_long(value: float) -> bool:
    return not (math.frexp(value)[0] * 2**_SHORT_BITS).is_integer()


def _usual(around: list[Any]) -> float:
    """The size that is usual among the floats of one list: 1 for the parts of a whole, else that of the middle one.

    Not that of the largest: the numbers of a row may be of different units.
    """
    sizes = sorted(map(abs, _finite(around)))
    if not sizes:
        return 0.0
    is_distribution = min(_finite(around)) >= 0.0 and math.isclose(sum(sizes), 1.0, rel_tol=1e-3)
    return 1.0 if is_distribution else sizes[(len(sizes) - 1) // 2]
