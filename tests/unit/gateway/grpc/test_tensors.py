"""Inference messages and their REST form: nothing is lost on the way, and what is wrong is refused by name."""

from __future__ import annotations

import contextlib
import json
import math
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.grpc import events, inbox, requests, schema, status, tensors
from headrace.gateway.grpc.schema import Malformed
from tests.grpc_rig.client import message, packed, raw, texts

FIELDS = {
    "BOOL": ("bool_contents", st.booleans()),
    "INT8": ("int_contents", st.integers(-(2**7), 2**7 - 1)),
    "INT32": ("int_contents", st.integers(-(2**31), 2**31 - 1)),
    "INT64": ("int64_contents", st.integers(-(2**63), 2**63 - 1)),
    "UINT16": ("uint_contents", st.integers(0, 2**16 - 1)),
    "UINT64": ("uint64_contents", st.integers(0, 2**64 - 1)),
    "FP32": ("fp32_contents", st.floats(width=32, allow_nan=False)),
    "FP64": ("fp64_contents", st.floats(allow_nan=False)),
    "BYTES": ("bytes_contents", st.binary(max_size=9)),
}


def answered(asked: tensors.Asked) -> bytes:
    """The REST answer of a model that gives its inputs back."""
    head = json.loads(asked.body[: asked.json_bytes])
    told = {"model_name": asked.model, "model_version": "1", "outputs": head["inputs"], "parameters": {"k": 0.5}}
    return json.dumps(told).encode()


@given(st.sampled_from(sorted(FIELDS)).flatmap(lambda d: st.tuples(st.just(d), st.lists(FIELDS[d][1], max_size=5))))
def test_typed_contents_come_back_as_they_went(given_data: tuple[str, list[Any]]) -> None:
    datatype, values = given_data
    field, _ = FIELDS[datatype]
    request = message("ModelInferRequest", model_name="m")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[len(values)])
    getattr(tensor.contents, field).extend(values)
    asked = tensors.read_request(request.SerializeToString())
    head = answered(asked)
    body = head + asked.body[asked.json_bytes :]
    made = tensors.response(body, len(head), raw=asked.raw)
    assert list(getattr(made.outputs[0].contents, field)) == values
    in_binary = tensors.response(body, len(head), raw=True)
    for _ in range(2):  # what is remembered is told as it was
        assert tensors.InferResponse.FromString(tensors.encoded(body, len(head), raw=True)) == in_binary
    assert in_binary.raw_output_contents[0] == asked.body[asked.json_bytes :]


def test_parameters_ids_and_outputs_are_handed_on() -> None:
    request = raw("m", "a", id="7", model_version="2")
    request.parameters["times"].int64_param = 3
    request.parameters["deep"].bool_param = True
    request.parameters["nothing"].ClearField("int64_param")
    request.inputs[0].parameters["content_type"].string_param = "str"
    request.outputs.add(name="y")
    first = tensors.read_request(request.SerializeToString())
    asked = tensors.read_request(request.SerializeToString())
    assert first == asked
    told = json.loads(asked.body[: asked.json_bytes])
    assert (asked.model, asked.version, asked.raw, told["id"]) == ("m", "2", True, "7")
    assert told["parameters"] == {"times": 3, "deep": True, "binary_data_output": True}
    assert told["inputs"][0]["parameters"] == {"content_type": "str", "binary_data_size": 5}
    assert told["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
    assert asked.body[asked.json_bytes :] == packed("a")


def test_answers_in_json_become_messages_too() -> None:
    outputs = [
        {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.5, None], "parameters": {"content_type": "np"}},
        {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["é", None], "parameters": {}},
        {"name": "h", "shape": [1], "datatype": "FP16", "data": [0.5], "parameters": {}},
    ]
    body = json.dumps({"model_name": "m", "id": "1", "outputs": outputs[:2]}).encode()
    typed = tensors.response(body, 0, raw=False)
    assert typed.outputs[0].contents.fp32_contents[0] == 1.5
    assert math.isnan(typed.outputs[0].contents.fp32_contents[1])
    assert list(typed.outputs[1].contents.bytes_contents) == ["é".encode(), b""]
    assert typed.outputs[0].parameters["content_type"].string_param == "np"
    halves = tensors.response(json.dumps({"outputs": outputs}).encode(), 0, raw=False)
    assert halves.raw_output_contents[2] == struct.pack("<e", 0.5)


def test_what_is_wrong_is_named() -> None:
    cases = []
    request = raw("m", "a")
    request.raw_input_contents.append(b"")
    cases.append((request, "There are 1 inputs and 2 raw_input_contents"))
    request = texts("m", "a")
    request.raw_input_contents.append(b"")
    cases.append((request, "both contents and raw_input_contents"))
    request = texts("m", "a")
    request.inputs[0].datatype = "FP32"
    cases.append((request, "belongs into fp32_contents, not into bytes_contents"))
    request = texts("m", "a")
    request.inputs[0].datatype = "FP16"
    cases.append((request, "no typed contents for the datatype 'FP16'"))
    request = message("ModelInferRequest")
    request.inputs.add(name="x", datatype="INT8", shape=[1]).contents.int_contents.append(128)
    cases.append((request, "values that are no INT8"))
    for one, says in cases:
        with pytest.raises(Malformed, match=re.escape(says)):
            tensors.read_request(one.SerializeToString())


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        tensors.read_request(data)


@given(st.data())
def test_no_damaged_request_is_more_than_malformed(data: st.DataObject) -> None:
    whole = bytearray(texts("m", "a", "b", id="1").SerializeToString() + raw("m", "c").SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        tensors.read_request(bytes(whole))


def test_the_description_is_what_the_protos_say() -> None:
    """`make protos` writes one from the other."""
    folder = Path(schema.__file__).with_name("protos")
    for file in folder.glob("*.proto"):
        text = file.read_text()
        described = schema.POOL.FindFileByName(file.name)
        said = set(re.findall(r"(\w+) = \d+;", text)) | set(re.findall(r"(?:message|service|rpc|enum) (\w+)", text))
        names = str(described.serialized_pb)
        assert all(name in names for name in said), file.name
        numbers = {(m.name, f.name, f.number) for m in described.message_types_by_name.values() for f in m.fields}
        for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            own = re.sub(r"  (?:message|enum) \w+ \{.*?\n  \}\n", "", body, flags=re.DOTALL)
            assert {(name, f, int(n)) for f, n in re.findall(r"(\w+) = (\d+);", own)} == {
                one for one in numbers if one[0] == name
            }


def test_deadlines_are_read_as_grpc_writes_them() -> None:
    for told, seconds in {b"5S": 5.0, b"2M": 120.0, b"1H": 3600.0, b"20m": 0.02, b"7u": 7e-6, b"9n": 9e-9}.items():
        assert requests.timeout_s({b"grpc-timeout": told}) == pytest.approx(seconds)
    for told in (b"", b"5", b"S", b"123456789S", b"-1S", b"1.5S"):
        assert requests.timeout_s({b"grpc-timeout": told}) is None


def test_statuses_of_http_are_codes_of_grpc() -> None:
    codes = {200: 0, 400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 422: 3, 429: 8, 500: 13, 503: 14, 504: 4}
    assert {one: status.code(one) for one in codes} == codes
    told = status.trailer(5, "nö\n%", b"retry-after: 3\r\nallow: GET\r\n")
    assert b"n%C3%B6%0A%25" in told
    assert b"retry-after" in told
    assert b"allow" not in told
    assert status.told(b'{"error": "a"}') == "a"
    assert status.told(b'{"error_code": "B", "message": "b"}') == "b"
    assert status.told(b"no json") == "no json"


def test_messages_are_unpacked_within_their_bound() -> None:
    import gzip

    def put(data: bytes, flag: int = 1) -> bytes:
        return bytes((flag,)) + len(data).to_bytes(4) + data

    for coding, compressed in ((b"gzip", gzip.compress(b"x" * 900)),):
        box = inbox.Inbox(1000, coding)
        assert box.whole(put(compressed)) == b"x" * 900
        box.add(put(b"plain", 0) + put(compressed)[:-1])
        assert box.take() == b"plain"
        assert box.take() is None
        box.add(compressed[-1:])
        assert box.take() == b"x" * 900
        with pytest.raises(inbox.TooLarge):
            box.whole(put(gzip.compress(b"x" * 100_000)))
        for wrong in (put(compressed[:-4]), put(b"nothing"), put(compressed, 2)):
            with pytest.raises(Malformed):
                box.whole(wrong)
    with pytest.raises(Malformed):
        inbox.Inbox(1000, b"snappy").whole(put(b"x"))
    box = inbox.Inbox(10, b"identity")
    box.add(put(b"x" * 11, 0)[:6])
    assert box.exceeds()
    with pytest.raises(inbox.TooLarge):
        box.take()


def test_events_are_put_together_from_their_pieces() -> None:
    data = b'data: {"a": 1}\n\ndata: 2\n\nevent: error\ndata: {"message": "no"}\n\ndata: [DONE]\n\n'
    wanted = [(False, b'{"a": 1}'), (False, b"2"), (True, b'{"message": "no"}')]
    for size in (1, 2, 7, len(data)):
        whole = events.Events(100)
        found = [one for at in range(0, len(data), size) for one in whole.feed(data[at : at + size])]
        assert found == wanted
        assert whole.held_bytes == 0
    with pytest.raises(events.TooLong):
        list(events.Events(10).feed(b"data: 12345678"))
