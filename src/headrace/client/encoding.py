"""From an input to the body of a request: which of MLflow's keys it is sent under, and how it can be cut.

| input | sent as | a model with a signature gets | a model without gets |
|---|---|---|---|
| list of strings or numbers, Series | `inputs` | its one column | an array |
| nested lists, NumPy array | `inputs` | its tensor | an array |
| dict of lists or arrays | `inputs` | its columns | a dict of arrays |
| the same with bytes in it | `dataframe_split` | its columns, bytes decoded | a DataFrame with base64 text |
| list of dicts | `dataframe_records` | its columns | a DataFrame |
| DataFrame | `dataframe_split` | its columns | a DataFrame |
| dict with messages, prompt or input | as it is | the LLM form | the LLM form |
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headrace.client import plain
from headrace.client.errors import BadRequest

Form = Literal["inputs", "instances", "dataframe_split", "dataframe_records", "raw"]

_SCALARS = (str, bytes, bytearray, int, float, bool, type(None))


@dataclass(frozen=True)
class Payload:
    """An input that is ready to be sent. `rows` None: it has no rows that it could be cut between.

    `body(start, stop)` is the request for these rows, and the whole input for ``body(0, rows or 0)``. `wrapped`: the
    answer is below ``predictions``. `typed` is the same rows for a model that is made of type hints, which takes rows
    below ``inputs`` and no DataFrame; None where there is no difference.
    """

    rows: int | None
    body: Callable[[int, int], bytes]
    wrapped: bool = True
    typed: Payload | None = None

    def whole(self) -> bytes:
        """Return the request for all of it."""
        return self.body(0, self.rows or 0)


@dataclass(frozen=True)
class Table:
    """Columns by name and rows as sequences: what a file holds. Sent as `dataframe_split`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def prepare(data: Any, params: Mapping[str, Any] | None = None, form: Form | None = None) -> Payload:
    """Take an input of any kind in the module's table; `form` chooses the key by hand. Raises BadRequest.

    Nothing is converted yet: `body` does that, for its rows only, and raises BadRequest for values without a JSON form.
    """
    if params is not None and not isinstance(params, Mapping):
        raise BadRequest(f"params must be a dict, got {type(params).__name__}")
    tail = {} if params is None else {"params": dict(params)}
    if form == "raw" or (form is None and _is_llm(data)):
        if not isinstance(data, Mapping):
            raise BadRequest(f"a request in raw form must be a dict, got {type(data).__name__}")
        # The LLM form has no place for params of its own: they stand beside the messages.
        whole = {**data, **(tail if form == "raw" else dict(params or {}))}
        return Payload(None, lambda _start, _stop: plain.dumps(whole), wrapped=False)
    key, rows, cut = _sort(data, form)
    typed = None
    if form is None and key in {"dataframe_records", "dataframe_split"}:
        typed = Payload(rows, lambda start, stop: plain.dumps({"inputs": _records(cut(start, stop)), **tail}))
    return Payload(rows, lambda start, stop: plain.dumps({key: cut(start, stop), **tail}), typed=typed)


def _records(table: Any) -> Any:
    """A DataFrame's rows in either of its forms as dicts."""
    if isinstance(table, dict):
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return table


def _is_llm(data: Any) -> bool:
    if not isinstance(data, Mapping):
        return False
    messages = data.get("messages")
    if (
        isinstance(messages, (list, tuple))
        and messages
        and all(isinstance(m, Mapping) and "role" in m for m in messages)
    ):
        return True
    return isinstance(data.get("prompt"), str) or isinstance(data.get("input"), str)


Cut = Callable[[int, int], Any]


def _sort(data: Any, form: Form | None) -> tuple[str, int | None, Cut]:
    """(key, rows, what to send for rows start to stop)."""
    if isinstance(data, (str, bytes, bytearray)):
        raise BadRequest(f"give a list of inputs, such as [{data!r}]: one prediction comes back for each")
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return _frame(data, form)
    if pandas is not None and isinstance(data, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
        if getattr(data, "nlevels", 1) > 1 and isinstance(data, pandas.Index):
            raise BadRequest("an index of more than one level cannot be sent; give its to_frame()")
        array = data.array if isinstance(data, pandas.Index) else data
        return form or "inputs", len(data), lambda a, b: plain.column(pandas.Series(array[a:b]))
    if isinstance(data, Table):
        return "dataframe_split", len(data.rows), lambda a, b: {"columns": data.columns, "data": data.rows[a:b]}
    if isinstance(data, Mapping):
        return _columns(data, form)
    if not isinstance(data, (list, tuple)) and hasattr(data, "__array__"):
        if hasattr(data, "to_pandas"):  # tables of Arrow and Polars: as an array they would lose their columns
            return _sort(_as_pandas(data), form)
        data = _as_array(data)
        if data.ndim == 0:
            return form or "inputs", None, lambda _a, _b: plain.array(data.reshape(1))[0]
        return form or "inputs", len(data), lambda a, b: plain.array(data[a:b])
    if isinstance(data, (list, tuple, range)):
        items = list(data) if isinstance(data, range) else data
        is_records = bool(items) and all(isinstance(item, Mapping) for item in items)
        return form or ("dataframe_records" if is_records else "inputs"), len(items), lambda a, b: items[a:b]
    if isinstance(data, (int, float, bool)) or data is None:
        raise BadRequest(f"give a list of inputs, such as [{data!r}]: one prediction comes back for each")
    raise BadRequest(
        f"an input of type {type(data).__name__} is not understood; give a list, a dict of lists, a NumPy array, "
        "a DataFrame or a Series"
    )


def _as_array(data: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise BadRequest(f"an input of type {type(data).__name__} needs NumPy")
    return numpy.asanyarray(data)  # a masked array stays one


def _as_pandas(data: Any) -> Any:
    try:
        return data.to_pandas()
    except ImportError as error:
        raise BadRequest(f"an input of type {type(data).__name__} needs pandas: {error}") from error


def _columns(data: Mapping[Any, Any], form: Form | None) -> tuple[str, int | None, Cut]:
    lengths = {len(v) if _has_rows(v) else None for v in data.values()}
    rows = lengths.pop() if len(lengths) == 1 else None
    names = [str(name) for name in data]
    if len(set(names)) < len(names):
        raise BadRequest(f"two columns have the same name as text: {', '.join(map(repr, data))}")

    def columnwise(start: int, stop: int) -> dict[str, Any]:
        if rows is None:
            return {name: _column(v) if _has_rows(v) else v for name, v in zip(names, data.values(), strict=True)}
        return {name: _column(v[start:stop]) for name, v in zip(names, data.values(), strict=True)}

    if form == "dataframe_split" or (form is None and rows is not None and any(map(_holds_bytes, data.values()))):
        if rows is None:
            raise BadRequest("the columns of a table must be lists of equal length")

        def split(start: int, stop: int) -> dict[str, Any]:
            return {"columns": names, "data": list(zip(*columnwise(start, stop).values(), strict=True))}

        return "dataframe_split", rows, split
    if form == "dataframe_records":
        raise BadRequest("a dict of columns is sent as inputs, instances or dataframe_split, not as dataframe_records")
    return form or "inputs", rows, columnwise


def _frame(frame: Any, form: Form | None) -> tuple[str, int | None, Cut]:
    if frame.columns.nlevels > 1:
        raise BadRequest("a DataFrame with more than one level of columns cannot be sent")
    names = [plain.scalar(c) if hasattr(c, "dtype") else c for c in frame.columns.tolist()]
    index = frame.index
    is_plain = type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)

    def columns(start: int, stop: int) -> list[list[Any]]:
        part = frame.iloc[start:stop]
        return [plain.column(part.iloc[:, i]) for i in range(len(names))]

    def split(start: int, stop: int) -> dict[str, Any]:
        body: dict[str, Any] = {"columns": names, "data": list(zip(*columns(start, stop), strict=True))}
        if not is_plain and index.nlevels == 1:
            body["index"] = plain.column(index[start:stop])
        return body

    if form in {"inputs", "instances"}:
        return str(form), len(frame), lambda a, b: dict(zip(map(str, names), columns(a, b), strict=True))
    if form == "dataframe_records":
        return (
            form,
            len(frame),
            lambda a, b: [dict(zip(names, r, strict=True)) for r in zip(*columns(a, b), strict=True)],
        )
    return "dataframe_split", len(frame), split


def _has_rows(value: Any) -> bool:
    if isinstance(value, (list, tuple, range)):
        return True
    return not isinstance(value, _SCALARS) and hasattr(value, "__array__") and getattr(value, "ndim", 1) > 0


def _column(value: Any) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, (pandas.Series, pandas.Index)):
        return plain.column(value)
    return list(value) if isinstance(value, range) else value


def _holds_bytes(values: Any) -> bool:
    if getattr(getattr(values, "dtype", None), "kind", "O") not in "OS":
        return False
    return any(isinstance(v, (bytes, bytearray)) for v in values)
