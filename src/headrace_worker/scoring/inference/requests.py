"""From the body of an inference request to its tensors, still encoded. Pure: no NumPy.

The rules are those of the Open Inference Protocol's ``$inference_request``, and of its binary tensor extension: what
comes after the JSON is the data of those inputs, in order, whose parameters say ``binary_data_size``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from headrace_worker.scoring.errors.refusal import Refusal

MAX_DIMENSIONS = 32
"""NumPy's own bound before its version 2."""

MAX_SIZE = 2**31

RESERVED = frozenset(
    (
        "content_type",
        "headers",
        "binary_data_output",
        "binary_data_size",
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
    )
)
"""Parameters of a request that are the protocol's, its extensions' or its servers'; all others are the model's."""


class Tensor(NamedTuple):
    """One input. `data` is what its JSON says, None where `raw` has it in binary; `where` names it in messages."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content_type: str | None
    data: Any
    raw: memoryview | None
    where: str

    @property
    def elements(self) -> int:
        """How many elements the shape has."""
        return math.prod(self.shape)


class Wanted(NamedTuple):
    """One output that is asked for."""

    name: str
    is_binary: bool


class Request(NamedTuple):
    """A request. `params` are the model's; `outputs` None: all are wanted, in binary if `all_binary`."""

    id: str | None
    content_type: str | None
    params: dict[str, Any]
    inputs: list[Tensor]
    outputs: list[Wanted] | None
    all_binary: bool


def read(document: Any, rest: memoryview) -> Request:
    """Read a request from its parsed JSON and the bytes behind that; raises Refusal (400)."""
    if type(document) is not dict:
        raise refused("The body must be a JSON object with 'inputs'.")
    identity = document.get("id")
    if identity is not None and type(identity) is not str:
        raise refused("'id' must be a text.", "id")
    parameters = _parameters(document, "")
    given = document.get("inputs")
    if type(given) is not list or not given:
        raise refused("'inputs' must be a list of at least one tensor.", "inputs")
    inputs: list[Tensor] = []
    for place, one in enumerate(given):
        tensor, rest = _tensor(one, f"inputs[{place}]", rest)
        inputs.append(tensor)
    if len(rest):
        raise refused(f"{len(rest)} bytes follow the last tensor; 'binary_data_size' and the body do not fit.")
    if len({tensor.name for tensor in inputs}) != len(inputs):
        raise refused("Two inputs have the same name.", "inputs")
    all_binary = _flag(parameters, "binary_data_output", "parameters", default=False)
    return Request(
        identity,
        _content_type(parameters, ""),
        {name: value for name, value in parameters.items() if name not in RESERVED},
        inputs,
        _outputs(document.get("outputs"), all_binary=all_binary),
        all_binary,
    )


def refused(message: str, path: str = "") -> Refusal:
    """A fault of the caller's."""
    return Refusal(400, "INVALID_PARAMETER_VALUE", message, path)


def _tensor(value: Any, where: str, rest: memoryview) -> tuple[Tensor, memoryview]:
    """(an input, what of the binary data is left)."""
    if type(value) is not dict:
        raise refused("A tensor must be a JSON object.", where)
    name, datatype = value.get("name"), value.get("datatype")
    if type(name) is not str or type(datatype) is not str:
        raise refused("A tensor needs a 'name' and a 'datatype', both texts.", where)
    where = f"{where} ('{name[:100]}')"
    shape = _shape(value.get("shape"), where)
    parameters = _parameters(value, where)
    size = parameters.get("binary_data_size")
    content_type = _content_type(parameters, where)
    if size is None:
        if "data" not in value:
            raise refused("It has neither 'data' nor 'binary_data_size'.", where)
        return Tensor(name, datatype, shape, content_type, value["data"], None, where), rest
    if type(size) is not int or size < 0:
        raise refused("'binary_data_size' must be a number of bytes.", where)
    if "data" in value:
        raise refused("It has both 'data' and 'binary_data_size'.", where)
    if size > len(rest):
        raise refused(f"It should have {size} bytes of binary data; only {len(rest)} are left.", where)
    return Tensor(name, datatype, shape, content_type, None, rest[:size], where), rest[size:]


def _shape(value: Any, where: str) -> tuple[int, ...]:
    if type(value) is not list or any(type(size) is not int or not 0 <= size < MAX_SIZE for size in value):
        raise refused("'shape' must be a list of whole numbers from 0.", where)
    if len(value) > MAX_DIMENSIONS:
        raise refused(f"'shape' has {len(value)} dimensions; at most {MAX_DIMENSIONS} are taken.", where)
    return tuple(value)


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    found = owner.get("parameters")
    if found is None:
        return {}
    if type(found) is not dict:
        raise refused("'parameters' must be a JSON object.", where or "parameters")
    return found


def _content_type(parameters: dict[str, Any], where: str) -> str | None:
    found = parameters.get("content_type")
    if found is not None and type(found) is not str:
        raise refused("'content_type' must be a text.", where or "parameters")
    return found


def _flag(parameters: dict[str, Any], name: str, where: str, *, default: bool) -> bool:
    found = parameters.get(name, default)
    if type(found) is not bool:
        raise refused(f"'{name}' must be true or false.", where)
    return found


def _outputs(value: Any, *, all_binary: bool) -> list[Wanted] | None:
    if value is None or value == []:
        return None
    if type(value) is not list:
        raise refused("'outputs' must be a list.", "outputs")
    wanted = []
    for place, one in enumerate(value):
        where = f"outputs[{place}]"
        if type(one) is not dict or type(one.get("name")) is not str:
            raise refused("An output that is asked for needs a 'name'.", where)
        wanted.append(Wanted(one["name"], _flag(_parameters(one, where), "binary_data", where, default=all_binary)))
    return wanted
