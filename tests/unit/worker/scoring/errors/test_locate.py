"""Hazards: what MLflow answers with 200 although something was lost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.types import Schema, TensorSpec
from numpy import dtype

from headrace_worker import wire
from headrace_worker.scoring import plan as plans
from headrace_worker.scoring.errors import locate
from tests.unit.worker.models import MIXED, NUMBER, ask, ask_for_notes, error, load, rows, split

pytestmark = pytest.mark.filterwarnings("ignore")


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


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**31 - 1, 2**31, -(2**31), 2**63, -(2**63) - 1, 1.0, 1e10, 1e300]),
    st.floats(),
    st.sampled_from(["", "1", "1.5", "nan", "true", str(2**40)]),
    st.just([1]),
    st.just({}),
)


@given(st.data(), st.lists(st.sampled_from("dilbs"), min_size=1, max_size=4), st.integers(1, 5))
def test_columns_that_are_right_by_type_hold_nothing_to_find(data: st.DataObject, names: list[str], count: int) -> None:
    names = sorted(set(names))
    # Mostly of one type, for it is whole columns that are passed over.
    columns = [
        data.draw(st.lists(data.draw(st.sampled_from([VALUES, st.integers(-9, 9)])), min_size=count, max_size=count))
        for _ in names
    ]
    table = [list(row) for row in zip(*columns, strict=True)]
    records = [dict(zip(names, row, strict=True)) for row in table]
    plan = plans.make_plan(MIXED, closed=False)
    for request in (
        {"dataframe_split": {"columns": names, "data": table}},
        {"dataframe_records": records},
        {"inputs": records},
        {"inputs": dict(zip(names, columns, strict=True))},
    ):
        (name,) = request
        judged = {
            (r, c): locate._judge(plan.named[names[c]] or "", table[r][c], through_numpy=name == "inputs")
            for r in range(count)
            for c in range(len(names))
        }
        # Sorted, for an object of columns is gone through column by column.
        wanted = sorted(found for found in judged.values() if found is not None)
        found = list(locate.findings(request, plan))
        assert sorted((one.hazard, one.message) for one in found) == wanted
        assert list(locate.hazards(request, plan)) == [one for one in found if one.hazard]
