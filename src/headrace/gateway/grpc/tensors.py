"""Inference messages as the REST form of the protocol with its binary tensors has them, and back.

A request becomes JSON with the data of its tensors in binary behind it, whichever way the client sent them; from there
on it is like any other request of the protocol. An answer is told the way the request was: raw, or in typed contents.
"""

from __future__ import annotations

import json
import math
import struct
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from headrace.gateway.grpc import schema
from headrace.gateway.grpc.schema import Malformed

BYTES = "BYTES"

# What a datatype's elements are called in `struct`, and which field of the typed contents holds them.
_TYPES: dict[str, tuple[str, str]] = {
    "BOOL": ("?", "bool_contents"),
    "INT8": ("b", "int_contents"),
    "INT16": ("h", "int_contents"),
    "INT32": ("i", "int_contents"),
    "INT64": ("q", "int64_contents"),
    "UINT8": ("B", "uint_contents"),
    "UINT16": ("H", "uint_contents"),
    "UINT32": ("I", "uint_contents"),
    "UINT64": ("Q", "uint64_contents"),
    "FP16": ("e", ""),
    "FP32": ("f", "fp32_contents"),
    "FP64": ("d", "fp64_contents"),
}
_LENGTH = struct.Struct("<I")
_RAW_OUTPUT = b"\x32"
"""The tag of `raw_output_contents`: field 6, with a length."""

_MAX_REMEMBERED = 256
_MAX_REMEMBERED_BYTES = 4096

InferRequest = schema.kind("inference.ModelInferRequest")
InferResponse = schema.kind("inference.ModelInferResponse")


class Asked(NamedTuple):
    """An inference request: `body` begins with `json_bytes` of JSON. `raw`: its tensors came in raw contents."""

    model: str
    version: str
    body: bytes
    json_bytes: int
    raw: bool


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Answer(msgspec.Struct):
    outputs: list[_Output]
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Any] = {}


_answers = msgspec.json.Decoder(_Answer)
_heads: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
_prefixes: dict[bytes, tuple[bytes, list[int]]] = {}


def read_request(data: bytes) -> Asked:
    """Read a ModelInferRequest, whose outputs are asked for in binary. Raises Malformed for one that is wrong."""
    request = schema.parse(InferRequest, data)
    raw = list(request.raw_input_contents)
    if not raw:
        packed = [_packed(one, f"inputs[{at}] ('{one.name[:100]}')") for at, one in enumerate(request.inputs)]
        return _asked(request, _head(request, packed), packed, raw=False)
    # All but the data is the same in most requests of a client: it is written once.
    del request.raw_input_contents[:]
    said = schema.encode(request)
    key = (said, tuple(map(len, raw)))
    head = _heads.get(key)
    if head is None:
        if len(raw) != len(request.inputs):
            told = f"There are {len(request.inputs)} inputs and {len(raw)} raw_input_contents"
            raise Malformed(f"{told}: each input needs its own.")
        for at, one in enumerate(request.inputs):
            if one.HasField("contents"):
                raise Malformed(f"inputs[{at}] ('{one.name[:100]}'): It has both contents and raw_input_contents.")
        head = _head(request, raw)
        _remember(_heads, key, head, len(said))
    return _asked(request, head, raw, raw=True)


def _asked(request: Any, head: bytes, packed: list[bytes], *, raw: bool) -> Asked:
    return Asked(request.model_name, request.model_version, b"".join((head, *packed)), len(head), raw)


def _head(request: Any, packed: list[bytes]) -> bytes:
    """The JSON of a request whose tensors have these data."""
    inputs = []
    for tensor, data in zip(request.inputs, packed, strict=True):
        parameters = _parameters(tensor.parameters)
        parameters["binary_data_size"] = len(data)
        inputs.append(
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "datatype": tensor.datatype,
                "parameters": parameters,
            }
        )
    asked: dict[str, Any] = {"inputs": inputs, "parameters": _parameters(request.parameters)}
    asked["parameters"]["binary_data_output"] = True
    if request.id:
        asked["id"] = request.id
    if request.outputs:
        asked["outputs"] = [
            {"name": one.name, "parameters": {**_parameters(one.parameters), "binary_data": True}}
            for one in request.outputs
        ]
    return msgspec.json.encode(asked)


def encoded(body: bytes, json_bytes: int, *, raw: bool) -> bytes:
    """The bytes of the same message as `response` makes. What is not data is the same in most answers: see there."""
    key = body[:json_bytes]
    found = _prefixes.get(key) if raw and json_bytes else None
    if found is None:
        made = response(body, json_bytes, raw=raw)
        if not raw or not json_bytes or len(made.raw_output_contents) != key.count(b'"binary_data_size"'):
            return schema.encode(made)
        sizes = [len(one) for one in made.raw_output_contents]
        del made.raw_output_contents[:]
        found = schema.encode(made), sizes
        _remember(_prefixes, key, found, len(key))
    parts, at = [found[0]], json_bytes
    for size in found[1]:
        parts += (_RAW_OUTPUT, schema.varint(size), body[at : at + size])
        at += size
    return b"".join(parts)


def _remember(memory: dict[Any, Any], key: Any, value: Any, size: int) -> None:
    if size > _MAX_REMEMBERED_BYTES:
        return
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = value


def response(body: bytes, json_bytes: int, *, raw: bool) -> Any:
    """The ModelInferResponse of an answer, of which `json_bytes` (0: all) are JSON."""
    at = json_bytes or len(body)
    told = _answers.decode(body[:at])
    made = InferResponse(model_name=told.model_name, model_version=told.model_version, id=told.id)
    _set(made.parameters, told.parameters)
    # There is no field for halves but the raw one, and either all are raw or none.
    raw = raw or any(not _TYPES.get(one.datatype, ("", BYTES))[1] for one in told.outputs)
    for one in told.outputs:
        size = one.parameters.pop("binary_data_size", None)
        if size is None:
            packed = _packed_json(one)
        else:
            packed = body[at : at + size]
            at += size
        output = made.outputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        _set(output.parameters, one.parameters)
        if raw:
            made.raw_output_contents.append(packed)
        else:
            _unpack(one.datatype, packed, output.contents)
    return made


def _packed(tensor: Any, where: str) -> bytes:
    """The typed contents of an input in binary; raises Malformed."""
    datatype, contents = tensor.datatype, tensor.contents
    if datatype == BYTES:
        letter, field = "", "bytes_contents"
    else:
        letter, field = _TYPES.get(datatype, ("", ""))
        if not field:
            known = ", ".join([*(name for name, (_, held) in _TYPES.items() if held), BYTES])
            raise Malformed(f"{where}: There are no typed contents for the datatype '{datatype[:100]}', only {known}.")
    for other, _ in contents.ListFields():
        if other.name != field:
            raise Malformed(f"{where}: Data of the datatype {datatype} belongs into {field}, not into {other.name}.")
    values = getattr(contents, field)
    if datatype == BYTES:
        return b"".join(chain.from_iterable((_LENGTH.pack(len(one)), one) for one in values))
    try:
        return struct.pack(f"<{len(values)}{letter}", *values)
    except struct.error:
        raise Malformed(f"{where}: The data has values that are no {datatype}.") from None


def _packed_json(output: _Output) -> bytes:
    """The data of an output in JSON, in binary."""
    data = output.data or []
    if output.datatype == BYTES:
        texts = ["" if one is None else one if type(one) is str else json.dumps(one) for one in data]
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(one)), one) for one in encoded))
    letter = _TYPES[output.datatype][0]
    return struct.pack(f"<{len(data)}{letter}", *(math.nan if one is None else one for one in data))


def _unpack(datatype: str, packed: bytes, contents: Any) -> None:
    if datatype == BYTES:
        at = 0
        while at < len(packed):
            end = at + 4 + _LENGTH.unpack_from(packed, at)[0]
            contents.bytes_contents.append(packed[at + 4 : end])
            at = end
        return
    letter, field = _TYPES[datatype]
    values = struct.unpack(f"<{len(packed) // struct.calcsize(letter)}{letter}", packed)
    getattr(contents, field).extend(values)


def _parameters(given: Any) -> dict[str, Any]:
    """InferParameters as JSON has them; one that is not set is left out."""
    found = {}
    for name in given:
        value = given[name]
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            found[name] = getattr(value, choice)
    return found


def _set(parameters: Any, told: dict[str, Any]) -> None:
    for name, value in told.items():
        if value is True or value is False:
            parameters[name].bool_param = value
        elif type(value) is int and -(2**63) <= value < 2**63:
            parameters[name].int64_param = value
        elif type(value) is float:
            parameters[name].double_param = value
        else:
            parameters[name].string_param = value if type(value) is str else json.dumps(value)
