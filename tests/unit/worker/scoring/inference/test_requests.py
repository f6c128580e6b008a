"""What an inference request must look like, and what is said of one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_worker.scoring.errors.refusal import Refusal
from headrace_worker.scoring.inference.requests import Wanted, read

X = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}


def test_ids_params_and_outputs_are_read() -> None:
    document = {
        "id": "7",
        "parameters": {"content_type": "pd", "headers": {}, "binary_data_output": True, "threshold": 0.5},
        "inputs": [X],
        "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
    }
    request = read(document, memoryview(b""))
    assert (request.id, request.content_type, request.params) == ("7", "pd", {"threshold": 0.5})
    assert request.outputs == [Wanted("a", is_binary=True), Wanted("b", is_binary=False)]
    assert read({"inputs": [X], "outputs": []}, memoryview(b"")).outputs is None


def test_binary_data_is_given_out_in_the_order_of_the_inputs() -> None:
    def cut(name: str, size: int) -> dict[str, Any]:
        return {"name": name, "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}

    inputs = read({"inputs": [cut("a", 2), X, cut("b", 3)]}, memoryview(b"aabbb")).inputs
    assert [bytes(one.raw) if one.raw is not None else None for one in inputs] == [b"aa", None, b"bbb"]


@pytest.mark.parametrize(
    ("document", "rest", "says"),
    [
        ([], b"", "JSON object"),
        ({}, b"", "'inputs'"),
        ({"inputs": []}, b"", "at least one"),
        ({"inputs": [X], "id": 1}, b"", "'id'"),
        ({"inputs": [X], "parameters": []}, b"", "'parameters'"),
        ({"inputs": [X], "parameters": {"content_type": 1}}, b"", "'content_type'"),
        ({"inputs": [X], "parameters": {"binary_data_output": 1}}, b"", "'binary_data_output'"),
        ({"inputs": [X], "outputs": {}}, b"", "'outputs'"),
        ({"inputs": [X], "outputs": [{}]}, b"", "'name'"),
        ({"inputs": [X], "outputs": [{"name": "a", "parameters": {"binary_data": 1}}]}, b"", "'binary_data'"),
        ({"inputs": [1]}, b"", "a JSON object"),
        ({"inputs": [{"name": "x", "shape": [1]}]}, b"", "'datatype'"),
        ({"inputs": [{**X, "shape": None}]}, b"", "'shape'"),
        ({"inputs": [{**X, "shape": [-1]}]}, b"", "'shape'"),
        ({"inputs": [{**X, "shape": [True]}]}, b"", "'shape'"),
        ({"inputs": [{**X, "shape": [1] * 33}]}, b"", "33 dimensions"),
        ({"inputs": [{**X, "parameters": 1}]}, b"", "'parameters'"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, b"", "neither"),
        ({"inputs": [{**X, "parameters": {"binary_data_size": 0}}]}, b"", "both"),
        ({"inputs": [{**X, "data": 0, "parameters": {"binary_data_size": "1"}}]}, b"", "number of bytes"),
        ({"inputs": [X, X]}, b"", "same name"),
        ({"inputs": [X]}, b"12", "2 bytes follow"),
    ],
)
def test_what_is_no_request_is_refused(document: Any, rest: bytes, says: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(document, memoryview(rest))
    assert refused.value.status == 400
    assert says in refused.value.message


def test_truncated_binary_data_is_refused() -> None:
    one = {"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
    with pytest.raises(Refusal, match="should have 4 bytes of binary data; only 3"):
        read({"inputs": [one]}, memoryview(b"123"))
