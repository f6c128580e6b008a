"""A served model and the same model in this process answer alike: one suite, both ways."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.client import BadRequest, Client, ModelError, PartialFailure, aconnect, connect
from headrace.client.encoding import Form
from tests.integration.serving import Serving

# A model in this process brings mlflow's own warnings with it.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]  # the server of all starts in one of them

MODELS = ("echo", "table", "text", "typed")
FRAME = pd.DataFrame(
    {
        "x": [1.5, math.nan, -0.0],
        "n": np.array([1, 2**53, -3], dtype="int64"),
        "s": ["a", "ü ☃", ""],
        "b": [True, False, True],
        "t": pd.to_datetime(["2024-02-29", "1999-12-31 23:59:59.123456", "2024-01-01"], format="ISO8601"),
        "raw": [b"\x00\xff", b"", b"abc"],
    }
)


@pytest.fixture(scope="module")
def local(client_registry: str) -> Iterator[dict[str, Client]]:
    clients = {name: connect(f"models:/{name}@production", tracking_uri=client_registry) for name in MODELS}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(scope="module")
def served(client_server: Serving) -> Iterator[dict[str, Client]]:
    clients = {name: connect(client_server.url(name)) for name in MODELS}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(params=["local", "served"])
def where(request: pytest.FixtureRequest) -> dict[str, Client]:
    found: dict[str, Client] = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [1, 2, 3]),
        ([0.1, math.inf, -0.0], [0.1, math.inf, -0.0]),
        ([True, False], [True, False]),
        (("a", "b"), ["a", "b"]),
        (range(3), [0, 1, 2]),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.1], dtype=np.float32), [float(np.float32(0.1))]),
        (np.array(["x", "yy"]), ["x", "yy"]),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), ["2024-01-01"]),
        (pd.Series(["a", "b"], index=[7, 9]), ["a", "b"]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series(["a", None], dtype="str"), ["a", None]),
        (pd.Series(["a", math.nan], dtype=object), ["a", None]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.array([True, None], dtype="boolean"), [True, None]),
        (np.ma.masked_array([1, 2], mask=[False, True]), [1, None]),
        (pa.table({"a": [1, 2]}), [{"a": 1}, {"a": 2}]),
        ({"a": [1, 2], "b": ["x", "y"]}, {"a": [1, 2], "b": ["x", "y"]}),
        ({"a": np.array([1.5])}, {"a": [1.5]}),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (pd.DataFrame({"a": [1, 2]}, index=[5, 6]), [{"a": 1}, {"a": 2}]),
        (
            [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)],
            ["2024-01-01", "2024-01-01T12:00:00.000000"],
        ),
    ],
)
def test_a_model_without_a_signature_gets_what_was_given(where: dict[str, Client], data: Any, answer: Any) -> None:
    assert where["echo"].predict(data) == answer


def test_every_column_type_of_a_signature_survives(where: dict[str, Client]) -> None:
    rows = where["table"].predict(FRAME)
    assert [row["n"] for row in rows] == [1, 2**53, -3]
    assert [row["s"] for row in rows] == ["a", "ü ☃", ""]
    assert [row["b"] for row in rows] == [True, False, True]
    assert rows[0]["x"] == 1.5
    assert math.isnan(rows[1]["x"])
    assert math.copysign(1, rows[2]["x"]) == -1
    assert [row["t"] for row in rows] == ["2024-02-29T00:00:00", "1999-12-31T23:59:59.123456", "2024-01-01T00:00:00"]
    assert [row["raw"].strip() for row in rows] == ["AP8=", "", "YWJj"]


@pytest.mark.parametrize(
    "data",
    [
        FRAME.to_dict(orient="list"),
        FRAME.to_dict(orient="records"),
        {name: FRAME[name] for name in FRAME},
        FRAME.convert_dtypes(),
        FRAME.set_index(pd.Index([3, 2, 1])),
        FRAME[["s", "n", "x", "raw", "b", "t"]],
    ],
    ids=["dict of lists", "records", "dict of series", "nullable", "indexed", "reordered"],
)
def test_a_table_is_the_same_in_each_form(where: dict[str, Client], data: Any) -> None:
    wanted = where["table"].predict(FRAME)
    assert text(where["table"].predict(data)) == text(wanted)


def text(value: Any) -> str:
    """Equal for equal values, NaN included."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    "data", [["a", "b"], pd.Series(["a", "b"]), {"text": ["a", "b"]}, [{"text": "a"}, {"text": "b"}]]
)
def test_one_named_column_takes_a_plain_list(where: dict[str, Client], data: Any) -> None:
    assert where["text"].predict(data) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("kind", ["records", "frame", "by hand"])
def test_a_model_of_type_hints_gets_rows_whatever_was_given(where: dict[str, Client], kind: str) -> None:
    rows = [{"n": 1, "s": "a"}, {"n": 2, "s": "ü"}]
    data = pd.DataFrame(rows, index=[5, 6]) if kind == "frame" else rows
    by_hand: Form | None = "inputs" if kind == "by hand" else None
    for _ in range(2):  # the second time it is known
        assert where["typed"].predict(data, form=by_hand) == ["a", "üü"]
    assert where["typed"].predict(data, form=by_hand, max_rows=1) == ["a", "üü"]
    assert list(where["typed"].stream(data, form=by_hand)) == [["a", "üü"]]


def test_a_model_of_type_hints_is_asked_in_its_form_at_once_when_that_is_known(served: dict[str, Client]) -> None:
    rows = [{"n": 1, "s": "a"}]
    served["typed"].predict(rows)
    assert served["typed"].ask(rows).value == ["a"]
    with pytest.raises(BadRequest, match="Field required"):
        served["typed"].predict([{"n": 1}])
    assert served["typed"].predict(rows, form="dataframe_records") == ["a"]
    assert served["typed"].predict(rows) == ["a"]


def test_what_mlflow_refuses_by_an_accident_is_taken(where: dict[str, Client]) -> None:
    row = {"x": 1, "n": 2, "s": "a", "t": "2024-02-29T01:00:00+01:00"}
    wanted = where["table"].predict([{**row, "t": "2024-02-29T00:00:00"}])
    assert text(where["table"].predict([row])) == text(wanted)
    assert where["text"].predict(["a"], params={"times": "2"}) == [["text", "text"]]
    assert where["typed"].predict([{"n": 1, "s": "a"}], form="instances") == ["a"]
    for form in ("dataframe_records", "inputs"):
        assert text(where["table"].predict({form: row}, form="raw")) == text(wanted)


def test_params_reach_the_model(where: dict[str, Client]) -> None:
    assert where["text"].predict({"text": ["a"]}, params={"times": 2}) == [["text", "text"]]


def test_answers_in_other_forms(where: dict[str, Client]) -> None:
    array = where["echo"].predict([[1, 2], [3, 4]], as_numpy=True)
    assert (array.dtype, array.shape) == (np.int64, (2, 2))
    assert where["echo"].predict([1.5], as_numpy=True).dtype == np.float64
    assert list(where["table"].predict(FRAME, as_numpy=True)["n"]) == [1, 2**53, -3]
    frame = where["table"].predict(FRAME, as_frame=True)
    assert list(frame.columns) == list(FRAME.columns)
    assert frame["n"].dtype == "int64"
    assert list(where["echo"].predict(["a"], as_frame=True)["prediction"]) == ["a"]
    with pytest.raises(BadRequest, match="exclude"):
        where["echo"].predict(["a"], as_frame=True, as_numpy=True)


@pytest.mark.parametrize(
    ("model", "data", "error", "code"),
    [
        ("echo", ["raise"], ModelError, "BAD_REQUEST"),
        ("table", {"x": [1.0]}, BadRequest, "INVALID_PARAMETER_VALUE"),
        ("table", {"x": ["much"], "n": [1], "s": ["a"]}, BadRequest, "BAD_REQUEST"),
    ],
)
def test_errors_are_the_same(
    where: dict[str, Client], model: str, data: Any, error: type[Exception], code: str
) -> None:
    with pytest.raises(error) as raised:
        where[model].predict(data)
    assert (raised.value.status, raised.value.code, raised.value.tries) == (400, code, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("text", "give a list"),
        (7, "give a list"),
        ({1, 2}, "not understood"),
        ([1j], "complex"),
        (np.array([1j]), "complex128"),
        (pd.DataFrame({"d": pd.to_timedelta([1])}), "timedelta64"),
        (object(), "not understood"),
        (pd.MultiIndex.from_tuples([(1, 2)]), "more than one level"),
    ],
)
def test_what_cannot_be_sent_is_said_before_it_is_sent(where: dict[str, Client], data: Any, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as raised:
        where["echo"].predict(data)
    assert raised.value.tries == 0


def test_a_big_input_is_cut_and_put_together_in_order(where: dict[str, Client]) -> None:
    seen: list[int] = []
    rows = list(range(1003))
    assert where["echo"].predict(rows, max_rows=100, progress=seen.append) == rows
    assert (sum(seen), len(seen)) == (1003, 11)
    columns = {"a": rows, "b": [str(r) for r in rows]}
    assert where["echo"].predict(columns, max_bytes=2000) == columns
    frame = pd.DataFrame(columns)
    assert where["echo"].predict(frame, max_rows=300) == frame.to_dict(orient="records")


def test_partial_failure_names_the_rows(where: dict[str, Client]) -> None:
    data = ["a"] * 10 + ["raise"] + ["b"] * 9
    with pytest.raises(PartialFailure) as raised:
        where["echo"].predict(data, max_rows=4)
    error = raised.value
    assert [(f.start, f.stop, type(f.error)) for f in error.failures] == [(8, 12, ModelError)]
    assert error.predictions == ["a"] * 8 + [None] * 4 + ["b"] * 8
    assert "rows 8 to 11" in str(error)


def test_a_stream_comes_in_pieces(where: dict[str, Client]) -> None:
    with where["echo"].stream(["a b ü"]) as stream:
        assert list(stream) == ["a", "b", "ü"]
    stream = where["echo"].stream(["a raise b"])
    assert next(stream) == "a"
    with pytest.raises(ModelError, match="told to"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    with where["echo"].stream(["a b"]) as stream:
        assert next(stream) == "a"


def test_a_closed_client_says_so(client_registry: str, client_server: Serving) -> None:
    for address in ("models:/echo/1", client_server.url("echo")):
        with connect(address, tracking_uri=client_registry) as client:
            assert client.predict(["a"]) == ["a"]
        with pytest.raises(Exception, match="closed"):
            client.predict(["a"])
        client.close()


def test_the_same_with_asyncio(client_registry: str, client_server: Serving) -> None:
    async def use(address: str) -> None:
        async with await aconnect(address, tracking_uri=client_registry) as client:
            answers = await asyncio.gather(*(client.predict([str(i)]) for i in range(20)))
            assert answers == [[str(i)] for i in range(20)]
            assert await client.predict(list(range(500)), max_rows=50) == list(range(500))
            assert [piece async for piece in client.stream(["a b"])] == ["a", "b"]
            with pytest.raises(ModelError):
                await client.predict(["raise"])

    for address in ("models:/echo/1", client_server.url("echo")):
        asyncio.run(use(address))


FINITE = st.floats(allow_nan=False)
INTS = st.integers(-(2**63), 2**63 - 1)
# NumPy's text arrays drop NULs at the end of an element: what no protocol in front of them can bring back.
ORDERS = ("raise", "count:", "sleep:")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
    lambda text: not text.startswith(ORDERS)
)
COLUMNS = st.integers(1, 5).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "x": st.lists(FINITE, min_size=n, max_size=n),
            "n": st.lists(INTS, min_size=n, max_size=n),
            "s": st.lists(TEXTS, min_size=n, max_size=n),
        }
    )
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(*(st.lists(one, min_size=1, max_size=5) for one in (FINITE, INTS, TEXTS, st.booleans()))))
def test_lists_make_the_round_trip(where: dict[str, Client], data: list[Any]) -> None:
    answer = where["echo"].predict(data)
    assert answer == data
    assert list(map(type, answer)) == list(map(type, data))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=COLUMNS)
def test_tables_make_the_round_trip(where: dict[str, Client], columns: dict[str, list[Any]]) -> None:
    wanted = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert where["table"].predict(columns) == wanted
    assert where["table"].predict(pd.DataFrame(columns)) == wanted
