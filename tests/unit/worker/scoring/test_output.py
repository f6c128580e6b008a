"""Answers that MLflow cannot send."""

import dataclasses
import datetime as dt
import decimal
import enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.worker.models import ask, error, load, predictions

pytestmark = pytest.mark.filterwarnings("ignore")


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: Any


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ({3, 1, 2}, [1, 2, 3]),
        ({"b", 1}, ["b", 1]),
        (decimal.Decimal("1.10"), "1.10"),
        (dt.timedelta(seconds=90), "P0DT0H1M30S"),
        (np.timedelta64(5, "s"), "P0DT0H0M5S"),
        (np.array([1000], dtype="timedelta64[ms]"), ["P0DT0H0M1S"]),
        (pd.NA, None),
        ([pd.NA, 1], [None, 1]),
        ((i for i in range(3)), [0, 1, 2]),
        (pd.Index([1, 2]), [1, 2]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        ({np.int64(1): "a"}, {"1": "a"}),
        ({(1, 2): "a"}, {"(1, 2)": "a"}),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "x")])), [{"('a', 'x')": 1}]),
        (Colour.RED, "red"),
        ([Point(decimal.Decimal(1))], [{"x": "1"}]),
        ({"frame": pd.DataFrame({"a": [1]})}, {"frame": [{"a": 1}]}),
    ],
)
def test_what_mlflow_answers_with_a_bare_500_is_sent_where_it_has_a_form(raw: Any, sent: Any) -> None:
    scorer, _ = load(lambda _data, _params: raw)
    assert predictions(ask(scorer, {"inputs": 1})[0]) == sent


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (1 + 2j, "complex"),
        ([0, object()], "predictions[1]: a value of type object"),
        ({"a": type}, "predictions.a"),
        (CIRCLE, "nested too deeply"),
    ],
)
def test_what_has_no_json_form_is_a_500_that_names_it(raw: Any, named: str) -> None:
    scorer, _ = load(lambda _data, _params: raw)
    (answer,) = ask(scorer, {"inputs": 1})
    assert (answer.status, error(answer)["error_code"]) == (500, "INTERNAL_ERROR")
    assert named in error(answer)["message"]


def test_an_integer_that_python_will_not_print_is_a_500_in_json() -> None:
    scorer, _ = load(lambda _data, _params: [10**5000])
    (answer,) = ask(scorer, {"inputs": 1})
    assert (answer.status, error(answer)["error_code"]) == (500, "INTERNAL_ERROR")
