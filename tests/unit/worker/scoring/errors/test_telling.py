"""Whose fault a failure is, and with which status and body it is answered."""

import json
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_EXHAUSTED
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy import dtype

from headrace_worker import wire
from tests.unit.worker.models import TEXT, ask, error, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


def rows(data: Any, _params: Any) -> Any:
    return list(range(len(data)))


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
