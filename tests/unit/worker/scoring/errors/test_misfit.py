"""With `errors: strict`: what does not fit the signature is named, with its place."""

from typing import Any

import pytest
from mlflow.types import ColSpec, DataType, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property
from numpy import dtype

from tests.unit.worker.models import MIXED, NUMBER, ask, error, load, rows, split

pytestmark = pytest.mark.filterwarnings("ignore")


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
