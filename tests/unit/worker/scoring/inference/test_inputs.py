"""What a model is given for tensors of each content type."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types import ColSpec, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array, DataType

from headrace_worker.scoring.inference import tensors
from tests.unit.worker.models import load
from tests.unit.worker.scoring.inference.asking import ask, error, outputs, tensor

pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS = Schema(
    [
        ColSpec("double", "d"),
        ColSpec("long", "l", required=False),
        ColSpec("string", "s", required=False),
        ColSpec("binary", "b", required=False),
        ColSpec("datetime", "t", required=False),
        ColSpec(Array(DataType.double), "a", required=False),
    ]
)
TENSOR = Schema([TensorSpec(np.dtype("float32"), (-1, 2))])
NAMED = Schema([TensorSpec(np.dtype("float32"), (-1, 2), "x"), TensorSpec(np.dtype("int64"), (-1,), "n")])


def seen(inputs: Schema | None, *given: dict[str, Any], raw: bytes = b"", **parameters: Any) -> Any:
    """What the model is given for these tensors."""
    scorer, impl = load(lambda data, _: [0] * len(data), inputs)
    document: dict[str, Any] = {"inputs": list(given)}
    if parameters:
        document["parameters"] = parameters
    (answer,) = ask(scorer, document, raw=raw, is_binary=bool(raw))
    assert answer.status == 200, answer
    (call,) = impl.calls
    return call


def test_columns_become_a_dataframe_with_the_types_of_the_signature() -> None:
    frame = seen(
        COLUMNS,
        tensor("d", "FP64", [1.5, None]),
        tensor("l", "INT64", [[2**53 + 1], [1]], [2, 1]),
        tensor("s", "BYTES", ["a", "b"]),
        tensor("b", "BYTES", ["AAEC", "AA=="]),
        tensor("t", "BYTES", ["2024-01-31T10:00:00Z", "2024-02-01"]),
        tensor("a", "BYTES", ["[1.5, 2.5]", "[]"]),
    )
    assert list(frame) == ["d", "l", "s", "b", "t", "a"]
    assert frame["d"].dtype == "float64"
    assert frame["l"].tolist() == [2**53 + 1, 1]
    assert frame["s"].tolist() == ["a", "b"]
    assert frame["b"].tolist() == [b"\0\1\2", b"\0"]
    assert frame["t"].tolist() == [pd.Timestamp("2024-01-31 10:00"), pd.Timestamp("2024-02-01")]
    assert [list(one) for one in frame["a"]] == [[1.5, 2.5], []]


def test_a_column_of_lists_may_be_a_tensor_of_numbers() -> None:
    frame = seen(COLUMNS, tensor("d", "FP64", [1]), tensor("a", "FP64", [1, 2, 3], [1, 3], content_type="np"))
    assert [list(one) for one in frame["a"]] == [[1.0, 2.0, 3.0]]


def test_tensors_become_arrays() -> None:
    array = seen(TENSOR, tensor("any", "FP32", [[1, 2], [3, 4]], [2, 2]))
    assert (array.dtype, array.tolist()) == (np.float32, [[1, 2], [3, 4]])
    arrays = seen(NAMED, tensor("n", "INT64", [7, 8]), tensor("x", "FP32", [1, 2, 3, 4], [2, 2]))
    assert (arrays["x"].tolist(), arrays["n"].tolist()) == ([[1, 2], [3, 4]], [7, 8])


def test_without_a_signature_the_tensors_say_what_they_are() -> None:
    assert seen(None, tensor("x", "BYTES", ["a", "b"], [2, 1])) == ["a", "b"]
    assert seen(None, tensor("x", "FP64", [1, 2], [1, 2])).tolist() == [[1, 2]]
    assert list(seen(None, tensor("x", "FP64", [1]), tensor("y", "BYTES", ["a"]))) == ["x", "y"]
    texts = seen(None, tensor("x", "BYTES", ["a", "bc"], [1, 2]), content_type="np")
    assert (texts.dtype.kind, texts.tolist()) == ("U", [["a", "bc"]])
    assert list(seen(None, tensor("x", "FP64", [1]), content_type="dict")) == ["x"]
    (when,) = seen(
        None, tensor("x", "BYTES", ["2024-01-31T11:00:00+01:00"], content_type="datetime"), content_type="str"
    )
    assert when == dt.datetime(2024, 1, 31, 10)  # noqa: DTZ001 - what a column of dates has


def test_binary_data_reaches_the_model_as_it_is_and_may_be_written_to() -> None:
    raw = np.array([1.5, 2.5], dtype="<f4").tobytes()
    one: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    array = seen(TENSOR, one, raw=raw)
    assert array.tolist() == [[1.5, 2.5]]
    array[0] = 0
    packed = tensors.packed([b"AAEC"])
    image = {"name": "b", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
    assert seen(COLUMNS, tensor("d", "FP64", [1]), image, raw=packed)["b"].tolist() == [b"AAEC"], "no base64: binary"


def test_params_reach_the_model() -> None:
    def answer(data: Any, params: Any) -> Any:
        return [params["k"]] * len(data)

    scorer, _ = load(answer, COLUMNS, params=[ParamSpec("k", "long", 1)])
    ours = {"content_type": "pd", "binary_data_output": False, "k": 3}
    plain: dict[str, Any] = {"inputs": [tensor("d", "FP64", [1])]}
    answers = ask(scorer, {**plain, "parameters": ours}, plain)
    assert [outputs(one) for one in answers] == [{"output-1": [3]}, {"output-1": [1]}]


@pytest.mark.parametrize(
    ("inputs", "document", "says"),
    [
        (COLUMNS, {"inputs": [tensor("l", "INT64", [1])]}, "missing inputs ['d']"),
        (COLUMNS, {"inputs": [tensor("d", "BYTES", ["x"])]}, "d"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1]), tensor("l", "INT64", [1, 2])]}, "different numbers of rows"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1], [])]}, "dimension for the rows"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1], content_type="str")]}, "Only tensors of BYTES"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1], content_type="odd")]}, "'odd'"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1])], "parameters": {"content_type": "odd"}}, "'odd'"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1]), tensor("t", "BYTES", ["soon"])]}, "ISO 8601"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1]), tensor("a", "BYTES", ["["])]}, "JSON"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1]), tensor("b", "BYTES", ["é"])]}, "base64"),
        (COLUMNS, {"inputs": [tensor("d", "FP64", [1]), tensor("s", "BYTES", ["a", "b"], [1, 2])]}, "[rows, 1]"),
        (TENSOR, {"inputs": [tensor("a", "FP32", [1, 2], [1, 2]), tensor("b", "FP32", [1])]}, "has one input"),
        (TENSOR, {"inputs": [tensor("a", "FP32", [1, 2, 3], [1, 3])]}, "shape"),
        (TENSOR, {"inputs": [tensor("a", "FP64", [1, 2], [1, 2])]}, "float32"),
    ],
)
def test_inputs_that_do_not_fit_are_the_callers_fault(inputs: Schema, document: Any, says: str) -> None:
    scorer, impl = load(lambda data, _: [0] * len(data), inputs)
    (answer,) = ask(scorer, document)
    status, message = error(answer)
    assert status == 400
    assert says in message
    assert impl.calls == []
