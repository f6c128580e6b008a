"""What answers of each kind become."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headrace_worker import wire
from tests.unit.worker.models import NUMBER, load
from tests.unit.worker.scoring.inference.asking import ask, error, tensor

pytestmark = pytest.mark.filterwarnings("ignore")

DOCUMENT: dict[str, Any] = {"inputs": [tensor("x", "FP64", [1, 2])]}


def told(raw: Any, **more: Any) -> dict[str, Any]:
    scorer, _ = load(lambda *_: raw, NUMBER, version="7")
    (answer,) = ask(scorer, {**DOCUMENT, **more})
    assert answer.status == 200, answer
    return dict(json.loads(answer.body))


def only(raw: Any) -> tuple[Any, ...]:
    (one,) = told(raw)["outputs"]
    assert one["name"] == "output-1"
    return one["datatype"], one["shape"], one["parameters"]["content_type"], one["data"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (np.array([1.5, 2.5]), ("FP64", [2, 1], "np", [1.5, 2.5])),
        (np.array([[1, 2], [3, 4]], dtype="int32"), ("INT32", [2, 2], "np", [1, 2, 3, 4])),
        (np.array([np.nan, np.inf], dtype="float32"), ("FP32", [2, 1], "np", [None, None])),
        (np.array([True, False]), ("BOOL", [2, 1], "np", [True, False])),
        (np.array(["a", "bc"]), ("BYTES", [2, 1], "np", ["a", "bc"])),
        (np.array(["a", "bc"], dtype=object), ("BYTES", [2, 1], "np", ["a", "bc"])),
        (np.array(7), ("INT64", [1, 1], "np", [7])),
        (np.array(["2024-01-31"], dtype="datetime64[s]"), ("BYTES", [1, 1], "datetime", ["2024-01-31T00:00:00"])),
        (pd.Series([1, 2]), ("INT64", [2, 1], "np", [1, 2])),
        (pd.Series([1, None], dtype="Int64"), ("FP64", [2, 1], "np", [1.0, None])),
        (pd.Series([1, 2], dtype="Int64"), ("INT64", [2, 1], "np", [1, 2])),
        (pd.Series([True, None], dtype="boolean"), ("FP64", [2, 1], "np", [1.0, None])),
        (pd.Series(["a", None]), ("BYTES", [2, 1], "str", ["a", None])),
        (pd.Series(["a", "b"], dtype="category"), ("BYTES", [2, 1], "str", ["a", "b"])),
        ([1, 2], ("INT64", [2, 1], "np", [1, 2])),
        ([1, 2.5], ("FP64", [2, 1], "np", [1, 2.5])),
        ([[1, 2], [3, 4]], ("INT64", [2, 2], "np", [1, 2, 3, 4])),
        ([[1], [2, 3]], ("BYTES", [2, 1], "pd_json", ["[1]", "[2, 3]"])),
        (["a", "b"], ("BYTES", [2, 1], "str", ["a", "b"])),
        ([b"\0", b"\1"], ("BYTES", [2, 1], "base64", ["AA==", "AQ=="])),
        ([{"a": 1}, None], ("BYTES", [2, 1], "pd_json", ['{"a": 1}', "null"])),
        ([2**70], ("BYTES", [1, 1], "pd_json", [str(2**70)])),
        ([], ("BYTES", [0, 1], "str", [])),
        ("text", ("BYTES", [1, 1], "str", ["text"])),
        ({"choices": 1}, ("BYTES", [1, 1], "pd_json", ['{"choices": 1}'])),
    ],
)  # fmt: skip
def test_an_answer_becomes_one_output(raw: Any, expected: tuple[Any, ...]) -> None:
    assert only(raw) == expected


def test_tables_and_dicts_have_an_output_for_each_column() -> None:
    frame = told(pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"], 3: [True, False]}))
    assert [(one["name"], one["data"]) for one in frame["outputs"]] == [
        ("a", [1.5, 2.5]), ("b", ["x", "y"]), ("3", [True, False]),
    ]  # fmt: skip
    assert (frame["model_name"], frame["model_version"], frame["parameters"]) == ("m", "7", {"content_type": "pd"})
    arrays = told({"p": np.array([[0.5, 0.5]]), "label": ["x"]})
    assert [(one["name"], one["shape"]) for one in arrays["outputs"]] == [("p", [1, 2]), ("label", [1, 1])]


def test_an_id_is_given_back_and_only_the_outputs_asked_for_are() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    response = told(frame, id="é", outputs=[{"name": "b"}])
    assert (response["id"], [one["name"] for one in response["outputs"]]) == ("é", ["b"])
    assert "id" not in told(frame)
    scorer, _ = load(lambda *_: frame, NUMBER)
    (answer,) = ask(scorer, {**DOCUMENT, "outputs": [{"name": "c"}]})
    assert error(answer) == (400, "outputs: The model has no output 'c'; there are: 'a', 'b'.")


def test_outputs_in_binary_follow_the_json() -> None:
    frame = pd.DataFrame({"f": np.array([1.5, np.nan], dtype="float32"), "s": ["é", ""], "i": [1, 2]})
    scorer, _ = load(lambda *_: frame, NUMBER)
    wanted = [{"name": "f", "parameters": {"binary_data": True}}, {"name": "i"}]
    wanted.append({"name": "s", "parameters": {"binary_data": True}})
    (answer,) = ask(scorer, {**DOCUMENT, "outputs": wanted})
    content_type, size = wire.split_type(answer.content_type)
    assert content_type == b"application/octet-stream"
    document = json.loads(answer.body[: int(size)])
    numbers, whole, texts = document["outputs"]
    assert (numbers["parameters"]["binary_data_size"], "data" in numbers) == (8, False)
    assert whole["data"] == [1, 2]
    rest = answer.body[int(size) :]
    assert np.array_equal(np.frombuffer(rest[:8], "<f4"), [1.5, np.nan], equal_nan=True)
    assert rest[8:] == b"\2\0\0\0\xc3\xa9\0\0\0\0"
    assert texts["parameters"]["binary_data_size"] == len(rest) - 8


def test_what_has_no_form_is_the_models_fault() -> None:
    scorer, _ = load(lambda *_: [object(), object()], NUMBER)
    (answer,) = ask(scorer, DOCUMENT)
    status, message = error(answer)
    assert (status, answer.flags) == (500, wire.FLAG_MODEL_ERROR)
    assert "no JSON form" in message
