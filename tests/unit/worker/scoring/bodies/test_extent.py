"""Small bodies that stand for large tables are refused before they are made, and usual ones are not."""

import json
import tracemalloc
from typing import Any

import pytest
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy import dtype

from headrace_worker.scoring import plan
from headrace_worker.scoring.bodies import extent, jsonbody
from headrace_worker.scoring.bodies.extent import MAX_COLUMNS, Bounds
from headrace_worker.scoring.errors import locate
from headrace_worker.scoring.errors.refusal import Refusal
from tests.unit.worker.forms import count, names
from tests.unit.worker.models import NUMBER, TEXT, ask, error, load, predictions

SIDE = 5_000  # of a square of 25 million cells
LABELS = list(range(SIDE))
OWN = [{f"c{i}": 1.5} for i in range(SIDE)]
LONG = ["x" * 1_000_000] + ["a"] * 1_000


@pytest.mark.parametrize(
    ("inputs", "request_", "path"),
    [
        (None, {"dataframe_records": OWN}, "dataframe_records"),
        (NUMBER, {"inputs": OWN}, "inputs"),
        (NUMBER, {"instances": OWN}, "instances"),
        (NUMBER, {"inputs": {"x": LABELS, **dict.fromkeys(names(SIDE), 1)}}, "inputs"),
        (None, {"dataframe_split": {"columns": LABELS, "index": LABELS, "data": 5}}, "dataframe_split"),
        (None, {"dataframe_split": {"columns": LABELS, "index": LABELS, "data": []}}, "dataframe_split"),
        (None, {"dataframe_split": {"columns": LABELS, "index": LABELS, "data": None}}, "dataframe_split"),
        (None, {"dataframe_split": {"columns": LABELS, "index": LABELS, "data": {"0": 1}}}, "dataframe_split"),
        (None, {"dataframe_split": {"index": LABELS, "data": {"0": LABELS, **dict.fromkeys(names(SIDE), 1)}}}, None),
        (None, {"dataframe_split": {"data": [LABELS, *[[1]] * SIDE]}}, "dataframe_split"),
        (None, {"dataframe_split": {"columns": LABELS, "data": [LABELS, *[[1]] * SIDE]}}, "dataframe_split"),
        (None, {"dataframe_split": {"data": OWN}}, "dataframe_split"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_that_would_be_nearly_empty_is_a_400(inputs: Any, request_: Any, path: str | None) -> None:
    scorer, impl = load(count, inputs)
    (answer,) = ask(scorer, request_)
    assert (answer.status, impl.calls) == (400, [])
    assert "nearly empty" in error(answer)["message"]
    assert path is None or error(answer)["path"] == path


@pytest.mark.parametrize(
    ("inputs", "request_"),
    [
        (
            None,
            {"dataframe_records": [{f"c{i % 500}": 1.5} for i in range(1_000)]},
        ),  # half a million cells, 1,000 given
        (None, {"dataframe_split": {"columns": names(SIDE), "data": [[1.5] * SIDE]}}),
        (NUMBER, {"dataframe_records": [{"x": 1.5, "y": None}] * 2_000 + [{"x": 1.5}] * 2_000}),
        (None, {"inputs": [{f"w{i}": 1} for i in range(SIDE)]}),  # words and how often they occur: no table is made
        (TEXT, {"inputs": ["x" * 100_000] + ["a"] * 1_000}),
    ],
    ids=["sparse", "wide", "optional", "words", "texts"],
)
def test_uneven_requests_are_answered(inputs: Any, request_: Any) -> None:
    scorer, _ = load(count, inputs)
    assert set(predictions(ask(scorer, request_)[0])) == {0}


@pytest.mark.parametrize(
    "request_",
    [
        {"dataframe_records": [dict.fromkeys(names(MAX_COLUMNS + 1), 1)]},
        {"dataframe_split": {"columns": names(MAX_COLUMNS + 1), "data": [[1] * (MAX_COLUMNS + 1)]}},
        {"inputs": {name: [1] for name in names(MAX_COLUMNS + 1)}},
        {"instances": [dict.fromkeys(names(MAX_COLUMNS + 1), 1)]},
    ],
    ids=lambda request_: next(iter(request_)),
)
def test_too_many_columns_are_a_400_that_says_how_many(request_: Any) -> None:
    scorer, impl = load(count)
    (answer,) = ask(scorer, request_)
    assert (answer.status, impl.calls) == (400, [])
    assert f"{MAX_COLUMNS + 1} columns; at most {MAX_COLUMNS} are taken" in error(answer)["message"]


def test_a_signature_of_many_columns_allows_as_many() -> None:
    schema = Schema([ColSpec("double", name) for name in names(MAX_COLUMNS)])
    assert Bounds(schema).max_columns == 2 * MAX_COLUMNS


@pytest.mark.parametrize(
    "request_", [{"inputs": LONG}, {"instances": [[[text]] for text in LONG]}], ids=["flat", "deep"]
)
@pytest.mark.parametrize(
    "inputs", [None, TEXT, Schema([TensorSpec(dtype("str"), (-1,))])], ids=["free", "text", "tensor"]
)
def test_texts_that_would_take_the_room_of_the_longest_are_a_400(inputs: Any, request_: Any) -> None:
    scorer, impl = load(count, inputs)
    (answer,) = ask(scorer, request_)
    assert (answer.status, impl.calls) == (400, [])
    assert "Send fewer texts" in error(answer)["message"]


def test_texts_below_names_count_by_name() -> None:
    bounds = Bounds(TEXT)
    rows = [{"text": text, "other": "a"} for text in LONG]
    for request_ in ({"inputs": {"text": LONG}}, {"instances": rows}):
        with pytest.raises(Refusal, match="Send fewer texts"):
            bounds.check(request_, None)
    bounds.check({"dataframe_records": rows}, None)  # pandas keeps them as they are


def test_a_large_text_does_not_make_its_neighbours_large() -> None:
    scorer, impl = load(lambda data, _: [0] * len(data))
    small: Any = {"inputs": ["a"]}
    for _ in range(3):
        answers = ask(scorer, *[small] * 5, {"inputs": ["x" * 300_000]}, *[small] * 5)
        assert [a.status for a in answers] == [200] * 11
    assert max(data.dtype.itemsize * len(data) for data in impl.calls) == 4 * 300_000


@pytest.mark.parametrize("wide", [b"[],", b'"",', b'"\\n\\n\\n\\n\\n\\n\\n\\n",', b'{"a":1},'])
def test_looking_for_limits_takes_memory_by_the_size_of_the_body(wide: bytes) -> None:
    body = b'{"inputs": [' + wide * 100_000 + b"[" * 499 + b"]" * 499 + b'],"text":"' + b"\\n" * 500_000 + b'"}'
    tracemalloc.start()
    try:
        with pytest.raises(Refusal):
            jsonbody.parse(body + b"," + b"9" * 4301, decode_first=False, max_nesting=500, max_integer_digits=4300)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(body)


def test_no_path_repeats_what_a_client_has_named_for_each_element() -> None:
    columns = plan.make_plan(Schema([ColSpec("long", "x")]), closed=False)
    request_ = {"inputs": {"k" * 100_000: [1.5] * 1_000, "x": [1, 2.5]}}
    tracemalloc.start()
    try:
        (found,) = locate.findings(request_, columns)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.path, peak < 50_000) == ("inputs.x[1]", True)


def test_small_bodies_cannot_go_beyond_the_bounds() -> None:
    most: Any = {"dataframe_split": {"columns": [], "index": [], "data": 1}}
    room = (extent.SMALL - len(json.dumps(most, separators=(",", ":")))) // 4
    most["dataframe_split"].update(columns=[1] * room, index=[1] * room)
    assert len(json.dumps(most, separators=(",", ":"))) <= extent.SMALL
    Bounds(None).check(most, None)
