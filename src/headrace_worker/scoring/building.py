"""What the model is handed, built directly from JSON rows where MLflow takes several steps over pandas.

MLflow parses into arrays, makes a DataFrame of them, looks at every column's type and makes a second DataFrame:
0.3 to 0.8 ms a call. For the plain column types the outcome is known beforehand. Known is not proved, though: the
first time a kind of request (its `Kind.shape`) is seen, the outcome is compared with that of the environment's own
MLflow, and only a kind for which both were the same, down to types and memory layout, is built directly from then
on. Whatever a pandas of another version does differently thus costs speed and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace_worker.scoring import elements, shapes
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.bodies import plain_csv
from headrace_worker.scoring.bodies.allowance import Allowance

if TYPE_CHECKING:
    from headrace_worker.scoring.oracle import Oracle
    from headrace_worker.scoring.shapes import Kind

MAX_KINDS = 256
"""Kinds of requests that are remembered; further ones take MLflow's way."""

MAX_ARRAYS = 256
"""Columns of a kind without a signature, unless all are numbers of a DataFrame; wider ones take MLflow's way, too."""


class _Recipe:
    """How to build the input of one kind of request: the columns in order, where to find them, their dtypes.

    `by_name`: an object of arrays, otherwise a DataFrame, or, without names, one array.
    """

    __slots__ = ("by_name", "columns", "dtypes", "index", "names", "uniform")

    def __init__(
        self, names: list[str], index: list[int], dtypes: list[Any], columns: Any = None, *, by_name: bool = False
    ) -> None:
        self.by_name = by_name
        self.names = names
        self.columns = columns
        self.index = index
        self.dtypes = dtypes
        self.uniform = len(names) > 1 and all(d == "float64" for d in dtypes)


class Builder:
    """Builds inputs for one model."""

    def __init__(self, oracle: Oracle, plan: plans.Plan) -> None:
        import numpy  # noqa: ICN001 - kept on self, under its own name
        import pandas  # noqa: ICN001

        self._np: Any = numpy
        self._pd: Any = pandas
        self._oracle = oracle
        self._plan = plan
        self._recipes: dict[tuple[Any, ...], _Recipe | None] = {}
        self._allowance = Allowance(MAX_KINDS)

    def build(self, kind: Kind, value: Any) -> tuple[Any, bool]:
        """(the input, whether it needs no further enforcement) for `value` below the format key of `kind`.

        Raises what MLflow's parser raises; the caller then lets MLflow answer.
        """
        if kind.form == shapes.ELEMENTS:
            return elements.copied(value), False
        if kind.form == shapes.LINES:
            return self._oracle.parse_csv(plain_csv.text(kind.names, value)), False
        key = kind.shape
        recipe = self._recipes.get(key)
        if recipe is not None:
            return self._make(kind, value, recipe), True
        if key in self._recipes or not self._may_prove(kind) or not self._allowance.take(key):
            return self._oracle.parse_value(kind.format, value), False
        self._recipes[key] = None  # stays behind if anything below raises
        wanted = self._oracle.enforce(self._oracle.parse_value(kind.format, value))
        recipe = self._recipe(kind, wanted)
        if recipe is not None and self._same(wanted, self._make(kind, value, recipe)):
            self._recipes[key] = recipe
        return wanted, True

    def _may_prove(self, kind: Kind) -> bool:
        """Not where each of very many columns is an array by itself: the proof would take longer than MLflow does."""
        one_block = kind.format in (shapes.SPLIT, shapes.RECORDS) and len(set(kind.letters)) == 1
        is_cheap = one_block or self._plan.kind != plans.FREE or len(kind.letters) <= MAX_ARRAYS
        return is_cheap and self._oracle.unenforced is not None

    def _recipe(self, kind: Kind, wanted: Any) -> _Recipe | None:
        if isinstance(wanted, self._np.ndarray):
            # A text array's width is that of its longest element, so it is left to NumPy.
            dtype = None if wanted.dtype.kind == "U" else wanted.dtype
            return _Recipe([], [], [dtype])
        if isinstance(wanted, self._pd.DataFrame):
            if any(type(letter) is tuple for letter in kind.letters):
                return None  # dates, binary and nested values: MLflow's own conversions
            names = list(wanted.columns)
            given = [names[0]] if kind.form == shapes.FLAT else list(kind.names)
            if not names or not set(names) <= set(given):
                return None
            places = {name: i for i, name in enumerate(given)}
            return _Recipe(names, [places[name] for name in names], list(wanted.dtypes), wanted.columns)
        if isinstance(wanted, dict) and kind.form == shapes.COLUMNWISE and set(wanted) <= set(kind.names):
            places = {name: i for i, name in enumerate(kind.names)}
            # Without a signature NumPy chooses the types, as it does for a text's width.
            is_free = self._plan.kind == plans.FREE
            dtypes = [None if is_free or array.dtype.kind == "U" else array.dtype for array in wanted.values()]
            return _Recipe(list(wanted), [places[name] for name in wanted], dtypes, by_name=True)
        return None

    def _make(self, kind: Kind, value: Any, recipe: _Recipe) -> Any:
        np = self._np
        if not recipe.names:
            return np.array(value, dtype=recipe.dtypes[0])
        columns = self._columns(kind, value)
        if recipe.by_name:
            fields = zip(recipe.names, recipe.index, recipe.dtypes)
            return {name: np.array(columns[i], dtype=dtype) for name, i, dtype in fields}
        frame = self._make_frame(kind, recipe, columns)
        if kind.form == shapes.INDEXED:
            frame.index = self._pd.Index(value["index"])
        return frame

    def _make_frame(self, kind: Kind, recipe: _Recipe, columns: list[Any]) -> Any:
        np = self._np
        if recipe.uniform:
            # One block with a row of memory for each column, as pandas lays it out.
            block = np.array([columns[i] for i in recipe.index], dtype=np.float64)
            return self._pd.DataFrame(block.T, columns=recipe.columns.copy(), copy=False)
        from_numpy = kind.format in (shapes.INSTANCES, shapes.INPUTS)
        arrays = [
            self._array(columns[i], dtype, from_numpy=from_numpy) for i, dtype in zip(recipe.index, recipe.dtypes)
        ]
        return self._frame(recipe, arrays)

    def _columns(self, kind: Kind, value: Any) -> list[Any]:
        if kind.form == shapes.FLAT:
            return [value]
        if kind.form == shapes.COLUMNWISE:
            return list(value.values())
        if kind.form in (shapes.TABLE, shapes.INDEXED):
            return list(zip(*value["data"]))
        return list(zip(*map(dict.values, value)))

    def _array(self, column: Any, dtype: Any, *, from_numpy: bool) -> Any:
        if dtype.kind in "biuf":
            if dtype == "float32":
                return self._np.array(column, dtype=self._np.float64).astype(dtype)
            return self._np.array(column, dtype=dtype)
        # Text. A NumPy text array, which MLflow makes on the way, drops NULs at the end of an element.
        texts = column
        if from_numpy and "\0" in "".join(column):
            texts = [text.rstrip("\0") for text in column]
        if dtype.kind == "O" and dtype.name == "object":
            array = self._np.empty(len(texts), dtype=object)
            array[:] = texts
            return array
        return dtype.construct_array_type()._from_sequence(texts, dtype=dtype)  # noqa: SLF001 - pandas' own protocol

    def _frame(self, recipe: _Recipe, arrays: list[Any]) -> Any:
        if len(arrays) == 1:
            make = getattr(self._pd.DataFrame, "_from_arrays", None)
            if make is not None:  # a third of the public constructor's time
                index = self._pd.RangeIndex(len(arrays[0]))
                return make(arrays, columns=recipe.columns.copy(), index=index, verify_integrity=False)
        return self._pd.DataFrame(dict(zip(recipe.names, arrays)))

    def _same(self, wanted: Any, made: Any) -> bool:
        np = self._np
        if type(wanted) is not type(made):
            return False
        if isinstance(wanted, dict):
            return list(wanted) == list(made) and all(self._same(wanted[k], made[k]) for k in wanted)
        if isinstance(wanted, np.ndarray):
            return bool(wanted.dtype == made.dtype and wanted.shape == made.shape and _equal(wanted, made))
        return bool(
            wanted.columns.equals(made.columns)
            and wanted.columns.dtype == made.columns.dtype
            and type(wanted.index) is type(made.index)
            and wanted.index.equals(made.index)
            and wanted.index.dtype == made.index.dtype
            and list(wanted.dtypes) == list(made.dtypes)
            and wanted.equals(made)
            and _layout(wanted) == _layout(made)
        )


def _equal(wanted: Any, made: Any) -> bool:
    if wanted.dtype.kind == "f":
        return bool(((wanted == made) | ((wanted != wanted) & (made != made))).all())  # noqa: PLR0124 - NaN
    return bool((wanted == made).all())


def _layout(frame: Any) -> tuple[Any, ...]:
    """What a model's arithmetic may see of a frame's memory: the order of a block decides how BLAS adds up."""
    blocks = getattr(getattr(frame, "_mgr", None), "blocks", ())
    return tuple(
        (str(b.dtype), b.shape, getattr(getattr(b.values, "flags", None), "c_contiguous", None)) for b in blocks
    )
