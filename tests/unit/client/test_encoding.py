"""From an input to the body of a request."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace.client.encoding import Form, Table, prepare
from headrace.client.errors import BadRequest


def sent(data: Any, params: Any = None, form: Form | None = None) -> Any:
    return json.loads(prepare(data, params, form).whole())


@pytest.mark.parametrize(
    ("data", "body", "rows"),
    [
        (["a", "b"], {"inputs": ["a", "b"]}, 2),
        (pd.Series([1.5, 2.5]), {"inputs": [1.5, 2.5]}, 2),
        ([[1, 2], [3, 4]], {"inputs": [[1, 2], [3, 4]]}, 2),
        (np.arange(4).reshape(2, 2), {"inputs": [[0, 1], [2, 3]]}, 2),
        ({"x": [1, 2], "y": ["a", "b"]}, {"inputs": {"x": [1, 2], "y": ["a", "b"]}}, 2),
        ({"x": np.array([1, 2])}, {"inputs": {"x": [1, 2]}}, 2),
        ({"x": [1, 2], "y": [1]}, {"inputs": {"x": [1, 2], "y": [1]}}, None),
        ({"x": [b"ab"]}, {"dataframe_split": {"columns": ["x"], "data": [["YWI="]]}}, 1),
        ([{"x": 1}, {"x": 2}], {"dataframe_records": [{"x": 1}, {"x": 2}]}, 2),
        (pd.DataFrame({"x": [1, 2]}), {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}}, 2),
        (
            pd.DataFrame({"x": [1, 2]}, index=[7, 8]),
            {"dataframe_split": {"columns": ["x"], "data": [[1], [2]], "index": [7, 8]}},
            2,
        ),
        (Table(["x"], [[1], [2]]), {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}}, 2),
        ({"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}, None),
    ],
    ids=["texts", "series", "lists", "array", "columns", "arrays", "uneven", "bytes", "records", "frame", "index",
         "table", "messages"],
)  # fmt: skip
def test_each_input_has_its_key(data: Any, body: Any, rows: int | None) -> None:
    assert sent(data) == body
    assert prepare(data).rows == rows


@pytest.mark.parametrize(
    "data",
    [
        list("abcdef"), np.arange(6), {"x": list(range(6)), "y": list("abcdef")}, [{"x": n} for n in range(6)],
        pd.DataFrame({"x": range(6)}), Table(["x"], [[n] for n in range(6)]),
    ],
    ids=["list", "array", "columns", "records", "frame", "table"],
)  # fmt: skip
def test_any_cut_holds_its_rows_and_no_others(data: Any) -> None:
    payload = prepare(data)
    (whole,) = json.loads(payload.whole()).values()
    (part,) = json.loads(payload.body(2, 4)).values()
    if isinstance(whole, dict) and "data" in whole:
        assert part["data"] == whole["data"][2:4]
    elif isinstance(whole, dict):
        assert part == {name: column[2:4] for name, column in whole.items()}
    else:
        assert part == whole[2:4]


def test_params_go_beside_the_rows_and_among_the_members_of_the_llm_form() -> None:
    assert sent(["a"], {"k": 1}) == {"inputs": ["a"], "params": {"k": 1}}
    assert sent({"prompt": "a"}, {"k": 1}) == {"prompt": "a", "k": 1}
    assert sent({"inputs": 1}, {"k": 1}, "raw") == {"inputs": 1, "params": {"k": 1}}
    assert not prepare({"prompt": "a"}).wrapped
    assert prepare(["a"]).wrapped


def test_a_model_of_type_hints_gets_rows_below_inputs() -> None:
    for data in (pd.DataFrame({"x": [1, 2]}), [{"x": 1}, {"x": 2}]):
        typed = prepare(data, {"k": 1}).typed
        assert typed is not None
        assert json.loads(typed.body(1, 2)) == {"inputs": [{"x": 2}], "params": {"k": 1}}
    assert prepare(["a"]).typed is None


@pytest.mark.parametrize("form", ["inputs", "instances", "dataframe_split", "dataframe_records"])
def test_the_form_can_be_chosen(form: Form) -> None:
    assert list(sent(pd.DataFrame({"x": [1]}), form=form)) == [form]


@pytest.mark.parametrize(
    ("data", "params", "form", "says"),
    [
        (["a"], [1], None, "params must be a dict, got list"),
        (["a"], None, "raw", "a request in raw form must be a dict, got list"),
        ({1: [1], "1": [2]}, None, None, "two columns have the same name"),
        ({"x": [1], "y": [1, 2]}, None, "dataframe_split", "lists of equal length"),
        ({"x": [1]}, None, "dataframe_records", "not as dataframe_records"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), None, None, "more than one level"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is_sent(data: Any, params: Any, form: Any, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        prepare(data, params, form)


def test_a_value_without_a_json_form_is_found_when_its_rows_are_written() -> None:
    payload = prepare([1, object()])
    assert json.loads(payload.body(0, 1)) == {"inputs": [1]}
    with pytest.raises(BadRequest):
        payload.body(1, 2)
