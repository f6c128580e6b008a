"""Tensors, tables and values of every type: merged and taken apart again, and no type is that of a neighbour."""

import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property

from headrace_worker.scoring.evidence import CHECKS
from tests.unit.worker.models import (
    NUMBER,
    ask,
    load,
    trusted,
)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("however_slow")]

TENSORS = Schema([TensorSpec(np.dtype(np.float32), (-1, 3), "x"), TensorSpec(np.dtype(np.int64), (-1,), "n")])


def test_named_tensors_that_share_the_first_dimension_are_one_call_and_their_named_answers_are_taken_apart() -> None:
    def network(data: Any, _params: Any) -> Any:
        hidden = data["x"] * data["n"][:, None].astype(np.float32)
        return {"sum": hidden.sum(axis=1), "hidden": hidden, "label": ["odd" if n % 2 else "even" for n in data["n"]]}

    requests = [{"inputs": {"x": [[i / 7, i / 3, 0.5]] * k, "n": [i] * k}} for i in range(20) for k in (1, 2)]
    scorer, impl = trusted(network, TENSORS, *requests)
    answers = ask(scorer, *requests)
    assert [len(call["n"]) for call in impl.calls] == [60]
    alone, _ = load(network, TENSORS, max_rows=1)
    assert [answer.body for answer in answers] == [answer.body for answer in ask(alone, *requests)]
    assert [answer.rows for answer in answers] == [1, 2] * 20


def test_named_tensors_built_directly_are_what_mlflow_builds() -> None:
    inputs = Schema(
        [
            TensorSpec(np.dtype(np.float32), (-1, 2), "f"),
            TensorSpec(np.dtype(np.float64), (-1,), "d"),
            TensorSpec(np.dtype(np.int32), (-1, 1), "i"),
            TensorSpec(np.dtype(bool), (-1,), "b"),
            TensorSpec(np.dtype(str), (-1,), "s"),
        ]
    )
    scorer, impl = load(lambda data, _: list(range(len(data["d"]))), inputs)
    for text in ("first", "a longer one", "s\0", ""):
        request = {"inputs": {"s": [text], "f": [[0.1, 16777217]], "d": [1e300], "i": [[7]], "b": [True], "x": [1]}}
        impl.calls.clear()
        ask(scorer, request)
        made = impl.calls[0]
        wanted = scorer.oracle.enforce(scorer.oracle.parse_value("inputs", request["inputs"]))
        assert list(made) == list(wanted)
        for name, array in wanted.items():
            assert (made[name].dtype, made[name].shape) == (array.dtype, array.shape)
            assert made[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "predict",
    [
        lambda data, _: {"rank": data["n"].argsort().argsort()},
        lambda data, _: {"y": data["x"], "total": data["n"].sum()},
        lambda data, _: {"y": data["x"], "first": data["x"][:1]},
        lambda data, _: {"mean": data["x"] - data["x"].mean(axis=0)},
        lambda data, _: {"y": data["x"], "empty": []},
        lambda data, _: {"masked": np.ma.masked_array(data["x"], data["x"] > data["x"].mean())},
        lambda data, _: {7: data["n"], 8: data["n"] - data["n"].min()},
    ],
)
def test_named_answers_that_depend_on_their_company_are_found_out(predict: Any) -> None:
    requests = [{"inputs": {"x": [[i / 7, i / 3, 0.5]], "n": [20 - i]}} for i in range(20)]
    alone, _ = load(predict, TENSORS, max_rows=1)
    wanted = [answer.body for answer in ask(alone, *requests)]
    scorer, _ = load(predict, TENSORS)
    for _ in range(3):
        assert [answer.body for answer in ask(scorer, *requests)] == wanted


EVERY_TYPE = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("string", "s"),
        ColSpec("datetime", "t"),
        ColSpec("binary", "b"),
        ColSpec(Array(DataType.double), "v"),
        ColSpec(Object([Property("k", DataType.string)]), "o"),
        ColSpec(Map(DataType.long), "m"),
    ]
)


def odd_row(i: int) -> dict[str, Any]:
    return {
        "d": i / 7,
        "s": f"é{i}",
        "t": f"2024-02-{i % 28 + 1:02}T12:34:56",
        "b": base64.b64encode(bytes([0, i])).decode(),
        "v": [i / 3, 0.5],
        "o": {"k": str(i)},
        "m": {"a": i},
    }


@pytest.mark.parametrize("index", [None, lambda i: i, str], ids=["no index", "numbers", "texts"])
@pytest.mark.parametrize("columns", ["ds", "d", "dstbvom", "tb", "v"])
def test_tables_of_every_type_and_with_an_index_are_one_call(columns: str, index: Any) -> None:
    """What the model is given says all there is to say about each row."""

    def see(data: Any, _params: Any) -> Any:
        return [repr((label, *row)) for label, row in zip(data.index, data.itertuples(index=False), strict=True)]

    inputs = Schema([spec for spec in EVERY_TYPE.inputs if str(spec.name) in columns])
    requests = []
    for i in range(30):
        rows = [odd_row(i), odd_row(i + 1)][: i % 2 + 1]
        table: dict[str, Any] = {"columns": list(columns), "data": [[row[name] for name in columns] for row in rows]}
        if index is not None:
            table["index"] = [index(i + 100), index(7)][: i % 2 + 1]
        requests.append({"dataframe_split": table})
    alone, _ = load(see, inputs, max_rows=1)
    wanted = [answer.body for answer in ask(alone, *requests)]
    scorer, impl = load(see, inputs)
    if index is None:  # the place in the call is in the index then
        scorer, impl = load(lambda data, _: see(data.set_index(data[columns[0]].astype(str)), None), inputs)
        alone, _ = load(lambda data, _: see(data.set_index(data[columns[0]].astype(str)), None), inputs, max_rows=1)
        wanted = [answer.body for answer in ask(alone, *requests)]
    for _ in range(3 + CHECKS // 15):
        impl.calls.clear()
        assert [answer.body for answer in ask(scorer, *requests)] == wanted
    assert [len(call) for call in impl.calls] == [45]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"t": "2024-02-29"}, {"t": "2024-02-29T12:34:56"}),
        ({"t": "2024-02-29 12:34:56"}, {"t": "2024-02-29T12:34:56"}),
        ({"t": "2024-02-29"}, {"t": "29.2.2024"}),
        ({"t": "2024-02-29"}, {"t": "2024-02-30"}),
        ({"t": "2024-02-29"}, {"t": "1500-01-01"}),
        ({"t": "2024-02-29"}, {"t": "2024-02-29T12:34:56+01:00"}),
        ({"t": "2024-02-29"}, {"t": None}),
        ({"t": "2024-02-29"}, {"t": 1}),
        ({"b": "aGk="}, {"b": "a"}),
        ({"b": "aGk="}, {"b": "\ud800"}),
        ({"b": "aGk="}, {"b": 1}),
        ({"v": [0.5]}, {"v": [1]}),
        ({"v": [0.5]}, {"v": [0.5, 1.5]}),
        ({"v": [0.5]}, {"v": []}),
        ({"v": [0.5]}, {"v": None}),
        ({"v": [0.5]}, {"v": 0.5}),
        ({"v": [0.5]}, {"v": "abc"}),
        ({"o": {"k": "a"}}, {"o": {}}),
        ({"o": {"k": "a"}}, {"o": {"k": None}}),
        ({"o": {"k": "a"}}, {"o": {"k": "a", "more": 1}}),
        ({"m": {"a": 1}}, {"m": {"b": 1, "c": 2}}),
        ({"m": {"a": 1}}, {"m": {"a": 1.5}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs"])
def test_odd_values_of_a_neighbour_change_nothing(one: Any, other: Any, form: str) -> None:
    def see(data: Any, _params: Any) -> Any:
        return [repr((type(row[0]).__name__, *row)) for row in data.itertuples(index=False)]

    (name,) = one
    inputs = Schema([spec for spec in EVERY_TYPE.inputs if spec.name == name])

    def request(row: Any) -> Any:
        return {form: {"columns": [name], "data": [[row[name]]]} if form == "dataframe_split" else [row]}

    alone, _ = load(see, inputs, max_rows=1)
    requests = [request(row) for row in (one, one, other, one, other, one)]
    wanted = [(answer.status, answer.body if answer.status == 200 else b"") for answer in ask(alone, *requests)]
    scorer, _ = load(see, inputs)
    for _ in range(3):
        answers = ask(scorer, *requests)
        assert [(answer.status, answer.body if answer.status == 200 else b"") for answer in answers] == wanted


def test_an_index_that_does_not_fit_is_refused_as_ever() -> None:
    scorer, _ = load(lambda data, _: data["x"].tolist(), NUMBER)
    table = {"columns": ["x"], "data": [[0.5]]}
    good = {"dataframe_split": {**table, "index": [3]}}
    for odd in ([], [1, 2], 3, "a", None, [None], [[1]], [1.5], [True], ["a"]):
        bad = {"dataframe_split": {**table, "index": odd}}
        fresh, _ = load(lambda data, _: data["x"].tolist(), NUMBER, max_rows=1)
        wanted = [answer.status for answer in ask(fresh, good, bad)]
        assert [answer.status for answer in ask(scorer, good, good, bad, good, bad)] == [200, *wanted, *wanted]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inputs": [1]}, {"inputs": [1.5]}),
        ({"inputs": [1]}, {"inputs": [True]}),
        ({"inputs": [1]}, {"inputs": ["a"]}),
        ({"inputs": [1.5]}, {"inputs": [None]}),
        ({"inputs": [[1, 2]]}, {"inputs": [[1, 2, 3]]}),
        ({"inputs": [1]}, {"instances": [1]}),
        ({"inputs": [2**63 - 1]}, {"inputs": [2**63]}),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
            {"dataframe_split": {"columns": ["b"], "data": [[1]]}},
        ),
        (
            {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
            {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}},
        ),
        ({"dataframe_records": [{"a": 1}]}, {"dataframe_records": [{"a": 1}, {"b": 1}]}),
    ],
)
def test_without_a_signature_only_values_of_one_type_are_merged(one: Any, other: Any) -> None:
    def types(data: Any, _params: Any) -> Any:
        dtype = data.dtype if hasattr(data, "dtype") else next(iter(data.dtypes))
        return [str(dtype)] * len(data)

    scorer, _ = load(types)
    alone = [ask(scorer, request)[0].body for request in (one, other)]
    for _ in range(2):
        assert [a.body for a in ask(scorer, one, other, one, other)] == alone * 2


# One model for each way in which the type of the whole is not that of a part.
WIDENING = {
    "array": np.array,
    "series": pd.Series,
    "frame": lambda values: pd.DataFrame({"y": values}),
    "list of an array": lambda values: np.array(values).tolist(),
    "list of a series": lambda values: pd.Series(values).tolist(),
    "objects": lambda values: np.array(values, dtype=object),
    "list": list,
    "object of arrays": lambda values: {"y": np.array(values), "z": [0.5] * len(values)},
}

VALUES: list[Any] = [1, 2.5, None, True, "a", "7", 0, 1.0, float("nan"), 10**20]

# 1, 1.0 and True, or None and NaN, from one and the same model cannot be told apart once they are merged.
TWINS = [{0, 3, 7}, {2, 8}]

PAIRS = [
    (i, k)
    for i in range(len(VALUES))
    for k in range(len(VALUES))
    if i == k or not any({i, k} <= twins for twins in TWINS)
]


@pytest.mark.parametrize("make", WIDENING.values(), ids=WIDENING)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_neighbour_does_not_change_the_type_of_an_answer(make: Any, first: int, second: int) -> None:
    def look_up(data: Any, _params: Any) -> Any:
        return make([VALUES[int(i)] for i in data["x"]])

    fresh, _ = load(look_up, NUMBER)
    requests = [{"inputs": [float(i)]} for i in (first, second, first, second, second, first)]
    alone = [ask(fresh, request)[0].body for request in requests]
    scorer, _ = load(look_up, NUMBER)
    for _ in range(3):
        assert [a.body for a in ask(scorer, *requests)] == alone


def test_a_type_that_is_confirmed_once_costs_no_further_calls() -> None:
    requests = [{"inputs": [float(i)]} for i in range(4)]
    scorer, impl = trusted(lambda data, _: np.floor(data["x"].to_numpy()), NUMBER, *requests)
    ask(scorer, *requests)
    assert [len(call) for call in impl.calls] == [4]
