"""CSV and Parquet that MLflow has refused, in the form in which it takes the same table (repair.py, for tables)."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace_worker.scoring import shapes
from headrace_worker.scoring.bodies import extent_files, media
from headrace_worker.scoring.bodies.extent import Bounds
from headrace_worker.scoring.repairing.moments import all_without_zone, in_utc, without_zone
from headrace_worker.scoring.repairing.repair import NULLABLE

if TYPE_CHECKING:
    from headrace_worker.scoring.oracle import Oracle

_MAX_INTEGER = {"integer": 2**31 - 1, "long": 2**63 - 1}


class RepairedTable(NamedTuple):
    """`frame` is what MLflow is to be asked; `nulls` are the rows of each column whose value stands for a null."""

    frame: Any
    nulls: dict[str, list[int]]


def repaired(oracle: Oracle, kind: str, body: bytes) -> RepairedTable | None:
    """The table of `body`, None where there is nothing to repair. Raises what the parsers raise."""
    schema = oracle.input_schema
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return None
    specs = {spec.name: spec for spec in schema.inputs}
    if kind == media.PARQUET:
        return _mended(oracle.server.parse_parquet_input(io.BytesIO(body)), specs, is_changed=False)
    text = body.decode("utf-8-sig")
    separator = _separator(text, [spec.name for spec in schema.inputs if getattr(spec, "required", True)])
    if separator == ";":
        extent_files.check_csv(body, Bounds(schema), b";")
    return _mended(_read_csv(text, separator, schema, specs), specs, is_changed=separator == ";")


def with_utc(frame: Any, request: dict[str, Any], schema: Any) -> Any:
    """What MLflow's parser made of a JSON `request`, with dates in UTC instead of with a zone; None if there is none.

    None as well where not all columns of dates are in ISO 8601, whatever else pandas may have read: pandas takes the
    form of the first value for all of a column.
    """
    dates = [spec.name for spec in schema.inputs if getattr(spec.type, "name", "") == "datetime"]
    zoned = [name for name in dates if getattr(getattr(frame.get(name), "dtype", None), "tz", None) is not None]
    if not zoned or any(without_zone(_first(request, name)) is None for name in zoned):
        return None
    return frame.assign(**{name: _in_utc(frame[name]) for name in zoned})


def _first(request: dict[str, Any], name: str) -> Any:
    """The first value of a column of a table."""
    try:
        if shapes.RECORDS in request:
            return next((row[name] for row in request[shapes.RECORDS] if row.get(name) is not None), None)
        table = request[shapes.SPLIT]
        place = table["columns"].index(name)
        return next((row[place] for row in table["data"] if row[place] is not None), None)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _in_utc(column: Any) -> Any:
    return column.dt.tz_convert("UTC").dt.tz_localize(None)


def _separator(text: str, required: list[str]) -> str:
    """`;` only where the header cut at commas lacks a column that is required, and cut at semicolons lacks none."""
    header = text[: text.find("\n") + 1] or text
    by_comma, by_semicolon = (set(next(csv.reader([header], delimiter=d), [])) for d in ",;")
    return ";" if required and not by_comma.issuperset(required) and by_semicolon.issuperset(required) else ","


def _read_csv(text: str, separator: str, schema: Any, specs: dict[str, Any]) -> Any:
    import pandas as pd

    dtypes: dict[str, Any] = dict(zip(schema.input_names(), schema.pandas_types()))
    for name, spec in specs.items():
        kind = _nullable(spec)
        if kind is not None:
            dtypes[name] = "boolean" if kind == "boolean" else "Int64"
        elif getattr(spec.type, "name", "") == "datetime":
            dtypes[name] = object
    return pd.read_csv(io.StringIO(text), dtype=dtypes, sep=separator)


def _nullable(spec: Any) -> str | None:
    kind = getattr(spec.type, "name", None)
    return kind if kind in NULLABLE and not getattr(spec, "required", True) else None


def _mended(frame: Any, specs: dict[str, Any], *, is_changed: bool) -> RepairedTable | None:
    """Dates in UTC without a zone, and values in the place of nulls; None where that and the rest change nothing."""
    import pandas as pd

    nulls: dict[str, list[int]] = {}
    for name, spec in specs.items():
        if name not in frame.columns or getattr(frame[name], "ndim", 0) != 1:
            continue
        column, kind = frame[name], _nullable(spec)
        if getattr(spec.type, "name", "") == "datetime":
            if getattr(column.dtype, "tz", None) is not None:
                frame[name], is_changed = _in_utc(column), True
            elif getattr(column.dtype, "kind", "O") not in "Mm":
                moments = _moments(column.tolist())
                if moments is not None:
                    frame[name], is_changed = pd.Series(moments, index=column.index), True
        elif kind is not None and bool(column.isna().any()):
            frame[name] = _filled(column, kind)
            nulls[name], is_changed = column.isna().to_numpy().nonzero()[0].tolist(), True
    return RepairedTable(frame, nulls) if is_changed else None


def _moments(values: list[Any]) -> Any:
    """Dates as pandas' moments in UTC; None where a text among them is no date that is taken."""
    import pandas as pd

    moments = in_utc(values)
    if moments is not None:
        return moments
    known: dict[Any, Any] = dict(all_without_zone(values))
    if None in known.values():
        return None
    return pd.to_datetime(pd.Series([known.get(value, value) for value in values])).to_numpy()


def _filled(column: Any, kind: str) -> Any:
    """A column with nulls as NumPy's type; raises TypeError or ValueError for a value that is not of the kind."""
    if kind == "boolean":
        return column.astype("boolean").fillna(value=False).astype(bool)
    whole = column.astype("Int64").fillna(0)
    if len(whole) and int(whole.abs().max()) > _MAX_INTEGER[kind]:
        raise ValueError(f"a value of {column.name} does not fit the type {kind}")
    return whole.astype("int32" if kind == "integer" else "int64")
