"""Errors and hazards, as MLflow tells them and as `errors: strict` does."""

import json
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_EXHAUSTED
from mlflow.types import ColSpec, DataType, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property
from numpy import dtype

from headrace_worker import wire
from tests.unit.worker.models import NUMBER, TEXT, ask, ask_for_notes, error, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")
MIXED = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("integer", "i", required=False),
        ColSpec("long", "l", required=False),
        ColSpec("boolean", "b", required=False),
        ColSpec("string", "s", required=False),
    ]
)


def rows(data: Any, _params: Any) -> Any:
    return list(range(len(data)))


def split(**columns: list[Any]) -> dict[str, Any]:
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    return {"dataframe_split": {"columns": list(columns), "data": data}}


@pytest.mark.parametrize(
    ("request_", "hazard", "path"),
    [
        (split(d=[1.0, 2.0], i=[1, 1.7]), "truncated", "dataframe_split.data[1][1]"),
        ({"inputs": [{"d": 1.0, "i": 1.7}]}, "truncated", "inputs[0].i"),
        (split(d=[1.0], i=[2**31]), "wrapped", "dataframe_split.data[0][1]"),
        (split(d=[1.0], i=[3e9]), "wrapped", "dataframe_split.data[0][1]"),
        (split(d=[1.0], i=[-1e30]), "wrapped", "dataframe_split.data[0][1]"),
        (split(d=[1.0], i=[2**64 - 1]), "wrapped", "dataframe_split.data[0][1]"),
        (split(d=[1.0], l=[2**63]), "wrapped", "dataframe_split.data[0][1]"),
        (split(d=[1.0, 1.0], l=[1.0, 1e19]), "wrapped", "dataframe_split.data[1][1]"),
        (split(d=[1.0], b=[{}]), "text_as_boolean", "dataframe_split.data[0][1]"),
        (split(d=[1.0], b=["false"]), "text_as_boolean", "dataframe_split.data[0][1]"),
        ({"dataframe_records": [{"d": 1.0, "b": None}]}, "null_as_boolean", "dataframe_records[0].b"),
        ({"inputs": {"d": [1.0, 2.0], "s": ["a", None]}}, "null_as_text", "inputs.s[1]"),
    ],
)
def test_a_hazard_is_counted_by_default_and_refused_under_strict(request_: Any, hazard: str, path: str) -> None:
    lax, _ = load(rows, MIXED)
    (answer,), notes = ask_for_notes(lax, request_)
    if answer.status == 200:  # MLflow itself refuses an integer of 64 bits among some inputs
        assert answer.flags & wire.FLAG_HAZARD
        assert notes["hazards"] == {hazard: 1}
    strict, impl = load(rows, MIXED, errors="strict")
    (answer,), notes = ask_for_notes(strict, request_)
    assert (answer.status, answer.flags & wire.FLAG_ERROR_OBJECT) == (400, wire.FLAG_ERROR_OBJECT)
    assert error(answer)["path"] == path
    assert error(answer)["message"].startswith(f"{path}: ")
    assert impl.calls == []


@pytest.mark.parametrize(
    ("kind", "request_", "hazard", "path"),
    [
        ("int64", {"inputs": [[1, 1.7]]}, "truncated", "inputs[0][1]"),
        ("int32", {"instances": [[1, 2], [1, 1.7]]}, "truncated", "instances[1][1]"),
        (
            "int32",
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 3e9]]}},
            "wrapped",
            "dataframe_split.data[0][1]",
        ),
        ("bool", {"inputs": [[True, "false"]]}, "text_as_boolean", "inputs[0][1]"),
        ("bool", {"inputs": [[True, None]]}, "null_as_boolean", "inputs[0][1]"),
        ("str", {"inputs": [["a", None]]}, "null_as_text", "inputs[0][1]"),
    ],
)
def test_tensors_have_the_same_hazards(kind: str, request_: Any, hazard: str, path: str) -> None:
    inputs = Schema([TensorSpec(dtype(kind), (-1, 2))])
    lax, _ = load(rows, inputs)
    (answer,), notes = ask_for_notes(lax, request_)
    assert (answer.status, answer.flags & wire.FLAG_HAZARD) == (200, wire.FLAG_HAZARD)
    assert notes["hazards"] == {hazard: 1}
    strict, impl = load(rows, inputs, errors="strict")
    (answer,) = ask(strict, request_)
    assert (answer.status, error(answer).get("path")) == (400, path)
    assert impl.calls == []


def test_a_named_tensor_has_the_same_hazards() -> None:
    inputs = Schema([TensorSpec(dtype("float32"), (-1, 2), "a"), TensorSpec(dtype("int64"), (-1,), "b")])
    strict, _ = load(lambda data, _: list(range(len(data["a"]))), inputs, errors="strict")
    fine = {"inputs": {"a": [[1, 2.5]], "b": [1.0]}}
    answers = ask(strict, {"inputs": {"a": [[1, 2.5]], "b": [1.5]}}, {"instances": [{"a": [1, 2], "b": 1.5}]}, fine)
    assert [a.status for a in answers] == [400, 400, 200]
    assert [error(a)["path"] for a in answers[:2]] == ["inputs.b[0]", "instances[0].b"]


def test_what_loses_nothing_is_no_hazard() -> None:
    strict, _ = load(rows, MIXED, errors="strict")
    requests = [split(d=["1.5", None], i=["7", 2.0], b=[1, 0], s=[None, 5]), {"inputs": {"d": [1], "s": [5]}}]
    answers, notes = ask_for_notes(strict, *requests)
    assert [a.status for a in answers] == [200, 200]
    assert notes == {}


def test_fewer_predictions_than_rows_are_a_hazard() -> None:
    two = {"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}}
    lax, _ = load(lambda _data, _params: [1], NUMBER)
    (answer,), notes = ask_for_notes(lax, two)
    assert (answer.status, answer.flags, notes["hazards"]) == (200, wire.FLAG_HAZARD, {"fewer_rows": 1})
    strict, _ = load(lambda _data, _params: [1], NUMBER, errors="strict")
    (answer,) = ask(strict, two)
    assert (answer.status, error(answer)["error_code"]) == (500, "MODEL_ERROR")
    assert answer.flags & wire.FLAG_MODEL_ERROR


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (split(d=[1.0, 1.0, 1.0, "abc"]), 'dataframe_split.data[3][0]: expected double, got "abc"'),
        (split(d=["abc"], i=[None]), 'dataframe_split.data[0][0]: expected double, got "abc"'),
        ({"inputs": [{"d": {"secret": 1}}]}, "inputs[0].d: expected double, got an object"),
        ({"dataframe_records": [{"d": "x" * 99}]}, f'dataframe_records[0].d: expected double, got "{"x" * 40}..."'),
        (split(i=[1]), 'dataframe_split.columns: the column "d" is missing'),
        ({"inputs": {"i": [1]}}, 'inputs: the column "d" is missing'),
        ({}, "The body must have exactly one of dataframe_split, dataframe_records, instances and inputs."),
        ([1], "The body must be a JSON object."),
        (b'{"inputs": secret}', "The body is not valid JSON: Expecting value at line 1 column 12."),
        (b"", "The body is not valid JSON: Expecting value at line 1 column 1."),
        ({"inputs": {"d": [[["secret"]]]}}, "inputs.d[0]: expected double, got a list"),
        (split(d=[1.0], i=["3000000000"]), 'dataframe_split.data[0][1]: expected integer, got "3000000000"'),
        ({"inputs": [{"d": 1.0, "l": 1e19}]}, "inputs[0].l: expected long, got 1e+19"),
        ({"inputs": [{"d": [1.5]}]}, "inputs[0].d: expected double, got a list"),
        ({"inputs": [1, 2]}, "inputs[0]: expected an object with a value for each input, got 1"),
        ({"inputs": "secret"}, 'inputs: expected a list of objects, got "secret"'),
        ({"inputs": None}, "inputs: expected a list of objects, got null"),
        ({"instances": {"d": [1.0, 2.0], "i": [1]}}, "instances.i: expected 2 elements, as the columns before, got 1"),
        ({"dataframe_split": 5}, 'dataframe_split: expected an object with "columns" and "data", got 5'),
        ({"dataframe_split": {"columns": ["d"]}}, 'dataframe_split: "data" is missing'),
        (
            {"dataframe_split": {"columns": ["d"], "data": [[1.0, 2.0]]}},
            "dataframe_split.data[0]: expected 1 values, one for each column, got 2",
        ),
        (
            {"dataframe_split": {"columns": ["d"], "data": [[1.0], [2.0]], "index": [1, 2, 3]}},
            "dataframe_split.index: expected 2 labels, one for each row, got 3",
        ),
        (
            {"dataframe_split": {"columns": ["d"], "data": [[1.0]], "rows": 1}},
            'dataframe_split.rows: only "columns", "index" and "data" are known here',
        ),
        ({"dataframe_records": 5}, "dataframe_records: expected a list of objects, got 5"),
        (
            {"dataframe_records": [{"d": 1.0}, 1]},
            "dataframe_records[1]: expected an object with a value for each column, got 1",
        ),
    ],
)
def test_strict_errors_say_what_is_wrong_and_where_and_repeat_no_more(request_: Any, message: str) -> None:
    strict, _ = load(rows, MIXED, errors="strict")
    (answer,) = ask(strict, request_)
    assert answer.status == 400
    assert error(answer)["message"] == message
    assert "secret" not in answer.body.decode() or '"secret"' in message
    assert "stack_trace" not in error(answer)


RICH = Schema(
    [
        ColSpec(Array(DataType.string), "tags"),
        ColSpec(Object([Property("id", DataType.long), Property("n", DataType.string, required=False)]), "o", False),
        ColSpec(Map(DataType.double), "m", required=False),
        ColSpec(Array(Array(DataType.long)), "grid", required=False),
        ColSpec(DataType.binary, "bin", required=False),
        ColSpec(DataType.datetime, "at", required=False),
    ]
)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tags": "a"}, 'tags: expected list of string, got "a"'),
        ({"tags": ["a"], "o": {"id": "x"}}, 'o.id: expected long, got "x"'),
        ({"tags": ["a"], "o": {"id": 1, "q": 2}}, "o.q: the signature has no such property"),
        ({"tags": ["a"], "o": {"n": "x"}}, 'o: the property "id" is missing'),
        ({"tags": ["a"], "m": {"k": "x"}}, 'm.k: expected double, got "x"'),
        ({"tags": ["a"], "grid": [[1], ["x"]]}, 'grid[1][0]: expected long, got "x"'),
        ({"tags": ["a"], "bin": 1}, "bin: expected binary data as base64, got 1"),
        ({"tags": ["a"], "at": "soon"}, 'at: expected a date and time, got "soon"'),
    ],
)
def test_strict_errors_find_their_way_in_nested_types(row: Any, message: str) -> None:
    strict, _ = load(rows, RICH, errors="strict")
    (answer,) = ask(strict, {"dataframe_records": [{"tags": ["b"]}, row]})
    if answer.status == 200:  # this MLflow fills in a required property
        assert "missing" in message
        return
    assert error(answer)["message"] == f"dataframe_records[1].{message}"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"inputs": [[[1, 2], [3, 4]], [[1, 2], [3]]]}, "inputs[1][1]: expected 2 elements, got 1"),
        ({"inputs": [[[1, 2], [3, "x"]]]}, 'inputs[0][1][1]: expected float, got "x"'),
        ({"inputs": [1, 2]}, "inputs[0]: expected a list of 2, got 1"),
        ({"inputs": {"a": 1}}, "inputs: expected a list, for the model's inputs have no names, got an object"),
        ({"inputs": 5}, "inputs: expected a list, got 5"),
        (b'{"inputs": ' + b"[" * 400 + b"1.5" + b"]" * 400 + b"}", "inputs[0]: expected 2 elements, got 1"),
    ],
)
def test_strict_errors_find_their_way_in_a_tensor(request_: Any, message: str) -> None:
    strict, _ = load(rows, Schema([TensorSpec(dtype("float32"), (-1, 2, 2))]), errors="strict")
    (answer,) = ask(strict, request_)
    assert (answer.status, error(answer)["message"]) == (400, message)


def test_what_the_caller_left_out_is_not_the_models_failure() -> None:
    def picky(data: Any, _params: Any) -> Any:
        if data.isna().any().any():
            raise ValueError("secret")
        return rows(data, None)

    strict, _ = load(picky, Schema([ColSpec("double", "a"), ColSpec("double", "b")]), errors="strict")
    requests: list[Any] = [
        {"dataframe_records": [{"a": 1.0, "b": 2.0}, {"a": 1.0}]},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0], [1.0]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, None]]}},  # a null was said, and is allowed
    ]
    answers = ask(strict, *requests)
    assert [a.status for a in answers] == [400, 400, 500]
    assert [error(a)["message"] for a in answers[:2]] == [
        'dataframe_records[1]: the column "b" is missing',
        "dataframe_split.data[1]: expected 2 values, one for each column, got 1",
    ]


def test_strict_errors_name_the_parameter() -> None:
    strict, _ = load(rows, NUMBER, params=[ParamSpec("k", "long", 0)], errors="strict")
    answers = ask(strict, {"inputs": [1.0], "params": {"k": "secret"}}, {"inputs": [1.0], "params": 3})
    assert [error(a)["message"] for a in answers] == [
        'params.k: expected long, got "secret"',
        "params: expected an object.",
    ]
    assert error(answers[0])["path"] == "params.k"


def test_strict_errors_name_the_parameter_of_the_llm_form_and_of_a_list() -> None:
    params = [ParamSpec("k", "long", 0), ParamSpec("words", "string", ["a"], (-1,))]
    strict, _ = load(rows, params=params, errors="strict")
    answers = ask(
        strict,
        {"messages": [], "k": 1.5},
        {"inputs": [1], "params": {"words": ["a", 2]}},
        {"inputs": [1], "params": {"words": "a"}},
    )
    assert [error(a)["message"] for a in answers] == [
        "k: expected long, got 1.5",
        "params.words[1]: expected string, got 2",
        'params.words: expected list of string, got "a"',
    ]


def test_the_models_failure_is_a_500_under_strict_and_says_nothing_of_its_inside() -> None:
    def fail(_data: Any, _params: Any) -> Any:
        raise ValueError("secret")

    strict, _ = load(fail, TEXT, errors="strict")
    answers = ask(strict, {"inputs": ["a"]}, {"inputs": ["a", None]})
    assert [a.status for a in answers] == [500, 400]
    assert [bool(a.flags & wire.FLAG_MODEL_ERROR) for a in answers] == [True, False]
    assert error(answers[0]) == {"error_code": "MODEL_ERROR", "message": "The model failed on this input (ValueError)."}
    free, _ = load(fail, errors="strict")
    answers = ask(free, {"inputs": ["a"]}, {"messages": []})
    assert [a.status for a in answers] == [500, 500]
    assert "secret" not in b"".join(a.body for a in answers).decode()


def test_a_model_may_choose_its_own_status_under_strict_too() -> None:
    def busy(_data: Any, _params: Any) -> Any:
        raise MlflowException("come back later", error_code=RESOURCE_EXHAUSTED)

    strict, _ = load(busy, TEXT, errors="strict")
    (answer,) = ask(strict, {"inputs": ["secret"]})
    assert (answer.status, error(answer)["message"]) == (429, "come back later")


def test_media_types_are_refused_in_json_under_strict() -> None:
    strict, _ = load(rows, TEXT, errors="strict")
    (answer,) = ask(strict, b"x", head=wire.head(b"text/plain"))
    assert (answer.status, error(answer)["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    lax, _ = load(rows, TEXT)
    (answer,) = ask(lax, b"x", head=wire.head(b"text/plain"))
    assert (answer.status, answer.content_type) == (415, b"text/plain; charset=utf-8")


def test_csv_dates_and_csv_tensors_reach_the_model() -> None:
    csv = wire.head(b"text/csv")
    dates = Schema([ColSpec("long", "l"), ColSpec("datetime", "t", required=False)])
    scorer, impl = load(lambda data, _: [str(v) for v in data["t"]], dates)
    assert predictions(ask(scorer, b"l,t\n1,2024-02-29\n", head=csv)[0]) == ["2024-02-29 00:00:00"]
    assert str(impl.calls[0].dtypes["t"]) == "datetime64[ns]"
    (answer,) = ask(scorer, b"l,t\n1,yesterday\n", head=csv)
    assert (answer.status, "stack_trace" in error(answer)) == (400, True)
    (answer,) = ask(scorer, b"l,t\n1,\xff\n", head=csv)
    assert "valid UTF-8" in error(answer)["message"]
    scorer, impl = load(rows, Schema([TensorSpec(dtype("float64"), (-1, 2))]))
    assert predictions(ask(scorer, b"a,b\n1.5,2\n3,4\n", head=csv)[0]) == [0, 1]
    assert impl.calls[0].tolist() == [[1.5, 2], [3, 4]]
    (answer,) = ask(scorer, b"a\n1.5\n", head=csv)
    assert error(answer)["error_code"] == "BAD_REQUEST"
    assert "TensorSpec only supports" in error(answer)["message"]  # MLflow's words for any CSV body


def test_an_exception_that_cannot_be_sent_still_makes_a_json_answer() -> None:
    def odd(_data: Any, _params: Any) -> Any:
        raise MlflowException("odd", extra={1, 2})

    scorer, _ = load(odd)
    (answer,) = ask(scorer, {"inputs": [1]})
    assert answer.status == 500
    assert json.loads(answer.body)["error_code"] == "INTERNAL_ERROR"
