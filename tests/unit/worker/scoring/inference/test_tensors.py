"""Every datatype from JSON and from binary, and values that are none of it."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from headrace_worker.scoring.errors.refusal import Refusal
from headrace_worker.scoring.inference import tensors
from headrace_worker.scoring.inference.requests import Tensor


def given(datatype: str, shape: tuple[int, ...], data: Any = None, raw: bytes | None = None) -> Tensor:
    return Tensor("x", datatype, shape, None, data, None if raw is None else memoryview(raw), "inputs[0]")


@pytest.mark.parametrize("datatype", tensors.DTYPES)
def test_a_number_is_the_same_from_json_and_from_binary(datatype: str) -> None:
    wanted = np.array([[0, 1], [1, 0]], dtype=tensors.DTYPES[datatype])
    data = wanted.tolist()
    for tensor in (given(datatype, (2, 2), data), given(datatype, (2, 2), raw=wanted.tobytes())):
        found = tensors.numbers(tensor)
        assert found.dtype == wanted.dtype
        assert found.tolist() == data
    assert tensors.numbers(given(datatype, (2, 2), [*data[0], *data[1]])).tolist() == data, "data may be flat"


def test_null_is_not_a_number_and_integers_keep_every_digit() -> None:
    assert np.isnan(tensors.numbers(given("FP32", (1,), [None]))[0])
    assert tensors.numbers(given("INT64", (1,), [2**53 + 1]))[0] == 2**53 + 1
    assert tensors.numbers(given("UINT64", (1,), [2**64 - 1]))[0] == 2**64 - 1
    assert tensors.numbers(given("BOOL", (2,), [1, False])).tolist() == [True, False]
    assert tensors.numbers(given("BOOL", (2,), raw=b"\2\0")).tolist() == [True, False]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]), ("UINT8", [-1]), ("UINT64", [2**64]), ("INT64", [1.0]), ("INT32", [True]), ("INT32", [None]),
        ("FP32", ["1"]), ("FP64", [True]), ("FP64", [10**400]), ("BOOL", [2]), ("BOOL", ["a"]), ("FP32", [{}]),
        ("FP32", [[1], 2]), ("FP32", 1), ("FP32", [1, 2]), ("FP32", []), ("BF16", [1]), ("FP128", [1]),
    ],
)  # fmt: skip
def test_a_value_that_is_none_of_the_datatype_is_refused(datatype: str, data: Any) -> None:
    with pytest.raises(Refusal) as refused:
        tensors.numbers(given(datatype, (1,), data))
    assert refused.value.status == 400


@pytest.mark.parametrize("raw", [b"", b"123", b"12345678"])
def test_binary_numbers_have_the_size_of_their_shape(raw: bytes) -> None:
    with pytest.raises(Refusal, match="needs 4 bytes"):
        tensors.numbers(given("FP32", (1,), raw=raw))


def test_texts_come_and_go_with_their_lengths() -> None:
    raw = tensors.packed(["", "é", b"\xff"])
    assert raw == b"\0\0\0\0" + b"\2\0\0\0\xc3\xa9" + b"\1\0\0\0\xff"
    assert tensors.elements(given("BYTES", (3,), raw=raw)) == [b"", "é".encode(), b"\xff"]
    assert tensors.elements(given("BYTES", (2, 1), [["a"], [None]])) == ["a", None]
    assert tensors.elements(given("BYTES", (1,), "one")) == ["one"]


@pytest.mark.parametrize(
    ("shape", "data", "raw"),
    [
        ((1,), [1], None), ((1,), {}, None), ((2,), ["a"], None), ((1,), None, b"\1\0\0"), ((1,), None, b"\2\0\0\0a"),
        ((2,), None, b"\1\0\0\0a"), ((1,), None, struct.pack("<I", 2**32 - 1)),
    ],
)  # fmt: skip
def test_elements_that_are_none_are_refused(shape: tuple[int, ...], data: Any, raw: bytes | None) -> None:
    with pytest.raises(Refusal):
        tensors.elements(given("BYTES", shape, data, raw))


def test_an_array_of_texts_gets_no_room_out_of_proportion() -> None:
    with pytest.raises(Refusal, match="Send fewer texts"):
        tensors.check_texts(["a" * 2**20] + [""] * 200, given("BYTES", (201,)))
