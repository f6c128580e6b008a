"""Which requests share a predict call, and what happens when that goes wrong."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.types import ColSpec, ParamSpec, Schema

from headrace_worker import wire
from headrace_worker.scoring.evidence import CHECKS
from tests.unit.worker.models import NUMBER, TEXT, ask, ask_for_notes, error, load, predictions, texts, trusted, upper

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("however_slow")]


def test_a_batch_of_the_usual_requests_is_one_call() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"))
    answers = ask(scorer, texts("a"), texts("b", "c"), texts("d"))
    assert [predictions(a) for a in answers] == [["A"], ["B", "C"], ["D"]]
    assert [a.rows for a in answers] == [1, 2, 1]
    assert [list(call["text"]) for call in impl.calls] == [["a", "b", "c", "d"]]


def test_a_call_holds_at_most_max_rows_but_no_request_is_cut() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"), max_rows=3)
    answers = ask(scorer, *[texts(c) for c in "abcdefg"], texts(*"hijkl"))
    assert [predictions(a) for a in answers] == [[c.upper()] for c in "abcdefg"] + [list("HIJKL")]
    assert [len(call) for call in impl.calls] == [3, 3, 1, 5]


def test_nothing_is_merged_where_max_rows_is_one() -> None:
    scorer, impl = load(upper, TEXT, max_rows=1)
    ask(scorer, texts("a"), texts("b"))
    assert [len(call) for call in impl.calls] == [1, 1]
    assert scorer.facts()["mergeable"] is False


def test_a_model_that_answers_once_per_column_is_found_out_and_never_merged_again() -> None:
    scorer, impl = load(lambda data, _: ["one"] * len(data.columns), TEXT)
    answers, notes = ask_for_notes(scorer, texts("a"), texts("b"), texts("c"))
    assert [predictions(a) for a in answers] == [["one"]] * 3
    assert notes == {"unmergeable": "instances: 2 rows were answered with 1", "mergeable": True}
    impl.calls.clear()
    _, notes = ask_for_notes(scorer, texts("a"), texts("b"))
    assert notes == {}
    assert [len(call) for call in impl.calls] == [1, 1]


def test_two_columns_answered_for_two_requests_are_not_taken_for_rows() -> None:
    inputs = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    scorer, _ = load(lambda data, _: list(data.columns), inputs)
    row = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}
    answers = ask(scorer, row, row)
    assert [predictions(a) for a in answers] == [["a", "b"]] * 2


def test_numbers_that_meet_by_chance_are_not_taken_for_rows() -> None:
    inputs = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    scorer, _ = load(lambda data, _: list(data.columns), inputs)
    one = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}
    two = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]] * 2}}
    ask(scorer, two)  # two rows, two answers: right by chance
    assert [predictions(a) for a in ask(scorer, one, one)] == [["a", "b"]] * 2


def test_a_kind_of_request_that_is_not_answered_by_rows_does_not_spoil_another() -> None:
    def pipeline(data: Any, _params: Any) -> Any:
        return [str(x) for x in data]  # an array row by row, a DataFrame column by column

    scorer, impl = load(pipeline)
    table = {"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}
    ask(scorer, texts("one"))
    answers, notes = ask_for_notes(scorer, table, texts("a"), table, texts("b"))
    assert [predictions(a) for a in answers] == [["a", "b"], ["a"], ["a", "b"], ["b"]]
    assert notes["unmergeable"] == "dataframe_split: 1 rows were answered with 2"
    ask(scorer, *[texts("c")] * CHECKS)
    impl.calls.clear()
    ask(scorer, texts("a"), texts("b"), texts("c"))
    assert len(impl.calls) == 1


def test_an_answer_without_rows_is_never_merged() -> None:
    scorer, _ = load(lambda data, _: {"n": len(data)}, TEXT)
    answers = ask(scorer, texts("a"), texts("b"))
    assert [predictions(a) for a in answers] == [{"n": 1}] * 2


def test_a_poisonous_request_does_not_hurt_its_neighbours() -> None:
    def picky(data: Any, _params: Any) -> Any:
        if "poison" in set(data["text"]):
            raise ValueError("no")
        return list(data["text"])

    scorer, _ = load(picky, TEXT)
    answers = ask(scorer, texts("a"), texts("b"), texts("poison"), texts("c"))
    assert [a.status for a in answers] == [200, 200, 400, 200]
    assert "ValueError: no" in error(answers[2])["stack_trace"]
    assert scorer.facts()["mergeable"] is True


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), MemoryError("all gone"), RecursionError()])
def test_whatever_a_model_raises_is_the_answer_to_one_request(raised: BaseException) -> None:
    def moody(data: Any, _params: Any) -> Any:
        if "leave" in set(data["text"]):
            raise raised
        return list(data["text"])

    scorer, _ = load(moody, TEXT)
    answers = ask(scorer, texts("a"), texts("leave"), texts("b"), texts("c"))
    assert [a.status for a in answers] == [200, 400, 200, 200]
    assert type(raised).__name__ in error(answers[1])["stack_trace"]


def test_an_mlflow_exception_keeps_its_status_and_names_the_request_alone() -> None:
    def refuse(data: Any, _params: Any) -> Any:
        if "b" in set(data["text"]):
            raise MlflowException("not that", error_code=RESOURCE_DOES_NOT_EXIST)
        return list(data["text"])

    scorer, _ = load(refuse, TEXT)
    answers = ask(scorer, texts("a"), texts("b"), texts("c"))
    assert [a.status for a in answers] == [200, 404, 200]
    assert "'b'" in error(answers[1])["message"]
    assert "'c'" not in error(answers[1])["message"]


def test_requests_with_different_params_never_share_a_call() -> None:
    known = {"inputs": [0.5]}
    scorer, impl = trusted(
        lambda data, params: [params["k"]] * len(data), NUMBER, known, params=[ParamSpec("k", "long", 7)]
    )
    requests: list[Any] = [{"inputs": [1.5], "params": {"k": k}} for k in (5, 6, 5, 6)] + [{"inputs": [2.5]}]
    answers = ask(scorer, *requests)
    assert [predictions(a) for a in answers] == [[5], [6], [5], [6], [7]]
    assert sorted(len(call) for call in impl.calls) == [1, 2, 2]


def test_what_cannot_be_merged_is_answered_beside_what_can() -> None:
    scorer, _ = load(upper, TEXT)
    answers = ask(scorer, texts("a"), b"{", {}, texts("b"), {"messages": []}, {"instances": []}, texts("c"))
    assert [a.status for a in answers] == [200, 400, 400, 200, 400, 200, 200]
    assert [predictions(answers[i]) for i in (0, 3, 5, 6)] == [["A"], ["B"], [], ["C"]]


def test_a_batch_of_several_media_types_is_answered_in_order() -> None:
    scorer, _ = load(upper, TEXT)
    heads = [wire.head(b"application/json"), wire.head(b"text/csv"), wire.head(b"text/plain")]
    bodies = [b'{"inputs": ["a"]}', b"text\nb\n", b"c", b'{"inputs": ["d"]}']
    answers, timing, _ = scorer.score(heads, bytes([0, 1, 2, 0]), [memoryview(b) for b in bodies])
    assert [a.status for a in answers] == [200, 200, 415, 200]
    assert timing.predicts == 3


def test_the_first_frame_built_directly_is_what_mlflow_builds() -> None:
    types = {"d": "double", "f": "float", "i": "integer", "l": "long", "b": "boolean", "s": "string"}
    inputs = Schema([*(ColSpec(t, n) for n, t in types.items()), ColSpec("string", "o", required=False)])
    scorer, impl = load(lambda data, _: list(range(len(data))), inputs)
    request = {"dataframe_split": {"columns": list("silfdb"), "data": [["a", 1, 2, 1.5, None, True]]}}
    for _ in range(2):
        ask(scorer, request)
    pd.testing.assert_frame_equal(impl.calls[0], impl.calls[1])
    assert impl.calls[1].dtypes.astype(str).to_dict() | {"s": ""} == {
        "d": "float64", "f": "float32", "i": "int32", "l": "int64", "b": "bool", "s": ""
    }  # fmt: skip


def test_half_a_surrogate_pair_is_refused_also_in_a_column_that_is_dropped() -> None:
    scorer, _ = load(upper, TEXT)
    usual = {"dataframe_split": {"columns": ["text", "more"], "data": [["a", "b"]]}}
    odd = {"dataframe_split": {"columns": ["text", "more"], "data": [["a", "\ud800"]]}}
    for _ in range(2):
        assert [answer.status for answer in ask(scorer, usual, odd, usual)] == [200, 400, 200]


def test_params_are_repeated_to_the_caller_as_mlflow_does() -> None:
    scorer, _ = load(lambda data, params: [params] * len(data), NUMBER, params=[ParamSpec("k", "long", 0)])
    answers = ask(scorer, {"inputs": [1.0], "params": {"k": "x"}}, {"inputs": [1.0], "params": {"k": 2, "other": 1}})
    assert error(answers[0])["error_code"] == "INVALID_PARAMETER_VALUE"
    assert json.loads(answers[1].body) == {"predictions": [{"k": 2}]}


class Liar:
    """Calls itself an array and is none."""

    ndim = 1

    def tolist(self) -> Any:
        raise RuntimeError("not really")

    def __len__(self) -> int:
        raise RuntimeError("not really")


@pytest.mark.parametrize("raw", [Liar(), np.array(3), np.ma.masked_array([1, 2], mask=[True, False])])
def test_an_answer_that_only_resembles_an_array_breaks_nothing(raw: Any) -> None:
    scorer, _ = load(lambda _data, _params: raw, TEXT)
    answers = ask(scorer, texts("a", "b"), texts("c", "d"), texts("e", "f"))
    assert len({a.body for a in answers}) == 1
    assert {a.status for a in answers} <= {200, 500}


def test_a_long_request_is_read_like_a_short_one() -> None:
    scorer, impl = trusted(upper, TEXT, texts("first"))
    long = ["x" * n for n in (400, 600, 4000, 5000, 100_000)]
    answers = ask(scorer, *[texts(text) for text in long])
    assert [predictions(a) for a in answers] == [[text.upper()] for text in long]
    assert len(impl.calls) == 1
