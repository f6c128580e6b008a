"""Which requests may share one predict call: decided on parsed JSON, before anything is converted.

Two requests may be merged if converting their rows together gives each row exactly what converting it alone would
give. That is a matter of types: NumPy and pandas choose a column's type from all of its values (``1`` beside
``1.5`` becomes ``1.0``; a null turns integers into floats, and strings into something else again). So each column
of a request gets a letter for the type it would have alone, and only requests with the same letters in the same
columns get the same key. Where a type follows from several values in ways that a letter cannot tell, there is no
key, and the request is scored by itself.

Pure: no NumPy, no pandas, no state.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any, NamedTuple

from headrace_worker.scoring import elements
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.bodies import plain_csv
from headrace_worker.scoring.bodies.allowance import Allowance

INSTANCES = "instances"
INPUTS = "inputs"
SPLIT = "dataframe_split"
CSV = "csv"
RECORDS = "dataframe_records"
FORMATS = (INSTANCES, INPUTS, SPLIT, RECORDS)
LLM_KEYS = frozenset(("messages", "prompt", "input"))

FLAT, ROWS, TABLE, OBJECTS, COLUMNWISE = "flat", "rows", "table", "objects", "columnwise"
INDEXED, ELEMENTS, LINES = "indexed", "elements", "lines"

MAX_KINDS = 1024
"""Kinds that are remembered at a time."""

EXACT_FLOAT = 2**53
"""Integers up to here are the same number as a double, whichever way they become one."""

_INT_BOUNDS = {plans.INTEGER: 2**31, plans.LONG: 2**63}
_TEXT, _FLAG, _WHOLE, _REAL = {str}, {bool}, {int}, {float}
_NUMBERS = frozenset((int, float))
_NUMBERS_OR_NULL = frozenset((int, float, type(None)))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2})?\Z")
_SCALARS = frozenset((str, int, float, bool, type(None)))


class Kind:
    """What requests must have in common to be merged; two are the same only if they are one object.

    `format` is the format key, `form` how the rows lie below it, `names` the columns in the request's order (empty
    for FLAT and ROWS), `letters` the type of each (and, without names, of the whole, with the lengths of inner
    lists). `shape` is all of that, `params` the value of ``params``.
    """

    __slots__ = ("form", "format", "letters", "names", "params", "shape")

    def __init__(self, shape: tuple[Any, ...], params: Any) -> None:
        self.shape = shape
        self.format, self.form, self.names, self.letters = shape
        self.params = params


class Share(NamedTuple):
    """A request that may share a predict call: the `rows` rows of `data` below the format key.

    `place` is the request's place in its batch and `body` its bytes, for whoever has to start over.
    """

    kind: Kind
    data: Any
    rows: int
    place: int = 0
    body: bytes | memoryview = b""


class Classifier:
    """Finds the kind of each request for one model's plan."""

    def __init__(self, plan: plans.Plan) -> None:
        self._plan = plan
        self._kinds: dict[tuple[Any, ...], Kind] = {}
        self._tables_of_doubles: dict[tuple[str, ...], Kind] = {}
        self._allowance = Allowance(MAX_KINDS)
        texts: list[tuple[Any, ...]] = []
        if plan.kind == plans.ELEMENTS:
            texts = [(INPUTS, ELEMENTS, (), (str,))]
        elif plan.kind == plans.FREE or plan.positional == (plans.STRING,):
            texts = [(name, FLAT, (), (plans.STRING,)) for name in (INSTANCES, INPUTS)]
        kinds = {shape[0]: self._kind(shape, False, None) for shape in texts}
        self.text_kinds: dict[str, Kind] = {name: kind for name, kind in kinds.items() if kind is not None}
        """By format key, the kind of a request that is a list of texts and nothing else."""

    def share(self, request: dict[str, Any], place: int = 0, body: bytes | memoryview = b"") -> Share | None:
        """What `request` may share with others, None if it must be scored by itself (or is not valid at all)."""
        plan = self._plan
        if plan.kind == plans.CLOSED or not LLM_KEYS.isdisjoint(request):
            return None
        given = [name for name in FORMATS if name in request]
        if len(given) != 1:
            return None
        name = given[0]
        value = request[name]
        if plan.kind == plans.ELEMENTS:
            found = _elements(value) if name == INPUTS else None
        elif name == SPLIT:
            kind = self._known_table(request, value)
            if kind is not None:
                return Share(kind, value["data"], len(value["data"]), place, body)
            found = _split(value, plan)
        elif name == RECORDS:
            found = _objects(value, plan, is_frame=True)
        elif type(value) is dict:
            found = _columnwise(value, plan)
        elif type(value) is list and value and type(value[0]) is dict:
            if plan.kind == plans.TENSORS or not (plan.by_name or (name == INSTANCES and plan.kind == plans.FREE)):
                return None
            found = _objects(value, plan, is_frame=False)
        else:
            found = _plain_list(value, plan)
        if found is None:
            return None
        form, names, letters, data, rows = found
        has_params = "params" in request
        kind = self._kind((name, form, names, letters), has_params and repr(request["params"]), request.get("params"))
        if kind is None:
            return None
        if form == TABLE and names and not has_params and set(letters) == {plans.DOUBLE}:
            self._tables_of_doubles[names] = kind
        return Share(kind, data, rows, place, body)

    def csv_share(self, place: int, body: bytes | memoryview) -> Share | None:
        """As `share`, for a CSV body."""
        found = plain_csv.read(body, self._plan)
        kind = None if found is None else self._kind((CSV, LINES, found.names, found.letters), None, None)
        return None if found is None or kind is None else Share(kind, found.lines, len(found.lines), place, body)

    def _kind(self, shape: tuple[Any, ...], params_text: Any, params: Any) -> Kind | None:
        """The one kind with this shape and these params; None where it is larger than all that may be remembered."""
        key = (*shape, params_text)
        kind = self._kinds.get(key)
        if kind is None:
            if not self._allowance.take(key):
                self._kinds.clear()
                self._tables_of_doubles.clear()
                self._allowance = Allowance(MAX_KINDS)
                if not self._allowance.take(key):
                    return None
            kind = self._kinds[key] = Kind(shape, params)
        return kind

    def _known_table(self, request: dict[str, Any], value: Any) -> Kind | None:
        """The kind of a ``dataframe_split`` of nothing but floats whose columns were seen before, without params."""
        try:
            kind = self._tables_of_doubles.get(tuple(value["columns"]))
            if kind is None or len(value) != 2 or "params" in request:
                return None
            rows = value["data"]
            is_table = (
                type(rows) is list
                and set(map(type, rows)) == {list}
                and set(map(len, rows)) == {len(kind.names)}
                and set(map(type, chain.from_iterable(rows))) == _REAL
                and type(value["columns"]) is list
            )
        except (TypeError, KeyError):
            return None
        return kind if is_table else None


def merged(shares: list[Share]) -> Any:
    """The value below the format key for all of `shares` (of one kind) together."""
    kind, data = shares[0].kind, shares[0].data
    if len(shares) > 1:
        if kind.form in (COLUMNWISE, INDEXED):
            data = {n: list(chain.from_iterable(s.data[n] for s in shares)) for n in data}
        else:
            data = list(chain.from_iterable([s.data for s in shares]))
    if kind.form not in (TABLE, INDEXED):
        return data
    table = data if kind.form == INDEXED else {"data": data}
    return {"columns": list(kind.names), **table} if kind.names else table


def common_names(rows: list[Any]) -> tuple[str, ...] | None:
    """The names in `rows`, in order, if all of these are objects with the same ones; None where they are not."""
    if set(map(type, rows)) != {dict}:
        return None
    names = set(map(tuple, rows))
    return names.pop() if len(names) == 1 else None


def _elements(value: Any) -> tuple[str, tuple[str, ...], tuple[Any, ...], Any, int] | None:
    """A list of anything, where all elements have one form."""
    if type(value) is not list or not value:
        return None
    form = elements.form(value[0])
    if form is None or any(elements.form(one) != form for one in value[1:]):
        return None
    return ELEMENTS, (), (form,), value, len(value)


def _plain_list(value: Any, plan: plans.Plan) -> tuple[str, tuple[str, ...], tuple[Any, ...], Any, int] | None:
    """A list of scalars, or of equally long lists (of lists...) of them."""
    if type(value) is not list or not value:
        return None
    letter = plan.positional[0] if plan.positional else None
    if plan.kind != plans.FREE and (len(plan.positional) != 1 or letter is None):
        return None
    shape, leaves, types = _unnest(value)
    if shape is None or (shape and plan.kind == plans.COLUMNS):
        return None
    found = _letter(types, leaves, letter if plan.kind != plans.FREE else None, free=plan.kind == plans.FREE)
    if found is None:
        return None
    return (ROWS if shape else FLAT), (), (found, *shape), value, len(value)


def _split(value: Any, plan: plans.Plan) -> tuple[str, tuple[str, ...], tuple[Any, ...], Any, int] | None:
    if type(value) is not dict or "data" not in value or not value.keys() <= {"columns", "data", "index"}:
        return None
    rows, columns = value["data"], value.get("columns")
    if type(rows) is not list or not rows or set(map(type, rows)) != {list}:
        return None
    width = len(rows[0])
    if not width or set(map(len, rows)) != {width}:
        return None
    if "columns" not in value:
        names: tuple[str, ...] = ()
        if plan.by_name:
            return None
    elif type(columns) is list and len(columns) == width and set(map(type, columns)) == _TEXT:
        names = tuple(columns)
    else:
        return None
    letters = _column_letters(names or (None,) * width, list(zip(*rows)), plan, is_frame=True)
    if letters is None:
        return None
    if "index" not in value:
        return TABLE, names, letters, rows, len(rows)
    index = value["index"]
    labels = _labels(index) if type(index) is list and len(index) == len(rows) else None
    if labels is None or plan.kind == plans.TENSORS:
        return None
    return INDEXED, names, (*letters, labels), {"index": index, "data": rows}, len(rows)


def _labels(index: list[Any]) -> str | None:
    """The letter of a table's index."""
    types = set(map(type, index))
    if types == _WHOLE and _within(index, _INT_BOUNDS[plans.LONG]):
        return plans.LONG
    return plans.STRING if types == _TEXT else None


def _objects(
    value: Any, plan: plans.Plan, *, is_frame: bool
) -> tuple[str, tuple[str, ...], tuple[Any, ...], Any, int] | None:
    names = common_names(value) if type(value) is list else None
    if not names:
        return None
    letters = _column_letters(names, list(zip(*map(dict.values, value))), plan, is_frame=is_frame)
    return None if letters is None else (OBJECTS, names, letters, value, len(value))


def _columnwise(value: Any, plan: plans.Plan) -> tuple[str, tuple[str, ...], tuple[Any, ...], Any, int] | None:
    if not value or set(map(type, value.values())) != {list}:
        return None
    lengths = set(map(len, value.values()))
    if len(lengths) != 1 or lengths == {0} or (plan.kind != plans.FREE and not plan.by_name):
        return None
    names = tuple(value)
    letters: list[Any] = []
    if plan.kind == plans.TENSORS:
        for name in names:
            shape, leaves, types = _unnest(value[name])
            letter = _letter(types, leaves, plan.named.get(name), free=False)
            if shape is None or letter is None:
                return None
            letters.append((letter, *shape))
    else:
        found = _column_letters(names, list(value.values()), plan, is_frame=False)
        if found is None:
            return None
        letters.extend(found)
    return COLUMNWISE, names, tuple(letters), value, lengths.pop()


def _column_letters(names: Any, columns: list[Any], plan: plans.Plan, *, is_frame: bool) -> tuple[Any, ...] | None:
    """A letter for each column; None if one of them has none, is required and missing, or is there twice.

    `is_frame`: MLflow makes a DataFrame of them at once, and no NumPy arrays on the way.
    """
    if names[0] is not None and len(set(names)) != len(names):
        return None
    if plan.by_name:
        if not plan.required <= set(names):
            return None
        wanted = [(plan.named.get(name), name in plan.named) for name in names]
    elif plan.kind == plans.FREE:
        wanted = [(None, True)] * len(columns)
    elif plan.kind == plans.TENSORS:
        wanted = [(plan.positional[0], True)] * len(columns)
    elif len(columns) >= len(plan.positional):
        given = [(letter, True) for letter in plan.positional]
        wanted = given + [(None, False)] * (len(columns) - len(given))
    else:
        return None
    letters: list[Any] = []
    for (letter, known), column in zip(wanted, columns):
        types = set(map(type, column))
        if not known:  # a column that the signature does not know is dropped before the model sees it
            found: Any = "x" if types <= _SCALARS and (str not in types or _is_text(column)) else None
        else:
            by_value = is_frame and letter in (plans.DATE, plans.BINARY, plans.NESTED)
            found = (_odd_letter if by_value else _letter)(types, column, letter, free=plan.kind == plans.FREE)
        if found is None:
            return None
        letters.append(found)
    return tuple(letters)


def _odd_letter(types: set[type], column: Any, letter: str | None, *, free: bool) -> tuple[Any, ...] | None:  # noqa: ARG001
    """As `_letter`, a tuple, for columns that MLflow converts value by value.

    Dates have one format: pandas takes that of the first for all. Nested values have one form, for the model may make
    arrays of them.
    """
    if letter == plans.NESTED:
        forms = {elements.form(value) for value in column} if types in ({list}, {dict}) else {None}
        return None if len(forms) > 1 or None in forms else (letter, forms.pop())
    if types != _TEXT:
        return None
    if letter == plans.BINARY:
        return (letter,)
    formats = {value[10:11] for value in column}
    return (letter, formats.pop()) if len(formats) == 1 and all(map(_DATE.match, column)) else None


def _letter(types: set[type], values: Any, declared: str | None, *, free: bool) -> str | None:
    """The letter of a column of JSON values, None where its type alone and its type in company might differ."""
    if types == _TEXT:
        return plans.STRING if free or declared == plans.STRING else None
    if types == _FLAG:
        return plans.BOOLEAN if free or declared == plans.BOOLEAN else None
    if free:
        if types == _WHOLE:
            return plans.LONG if _within(values, _INT_BOUNDS[plans.LONG]) else None
        return plans.DOUBLE if types == _REAL or (types == _NUMBERS and _within(values, EXACT_FLOAT)) else None
    if declared in (plans.DOUBLE, plans.FLOAT):
        fits = types == _REAL or (types <= _NUMBERS_OR_NULL and (int not in types or _within(values, EXACT_FLOAT)))
        return declared if fits else None
    if declared in (plans.INTEGER, plans.LONG):
        return declared if types == _WHOLE and _within(values, _INT_BOUNDS[declared]) else None
    return None


def _is_text(column: Any) -> bool:
    """Whether all texts of `column` can be encoded: half a surrogate pair is refused by pandas, dropped or not."""
    try:
        "".join([value for value in column if type(value) is str]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _within(values: Any, bound: int) -> bool:
    return all(-bound <= v < bound for v in values if type(v) is int)


def _unnest(value: list[Any]) -> tuple[tuple[int, ...] | None, list[Any], set[type]]:
    """(lengths below the first level, the scalars, their types); the lengths are None where lists are ragged."""
    shape: list[int] = []
    while True:
        types = set(map(type, value))
        if types != {list}:
            return (None if list in types or dict in types else tuple(shape)), value, types
        lengths = set(map(len, value))
        if len(lengths) != 1 or lengths == {0}:
            return None, value, types
        shape.append(lengths.pop())
        value = list(chain.from_iterable(value))
