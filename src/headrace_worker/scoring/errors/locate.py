"""Finding the element of a request that does not fit the signature, or that fits only by losing something.

Pure; walks parsed JSON. Never on the way of a request that may be merged (shapes.py): its types are already known to
be those of the signature.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker.scoring import plan as plans
from headrace_worker.scoring import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TRUNCATED = "truncated"
WRAPPED = "wrapped"
TEXT_AS_BOOLEAN = "text_as_boolean"
NULL_AS_BOOLEAN = "null_as_boolean"
NULL_AS_TEXT = "null_as_text"
FEWER_ROWS = "fewer_rows"
"""The hazards: what MLflow answers with 200 although something was lost (docs: coming-from-mlflow)."""

MAX_SHOWN = 40
_MAX_RANK = 64
_ALWAYS_RIGHT = {
    plans.STRING: frozenset((str, int, float, bool)),
    plans.BOOLEAN: frozenset((bool, int, float)),
    plans.DOUBLE: frozenset((int, float, bool, type(None))),
    plans.FLOAT: frozenset((int, float, bool, type(None))),
    plans.INTEGER: frozenset((int, bool)),
    plans.LONG: frozenset((int, bool)),
}
"""Types that are right in a column; in one of integers within its bounds, and so are floats that are whole."""
_NEVER_LOST: dict[str, frozenset[type]] = {
    plans.DOUBLE: frozenset((str,)),
    plans.FLOAT: frozenset((str,)),
    plans.INTEGER: frozenset((str, type(None))),
    plans.LONG: frozenset((str, type(None))),
}
"""Types of which MLflow refuses what it cannot keep."""
_NUMBERS = frozenset((int, bool, float))


_WORDS = {
    plans.DOUBLE: "double",
    plans.FLOAT: "float",
    plans.INTEGER: "integer",
    plans.LONG: "long",
    plans.BOOLEAN: "boolean",
    plans.STRING: "string",
}
_BOUNDS = {plans.INTEGER: 2**31, plans.LONG: 2**63}
_BITS = {plans.INTEGER: 32, plans.LONG: 64}


class Finding(NamedTuple):
    """`hazard` is empty for an element that MLflow refuses; `message` says what was expected and what was there."""

    path: str
    hazard: str
    message: str


def hazards(request: dict[str, Any], plan: plans.Plan) -> Iterator[Finding]:
    """Every element of `request` that MLflow takes although it loses something, in order."""
    return (finding for finding in _findings(request, plan, lost=True) if finding.hazard)


def findings(request: dict[str, Any], plan: plans.Plan) -> Iterator[Finding]:
    """Every element of `request` that is refused or hazardous under plain columns or tensors, in order."""
    return _findings(request, plan, lost=False)


def _findings(request: dict[str, Any], plan: plans.Plan, *, lost: bool) -> Iterator[Finding]:
    """`lost`: those that are refused are left out as far as their type tells."""
    if plan.kind not in {plans.COLUMNS, plans.TENSORS} or not shapes.LLM_KEYS.isdisjoint(request):
        return
    given = [name for name in shapes.FORMATS if name in request]
    if len(given) != 1:
        return
    name, tensors = given[0], plan.kind == plans.TENSORS
    through_numpy = name in (shapes.INSTANCES, shapes.INPUTS)
    for path, letter, value in _elements(name, request[name], plan, lost=lost):
        if letter not in _WORDS:
            continue
        for place, leaf in _leaves(path, value) if tensors else ((path, value),):
            # A tensor of texts is made by NumPy in every format.
            found = _judge(letter, leaf, through_numpy=through_numpy or (tensors and letter == plans.STRING))
            if found is not None:
                yield Finding(place, *found)


def missing(request: dict[str, Any], plan: plans.Plan) -> Finding | None:
    """The first required column that a table of `request` lacks."""
    for name in (n for n in shapes.FORMATS if n in request):
        value = request[name]
        names: Any = None
        path = name
        if name == shapes.SPLIT and isinstance(value, dict) and isinstance(value.get("columns"), list):
            names, path = value["columns"], f"{name}.columns"
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            names = value[0]
        elif name in (shapes.INSTANCES, shapes.INPUTS) and isinstance(value, dict):
            names = value
        if isinstance(names, list):
            names = {one for one in names if isinstance(one, str)}
        if names is not None:
            for column in plan.named:
                if column in plan.required and column not in names:
                    return Finding(path, "", f'the column "{column}" is missing')
    return None


def show(value: Any) -> str:
    """A short JSON text of a scalar, or the kind of anything larger."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return json.dumps(value[:MAX_SHOWN])[:-1] + '..."'
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return "an integer of many digits"
    return json.dumps(value)


def _elements(name: str, value: Any, plan: plans.Plan, *, lost: bool) -> Iterator[tuple[str, str, Any]]:
    """(path, letter, element) of each element that may not be all right and whose column is known, in order.

    No path repeats what else a client names.
    """
    if name == shapes.SPLIT:
        rows = value.get("data") if isinstance(value, dict) else None
        if isinstance(rows, list):
            letters = _by_position(value.get("columns"), plan)
            for r, c, element in _odd_in_rows(letters, rows, list, lost=lost):
                yield f"{name}.data[{r}][{c}]", letters[c] or "", element
    elif isinstance(value, dict):
        for column, elements in value.items():
            letter = plan.named.get(column)
            if letter is None:
                continue
            for r in _odd(letter, elements, lost=lost) if isinstance(elements, list) else ():
                yield f"{name}.{column}[{r}]", letter, elements[r]
            if not isinstance(elements, list):
                yield f"{name}.{column}", letter, elements
    elif isinstance(value, list) and value:
        names = shapes.common_names(value)
        if names:
            letters = [plan.named.get(column) for column in names]
            for r, c, element in _odd_in_rows(letters, list(map(dict.values, value)), type({}.values()), lost=lost):
                yield f"{name}[{r}].{names[c]}", letters[c] or "", element
            return
        for r, row in enumerate(value):
            if isinstance(row, dict):
                for column, element in row.items():
                    letter = plan.named.get(column)
                    if letter is not None:
                        yield f"{name}[{r}].{column}", letter, element
            elif len(plan.positional) == 1 and plan.positional[0] is not None:
                yield f"{name}[{r}]", plan.positional[0], row


def _odd_in_rows(
    letters: list[str | None], rows: list[Any], kind: Any, *, lost: bool
) -> Iterator[tuple[int, int, Any]]:
    """(row, column, element) of what may not be all right in rows of one `kind`, in order."""
    if set(map(type, rows)) == {kind} and len(set(map(len, rows))) == 1:
        columns = list(zip(*rows))
        found = [
            (r, c) for c, (letter, column) in enumerate(zip(letters, columns)) for r in _odd(letter, column, lost=lost)
        ]
        for r, c in sorted(found):
            yield r, c, columns[c][r]
        return
    for r, row in enumerate(rows):
        for c, (letter, element) in enumerate(zip(letters, row if type(row) is kind else ())):
            if letter is not None:
                yield r, c, element


def _odd(letter: str | None, values: Sequence[Any], *, lost: bool) -> Iterable[int]:
    """The places of those `values` in a column that are not all right by their type and size alone."""
    known = _ALWAYS_RIGHT.get(letter or "")
    if known is None:
        return () if letter is None else range(len(values))
    if lost:
        known = known | _NEVER_LOST.get(letter or "", frozenset())
    types = set(map(type, values))
    bound = _BOUNDS.get(letter or "")
    if bound is None:
        return () if types <= known else [i for i, value in enumerate(values) if type(value) not in known]
    if types <= known:
        numbers = [value for value in values if type(value) in _NUMBERS]
        if not numbers or (-bound <= min(numbers) and max(numbers) < bound):
            return ()
    return [
        i
        for i, value in enumerate(values)
        if (type(value) not in _NUMBERS and type(value) not in known)
        or (type(value) in _NUMBERS and (not -bound <= value < bound or value % 1))
    ]


def _leaves(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The scalars in nested lists, each with its path; deeper than NumPy goes, lists are told as they are."""
    if isinstance(value, list) and depth < _MAX_RANK:
        for i, element in enumerate(value):
            yield from _leaves(f"{path}[{i}]", element, depth + 1)
    else:
        yield path, value


def _by_position(columns: Any, plan: plans.Plan) -> list[str | None]:
    if plan.by_name:
        return [plan.named.get(c) if isinstance(c, str) else None for c in columns] if isinstance(columns, list) else []
    if plan.kind == plans.TENSORS and len(plan.positional) == 1:
        return list(plan.positional) * (len(columns) if isinstance(columns, list) else 1)
    return list(plan.positional)


def _judge(letter: str, value: Any, *, through_numpy: bool) -> tuple[str, str] | None:
    """(hazard or empty, message) for one element, None if it is all right."""
    if isinstance(value, (list, dict)):
        if letter == plans.BOOLEAN and not (through_numpy and isinstance(value, list)):
            return TEXT_AS_BOOLEAN, f"expected boolean, got {show(value)}, and whatever is not empty counts as true"
        return None if through_numpy and isinstance(value, list) else _refused(letter, value)
    if letter == plans.STRING:
        return (NULL_AS_TEXT, 'null would become the text "None"') if value is None and through_numpy else None
    if letter == plans.BOOLEAN:
        if isinstance(value, str):
            return TEXT_AS_BOOLEAN, f"expected boolean, got {show(value)}, and any text counts as true"
        return (NULL_AS_BOOLEAN, "expected boolean, got null, which counts as false") if value is None else None
    if letter in (plans.DOUBLE, plans.FLOAT):
        return _refused(letter, value) if isinstance(value, str) and not _reads_as(float, value) else None
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return _refused(letter, value)
    if isinstance(value, float) and not value.is_integer():
        return TRUNCATED, f"expected {_WORDS[letter]}, got {show(value)}"
    if isinstance(value, str) and not _reads_as(int, value):
        return _refused(letter, value)
    if -_BOUNDS[letter] <= int(value) < _BOUNDS[letter]:
        return None
    # pandas casts what fits 64 bits, with or without a sign, and any float; from a text it takes no liberties.
    is_cast = isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**64)
    if is_cast and not through_numpy:
        return WRAPPED, f"{show(value)} does not fit an integer of {_BITS[letter]} bits"
    return _refused(letter, value)


def _refused(letter: str, value: Any) -> tuple[str, str]:
    return "", f"expected {_WORDS[letter]}, got {show(value)}"


def _reads_as(kind: type[float | int], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
