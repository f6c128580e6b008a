"""Valid requests that MLflow refuses by an accident: answered as the same values in the form that it takes."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, DataType, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property
from pydantic import BaseModel

from headrace_worker import scoring, wire
from tests.unit.worker.models import ask, ask_for_notes, error, load
from tests.unit.worker.scoring.repairing.sent import OPTIONAL, assert_equal, forms, relaxed, seen

pytestmark = pytest.mark.filterwarnings("ignore")


@relaxed
@given(
    st.sampled_from(["i", "l"]),
    st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5).filter(lambda v: None in v),
)
def test_a_null_in_an_optional_integer_is_one_of_pandas(name: str, values: list[int | None]) -> None:
    dtype = {"i": "Int32", "l": "Int64"}[name]
    for errors in ("mlflow", "strict"):
        scorer, impl = load(lambda data, _: [0] * len(data), OPTIONAL, errors=errors)
        for request in forms([{"d": 1.0, name: value} for value in values]):
            (answer,), notes = ask_for_notes(scorer, request)
            assert answer.status == 200, (request, answer)
            assert notes.get("hazards") is None
            pd.testing.assert_series_equal(impl.calls[-1][name], pd.Series(values, dtype=dtype, name=name))
        ask(scorer, {"inputs": [{"d": 1.0, name: 1}]})
        assert impl.calls[-1][name].dtype == dtype.lower()  # only where a null is there


def test_a_value_that_a_record_leaves_out_is_a_null_and_only_wrong_values_are_named() -> None:
    scorer, impl = load(lambda data, _: [0] * len(data), OPTIONAL, errors="strict")
    assert ask(scorer, {"dataframe_records": [{"d": 1.0, "l": 1}, {"d": 1.0}]})[0].status == 200
    assert impl.calls[-1]["l"].isna().tolist() == [False, True]
    (answer,) = ask(scorer, {"dataframe_records": [{"d": 1.0, "i": None}, {"d": "abc", "i": None}]})
    assert error(answer)["path"] == "dataframe_records[1].d"
    required, _ = load(seen, Schema([ColSpec("integer", "i")]), errors="strict")
    assert error(ask(required, {"dataframe_records": [{"i": None}]})[0])["path"] == "dataframe_records[0].i"


def test_a_model_that_fails_on_a_null_is_the_one_at_fault_and_is_asked_once() -> None:
    def fails(_data: Any, _params: Any) -> Any:
        raise ValueError("no nulls please")

    for errors, status in (("mlflow", 400), ("strict", 500)):
        scorer, impl = load(fails, OPTIONAL, errors=errors)
        assert ask(scorer, {"inputs": [{"d": 1.0, "i": None}]})[0].status == status
        assert len(impl.calls) == 1
        (answer,) = ask(scorer, {"dataframe_records": {"d": 1.0}})
        assert (answer.status, len(impl.calls)) == (status, 2)


NESTED = Schema(
    [
        ColSpec(Array(DataType.double), "v", required=False),
        ColSpec(Object([Property("q", DataType.double), Property("k", DataType.long)]), "o", required=False),
        ColSpec(Map(Array(DataType.double)), "m", required=False),
    ]
)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@relaxed
@given(st.lists(numbers, min_size=1, max_size=4), numbers, st.integers(0, 9))
def test_integers_among_nested_doubles_are_widened(vector: list[Any], number: Any, whole: int) -> None:
    def row(as_float: Any) -> dict[str, Any]:
        values = list(map(as_float, vector))
        return {"v": values, "o": {"q": as_float(number), "k": whole}, "m": {"a": values, "b": [as_float(number)]}}

    sent, normal = ([{"dataframe_records": [row(k)]}, {"inputs": [row(k)]}] for k in (lambda v: v, float))
    assert_equal(NESTED, sent, normal)


def test_nested_numbers_of_32_bits_are_taken_and_others_are_named() -> None:
    schema = Schema([ColSpec(Object([Property("f", DataType.float), Property("i", DataType.integer)]), "o")])
    scorer, _ = load(seen, schema, errors="strict")
    assert ask(scorer, {"dataframe_records": [{"o": {"f": 1.5, "i": 3}}]})[0].status == 200
    for value, path in (({"f": True, "i": 3}, "f"), ({"f": 1, "i": 2.5}, "i"), ({"f": "1", "i": 1}, "f")):
        (answer,) = ask(scorer, {"dataframe_records": [{"o": {"f": 1.5, "i": 3}}, {"o": value}]})
        assert (answer.status, error(answer)["path"]) == (400, f"dataframe_records[1].o.{path}")


@pytest.mark.parametrize(
    ("schema", "sent", "normal"),
    [
        (Schema([ColSpec("string", "text")]), {"instances": "a"}, {"instances": ["a"]}),
        (Schema([ColSpec("long", "x")]), {"inputs": 3}, {"inputs": [3]}),
        (OPTIONAL, {"dataframe_records": {"d": 1, "i": 2}}, {"dataframe_records": [{"d": 1, "i": 2}]}),
        (None, {"dataframe_records": {"d": 1, "i": 2}}, {"dataframe_records": [{"d": 1, "i": 2}]}),
        (
            OPTIONAL,
            {"dataframe_split": {"columns": ["d", "i"], "data": [1, 2]}},
            {"dataframe_split": {"columns": ["d", "i"], "data": [[1, 2]]}},
        ),
        (Schema([TensorSpec(np.dtype("float64"), (-1, 2))]), {"inputs": [1, 2]}, {"inputs": [[1, 2]]}),
        (Schema([TensorSpec(np.dtype("float64"), (-1,))]), {"instances": 3}, {"instances": [3]}),
        (NESTED, {"dataframe_records": {"v": [1, 2]}}, {"dataframe_records": [{"v": [1.0, 2.0]}]}),
    ],
)
def test_a_single_row_needs_no_brackets(schema: Any, sent: Any, normal: Any) -> None:
    assert_equal(schema, [sent], [normal])


@pytest.mark.parametrize(
    ("schema", "request_", "path"),
    [
        (OPTIONAL, {"dataframe_records": {"d": [1.0]}}, "dataframe_records"),  # columns, or a row of lists?
        (OPTIONAL, {"dataframe_records": {"d": "abc"}}, "dataframe_records.d"),
        (OPTIONAL, {"dataframe_split": {"columns": ["d", "i"], "data": ["x", 2]}}, "dataframe_split.data[0]"),
        (Schema([ColSpec("long", "x")]), {"inputs": "abc"}, "inputs"),
        (Schema([ColSpec("long", "x")]), {"inputs": 1.7}, "inputs"),
    ],
)
def test_what_is_wrong_in_a_single_row_is_named_where_it_was_sent(schema: Any, request_: Any, path: str) -> None:
    scorer, impl = load(seen, schema, errors="strict")
    (answer,) = ask(scorer, request_)
    assert (answer.status, error(answer)["path"], impl.calls) == (400, path, [])


PARAMS = [
    ParamSpec("t", DataType.double, 1.0),
    ParamSpec("n", DataType.long, 1),
    ParamSpec("l", DataType.double, [1.0], (-1,)),
    ParamSpec("s", DataType.string, ""),
]


@relaxed
@given(numbers, st.integers(-(2**63), 2**63 - 1), st.lists(numbers, max_size=3))
def test_numbers_as_texts_in_params(t: Any, n: int, listed: list[Any]) -> None:
    sent = {"t": json.dumps(t), "n": json.dumps(n), "l": list(map(json.dumps, listed)), "s": "1"}
    normal = {"t": float(t), "n": n, "l": list(map(float, listed)), "s": "1"}
    for errors in ("mlflow", "strict"):
        scorer, _ = load(seen, OPTIONAL, params=PARAMS, errors=errors)
        requests = [{"inputs": [{"d": 1.5}], "params": params} for params in (normal, sent, sent)]
        wanted, *others = ask(scorer, *requests)
        assert wanted.status == 200
        assert others == [wanted, wanted]


@pytest.mark.parametrize(
    "value", ["", "abc", "1.5", " 1", "0x1", "1_000", "٣", "9" * 5000, "9223372036854775808", True]
)
def test_a_param_that_is_no_such_number_stays_refused(value: Any) -> None:
    scorer, _ = load(seen, OPTIONAL, params=PARAMS, errors="strict")
    (answer,) = ask(scorer, {"inputs": [{"d": 1.5}], "params": {"t": "1.5", "n": value}})
    assert (answer.status, error(answer).get("path")) == (400, "params.n")


@pytest.mark.parametrize("decodes_first", [True, False])
def test_json_may_begin_with_a_byte_order_mark(decodes_first: bool) -> None:  # noqa: FBT001
    scorer, _ = load(seen, OPTIONAL, streamable=True)
    scorer.oracle.decodes_first = decodes_first  # what MLflow's Flask generation does
    body = b"\xef\xbb\xbf" + json.dumps({"inputs": [{"d": 1.5}]}).encode()
    (wanted,) = ask(scorer, body[3:])
    assert ask(scorer, body) == [wanted]
    packed = wire.head(b"application/json", b"gzip")
    assert ask(scorer, gzip.compress(body, mtime=0), head=packed) == [wanted]
    stream = scorer.stream(wire.head(b"application/json", accept=b"text/event-stream"), memoryview(body))
    assert not isinstance(stream, wire.Answer)
    assert len(list(stream)) == 2


@pytest.mark.parametrize("errors", ["mlflow", "strict"])
def test_a_repaired_request_streams(errors: str) -> None:
    scorer, _ = load(lambda data, _: [repr(data)], OPTIONAL, streamable=True, errors=errors)
    head = wire.head(b"application/json", accept=b"text/event-stream")

    def first(request: Any) -> bytes:
        stream = scorer.stream(head, memoryview(json.dumps(request).encode()))
        assert not isinstance(stream, wire.Answer)
        return next(iter(stream))

    assert first({"dataframe_records": {"d": 1}}) == first({"dataframe_records": [{"d": 1.0}]})
    for null in (
        first({"dataframe_records": [{"d": 1, "i": None}]}),
        first({"dataframe_records": {"d": 1, "i": None}}),
    ):
        assert null.startswith(b"data: ")
        assert b"NA" in null or b"None" in null
    refused = scorer.stream(head, memoryview(b'{"dataframe_records": {"d": "abc"}}'))
    assert isinstance(refused, wire.Answer)
    assert refused.status == 400


class Row(BaseModel):
    x: float
    n: int


def typed(path: Path, predict: Any, **options: Any) -> scoring.Scorer:
    """A scorer of a model that is made of the type hint of `predict`."""
    import mlflow

    made = type("Typed", (PythonModel,), {"predict": predict})()
    if not path.exists():
        mlflow.pyfunc.save_model(str(path), python_model=made, pip_requirements=[])
    return scoring.load(str(path), scoring.ScoringOptions(**options))


def _texts(self: Any, model_input: list[str], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _vectors(self: Any, model_input: list[dict[str, list[float]]], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _lists(self: Any, model_input: list[list[float]], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _whole(self: Any, model_input: list[int], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


def _rows(self: Any, model_input: list[Row], params: Any = None) -> list[str]:  # noqa: ARG001
    return [repr(row) for row in model_input]


@pytest.mark.parametrize(
    ("predict", "sent", "normal"),
    [
        (_texts, {"instances": ["a", "b"]}, ["a", "b"]),
        (_texts, {"instances": "a"}, ["a"]),
        (_texts, {"dataframe_records": [{"x": "a"}, {"x": "b"}]}, ["a", "b"]),
        (_texts, {"dataframe_split": {"columns": ["x"], "index": [4], "data": [["a"]]}}, ["a"]),
        (_vectors, {"inputs": [{"v": [1, 2.5], "w": []}]}, [{"v": [1.0, 2.5], "w": []}]),
        (_vectors, {"instances": {"v": [1]}}, [{"v": [1.0]}]),
        (_lists, {"dataframe_records": [{"v": [1, 2]}]}, [[1.0, 2.0]]),
        (_whole, {"inputs": 3}, [3]),
        (_rows, {"instances": [{"x": 1, "n": 2}]}, [{"x": 1.0, "n": 2}]),
        (_rows, {"dataframe_split": {"columns": ["x", "n"], "data": [[1, 2]]}}, [{"x": 1.0, "n": 2}]),
    ],
)
def test_models_made_of_type_hints(
    predict: Any, sent: Any, normal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    for errors in ("mlflow", "strict"):
        scorer = typed(tmp_path / "model", predict, errors=errors)
        (wanted,) = ask(scorer, {"inputs": normal})
        assert wanted.status == 200, wanted
        assert ask(scorer, sent, sent) == [wanted, wanted]


@pytest.mark.parametrize(
    ("predict", "sent", "path"),
    [
        (_whole, {"instances": [1, 2.5]}, "instances[1]"),
        (_vectors, {"inputs": [{"v": [1, "x"]}]}, "inputs[0].v[1]"),
        (_rows, {"instances": [{"x": 1, "n": 2}, {"x": "a", "n": 2}]}, "instances[1].x"),
        (_rows, {"instances": {"x": "a", "n": 2}}, "instances.x"),
    ],
)
def test_what_does_not_fit_a_type_hint_is_named(predict: Any, sent: Any, path: str, tmp_path: Path) -> None:
    (answer,) = ask(typed(tmp_path / "model", predict, errors="strict"), sent)
    assert (answer.status, error(answer)["path"]) == (400, path)


@pytest.mark.parametrize(
    ("predict", "sent"),
    [
        (_vectors, {"inputs": [{"v": [True]}]}),
        (_whole, {"inputs": [2.5]}),
        (_whole, {"inputs": ["2"]}),
        (_texts, {"dataframe_records": [{"x": "a", "y": "b"}]}),
        (_texts, {"instances": ["a"], "dataframe_records": [{"x": "a"}]}),
        (_rows, {"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}),
    ],
)
def test_what_is_not_certain_stays_refused_in_mlflows_words(predict: Any, sent: Any, tmp_path: Path) -> None:
    scorer = typed(tmp_path / "model", predict)
    (answer,) = ask(scorer, sent)
    oracle = scorer.oracle
    with pytest.raises(oracle.error_class) as refused:
        oracle.server.invocations(json.dumps(sent), "application/json", scorer.model, oracle.input_schema)
    assert (answer.status, error(answer)["message"]) == (400, str(getattr(refused.value, "message", "")))
