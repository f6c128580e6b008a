"""What metadata says of signatures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.core.contract import about, tensors


def told(inputs: Any, outputs: Any = None) -> dict[str, Any]:
    signature = {"inputs": json.dumps(inputs), "outputs": None if outputs is None else json.dumps(outputs)}
    return tensors.metadata("m", ["3"], about.decode(about.encode({"signature": signature}, None)))


def test_columns_have_the_names_and_datatypes_of_the_signature() -> None:
    kinds = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime", "array")
    found = told([{"name": f"c-{kind}", "type": kind} for kind in kinds])
    assert [(one["name"], one["datatype"], one["parameters"]["content_type"]) for one in found["inputs"]] == [
        ("c-boolean", "BOOL", "np"), ("c-integer", "INT32", "np"), ("c-long", "INT64", "np"),
        ("c-float", "FP32", "np"), ("c-double", "FP64", "np"), ("c-string", "BYTES", "str"),
        ("c-binary", "BYTES", "base64"), ("c-datetime", "BYTES", "datetime"), ("c-array", "BYTES", "pd_json"),
    ]  # fmt: skip
    assert {tuple(one["shape"]) for one in found["inputs"]} == {(-1, 1)}
    assert (found["name"], found["versions"], found["parameters"]) == ("m", ["3"], {"content_type": "pd"})


def test_tensors_have_their_shapes_and_unnamed_ones_the_names_of_mlserver() -> None:
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}
    found = told([spec], [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}])
    assert found["parameters"] == {"content_type": "np"}
    assert (found["inputs"][0]["name"], found["inputs"][0]["shape"]) == ("input-0", [-1, 2])
    (output,) = found["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output-1", "INT64", [-1, 1])
    assert told([{**spec, "name": "x"}])["parameters"] == {"content_type": "dict"}


@pytest.mark.parametrize("signature", [None, "", {}, {"inputs": "["}, {"inputs": 1}, {"inputs": '[1, {"type": []}]'}])
def test_whatever_the_signature_is_something_is_told(signature: Any) -> None:
    found = tensors.metadata("m", [], about.decode(about.encode({"signature": signature}, b"{")))
    assert found["name"] == "m"
    assert found["outputs"] == []


def test_a_signature_that_is_too_large_is_left_out_and_a_large_example_too() -> None:
    many = json.dumps([{"name": f"column-{i}", "type": "double"} for i in range(20_000)])
    found = about.decode(about.encode({"signature": {"inputs": many}, "streams": True}, b"{}"))
    assert (found.whole, found.inputs, found.streams) == (False, [], True)
    assert about.decode(about.encode({}, b'{"instances": [1]}')).example == {"instances": [1]}
    assert about.decode(about.encode({}, b'"' + b"a" * about.MOST_EXAMPLE_BYTES + b'"')).example is None
    assert about.decode("") == about.About()
