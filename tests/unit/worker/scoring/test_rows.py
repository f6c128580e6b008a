"""A model's answer taken apart by rows, and where a part may have had another type alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server

from headrace_worker.scoring import rows

SERVER: Any = scoring_server


def parts_of(raw: Any) -> list[Any] | None:
    """The answer to each row by itself."""
    table = rows.table(raw, SERVER._get_jsonable_obj)
    return None if table is None else [table.part(at, at + 1) for at in range(table.rows)]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ([1, "a"], [[1], ["a"]]),
        (np.array([1.5, 2.5]), [[1.5], [2.5]]),
        (np.array([[1, 2], [3, 4]]), [[[1, 2]], [[3, 4]]]),
        (pd.Series(["a", "b"]), [[{0: "a"}], [{0: "b"}]]),
        (pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), [[{"x": 1, "y": "a"}], [{"x": 2, "y": "b"}]]),
        ({"p": np.array([1, 2]), "q": ["a", "b"]}, [{"p": [1], "q": ["a"]}, {"p": [2], "q": ["b"]}]),
    ],
    ids=["list", "array", "matrix", "series", "frame", "object"],
)
def test_an_answer_is_taken_apart_by_rows(raw: Any, wanted: list[Any]) -> None:
    assert parts_of(raw) == wanted
    assert rows.parts(raw) == 2


@pytest.mark.parametrize(
    "raw", ["ab", 5, None, {}, {"a": 1}, {"a": [1], "b": [1, 2]}, {1: [1]}, np.array(5)],
    ids=["text", "number", "none", "empty", "scalar", "uneven", "no name", "no dimension"],
)  # fmt: skip
def test_what_has_no_rows_stays_whole(raw: Any) -> None:
    assert rows.parts(raw) is None
    assert parts_of(raw) is None


def test_the_whole_is_the_whole_and_not_a_copy() -> None:
    table = rows.table([1, 2, 3], SERVER._get_jsonable_obj)
    assert table is not None
    assert table.part(0, 3) is table.items
    assert table.part(1, 3) == [2, 3]


def test_whatever_calls_itself_an_array_breaks_nothing() -> None:
    class Odd:
        ndim = 1

        def tolist(self) -> list[Any]:
            return []

        def __len__(self) -> int:
            raise LookupError

    assert rows.count(Odd()) is None


@pytest.mark.parametrize(
    ("values", "word", "reason"),
    [
        ([1.0], "float64", ("whole", 1.0)),  # alone it may have been an integer
        ([1.0, 2.0], "float64", "whole"),
        ([1.5, 2.0], "float64", None),
        ([math.nan], "float64", "missing"),
        ([1], "int64", ("flags", 1)),  # alone it may have been a truth value
        ([0, 1], "int64", "flags"),
        ([2, 1], "int64", None),
        (["1"], "U", ("words", "1")),  # alone it may have been a number
        (["nan", ""], "U", "words"),
        (["a"], "U", None),
        (["1", "a"], "U", None),
        ([True], "bool", None),
        ([{"a": 1}], "dict", None),
        ([math.nan], "mixed", "missing"),
        ([1, "a"], "mixed", None),
        ([1, "a"], "object", "mixture"),
        (["a", "b"], "object", None),
        ([None], "datetime64[ns]", "other"),
    ],
)
def test_a_part_is_doubtful_where_its_values_fit_a_narrower_type(values: list[Any], word: str, reason: Any) -> None:
    assert rows.doubt(values, (None, word)) == reason


@pytest.mark.parametrize(
    ("values", "word"),
    [([1.0, 1.5, math.nan, 2.0], "float64"), ([0, 1, 2], "int64"), (["1", "a", "1", ""], "U"), ([True], "bool"),
     ([1, "a", None], "mixed"), (["a", 1], "object")],
)  # fmt: skip
def test_doubts_about_many_rows_are_those_about_each(values: list[Any], word: str) -> None:
    kind = (None, word)
    wanted: dict[Any, list[int]] = {}
    for at, value in enumerate(values):
        reason = rows.doubt([value], kind)
        if reason is not None:
            wanted.setdefault(reason, []).append(at)
    assert rows.doubtful_values(values, kind) == wanted
