"""Strategies for request bodies: what clients send, what they send by mistake, and what nobody should send."""

import json
from typing import Any

from hypothesis import strategies as st

IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
COLUMNS = {
    "iris": IRIS,
    "iris_v2": IRIS,
    "iris_nosig": IRIS,
    "iris_mixed": [*IRIS, "n", "count", "site", "weight", "flag"],
    "tensor_iris": ["a", "b", "c", "d"],
    "cols": ["l", "b", "i", "f", "d", "s", "bin", "dt"],
    "cols_nodetails": ["l", "b", "i", "f", "d", "s", "bin", "dt"],
    "nested": ["tags", "vec", "obj", "map", "any", "mat", "msgs"],
    "tensor_named": ["a", "b"],
    "one_long": ["x"],
    "params": ["x"],
    "from_code": ["x"],
    "llm_prompt": ["prompt"],
}
DEFAULT_COLUMNS = ["text", "a", "x"]
PARAMS = ["s", "i", "l", "f", "d", "b", "dt", "opt", "ls", "ld", "obj", "temperature", "max_tokens", "unknown"]

TEXTS = st.one_of(
    st.sampled_from(
        [
            "good day",
            "bad film",
            "7",
            "1.5",
            "false",
            "",
            "NA",
            "2024-02-29",
            "aGk=",
            "a\0",
            "é\u4f60\U0001f600",
            "\ud800",
            " 7 ",
        ]
    ),
    st.text(max_size=8),
)
INTEGERS = st.one_of(
    st.integers(-3, 3),
    st.integers(0, 100),
    st.sampled_from([2**31 - 1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30]),
)
FLOATS = st.one_of(
    st.floats(-10, 10).map(lambda x: round(x, 2)),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e308, 1e-320, float("nan"), float("inf"), 2.0**60]),
)
SCALARS = st.one_of(TEXTS, INTEGERS, FLOATS, st.booleans(), st.none())
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=6
)
ONE_TYPE = st.sampled_from(
    [TEXTS, st.integers(-3, 100), st.floats(-10, 10).map(lambda x: round(x, 2)), st.booleans(), SCALARS]
)
_FITTING = {
    "b": st.booleans(),
    "i": st.integers(-5, 5),
    "l": st.integers(-5, 5),
    "n": st.integers(30, 80),
    "count": st.integers(10, 50),
    "s": TEXTS,
    "site": TEXTS,
    "text": TEXTS,
    "prompt": TEXTS,
    "flag": st.booleans(),
    "bin": st.just("aGk="),
    "dt": st.sampled_from(["2024-02-29", "2024-02-29T12:34:56"]),
    "tags": st.lists(TEXTS, max_size=2),
    "vec": st.lists(st.floats(0, 1), max_size=2),
    "x": st.one_of(st.integers(-5, 5), st.floats(0, 3)),
}
_NUMBER = st.one_of(st.floats(0, 8).map(lambda x: round(x, 1)), st.integers(0, 8))


def _fitting(name: str) -> st.SearchStrategy[Any]:
    return _FITTING.get(name, _NUMBER)


@st.composite
def _table(draw: st.DrawFn, label: str, rows: st.SearchStrategy[int]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows: mostly the model's own columns with values that fit, sometimes not."""
    known = COLUMNS.get(label, DEFAULT_COLUMNS)
    names = list(known)
    if draw(st.integers(0, 3)) == 0:
        names = draw(st.lists(st.sampled_from([*known, "extra"]), min_size=1, max_size=len(known), unique=True))
    count = draw(rows)
    columns = []
    for name in names:
        values = _fitting(name) if draw(st.integers(0, 5)) else draw(ONE_TYPE)
        columns.append([draw(values) for _ in range(count)])
    return names, [list(row) for row in zip(*columns, strict=True)]


@st.composite
def plain_requests(draw: st.DrawFn, label: str, rows: st.SearchStrategy[int] | None = None) -> dict[str, Any]:
    """A request in one of the formats, for a table or a list."""
    rows = st.integers(0, 3) if rows is None else rows
    form = draw(st.sampled_from(["split", "split", "records", "objects", "columns", "list", "list", "matrix"]))
    key = draw(st.sampled_from(["instances", "inputs"]))
    if form == "list":
        count = draw(rows)
        return {key: [draw(draw(ONE_TYPE)) for _ in range(count)] if draw(st.booleans()) else _same(draw, count)}
    if form == "matrix":
        width, count = draw(st.integers(1, 4)), draw(rows)
        leaves = draw(st.sampled_from([_NUMBER, st.integers(0, 5), TEXTS]))
        matrix: Any = [[draw(leaves) for _ in range(width)] for _ in range(count)]
        return {key: [matrix, matrix] if draw(st.integers(0, 4)) == 0 else matrix}
    names, data = draw(_table(label, rows))
    if form == "split":
        return {"dataframe_split": {"columns": names, "data": data}}
    records = [dict(zip(names, row, strict=True)) for row in data]
    if form == "records":
        return {"dataframe_records": records}
    if form == "objects":
        return {key: records}
    return {key: {name: [row[i] for row in data] for i, name in enumerate(names)}}


def _same(draw: st.DrawFn, count: int) -> list[Any]:
    values = draw(ONE_TYPE)
    return [draw(values) for _ in range(count)]


@st.composite
def requests(draw: st.DrawFn, label: str) -> Any:
    """Any JSON value that is or resembles a request."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(
            st.dictionaries(st.sampled_from(["instances", "inputs", "dataframe_split", "messages", "x"]), VALUES)
        )
    if kind == 1:
        return draw(VALUES)
    request = draw(plain_requests(label))
    if kind == 2:
        key = draw(st.sampled_from(["inputs", "instances", "signature_name", "messages", "prompt", "input", "other"]))
        request[key] = draw(VALUES)
    elif kind == 3 and "dataframe_split" in request:
        table = request["dataframe_split"]
        change = draw(st.sampled_from(["index", "ragged", "no columns", "no data", "null data", "more"]))
        if change == "index":
            table["index"] = draw(st.lists(st.integers(0, 9), min_size=len(table["data"]), max_size=len(table["data"])))
        elif change == "ragged" and table["data"]:
            table["data"][0] = table["data"][0][:-1]
        elif change == "null data":
            table["data"] = None
        elif change == "more":
            table["extra"] = 1
        else:
            table.pop(change.removeprefix("no "), None)
    elif kind == 4:
        request["params"] = draw(st.one_of(VALUES, st.dictionaries(st.sampled_from(PARAMS), VALUES, max_size=3)))
    elif kind == 5:
        key = next(iter(request))
        request[key] = draw(VALUES)
    elif kind == 6:
        message = st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": TEXTS})
        return {draw(st.sampled_from(["messages", "input"])): draw(st.lists(message, max_size=2))}
    return request


def body(value: Any) -> bytes:
    """The bytes of a request."""
    return json.dumps(value).encode()


@st.composite
def bodies(draw: st.DrawFn, label: str) -> bytes:
    """The bytes of a request, sometimes damaged."""
    data = body(draw(requests(label)))
    damage = draw(st.integers(0, 19))
    if damage == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        return data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    if damage == 1:
        return data[: draw(st.integers(0, len(data)))]
    if damage == 2:
        return data.decode().encode(draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32-be", "utf-8-sig"])))
    if damage == 3:  # the last of two equal keys wins
        return b'{"inputs": [1], ' + data[1:] if data.startswith(b'{"') else data
    return data


@st.composite
def alike(draw: st.DrawFn, label: str) -> list[dict[str, Any]]:
    """A batch in which some requests may be merged: one request, and others of its form with other values."""
    first = draw(plain_requests(label, st.integers(1, 2)))
    batch = [first]
    another = st.one_of(plain_requests(label, st.integers(1, 3)), st.just(first), st.just(_shuffled(first)))
    batch += draw(st.lists(another, min_size=1, max_size=4))
    if draw(st.booleans()):
        batch += [_revalued(draw, first) for _ in range(draw(st.integers(1, 3)))]
    return batch


def _shuffled(request: dict[str, Any]) -> dict[str, Any]:
    """The same rows in reverse, which keeps a list's types."""
    ((key, value),) = request.items()
    if key == "dataframe_split":
        return {key: {**value, "data": value["data"][::-1]}}
    return {key: value[::-1]} if isinstance(value, list) else request


def _revalued(draw: st.DrawFn, value: Any) -> Any:
    """The same structure with other scalars, mostly of the same types."""
    if isinstance(value, dict):
        return {k: (v if k == "columns" else _revalued(draw, v)) for k, v in value.items()}
    if isinstance(value, list):
        return [_revalued(draw, v) for v in value]
    if draw(st.integers(0, 9)) == 0:
        return draw(SCALARS)
    if isinstance(value, bool):
        return draw(st.booleans())
    if isinstance(value, int):
        return draw(st.one_of(st.integers(-5, 100), INTEGERS)) if draw(st.booleans()) else value
    if isinstance(value, float):
        return draw(st.floats(0, 10).map(lambda x: round(x, 1)))
    return draw(TEXTS) if isinstance(value, str) else value
