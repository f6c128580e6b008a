"""Elements of tensors: from JSON or binary to NumPy arrays and lists, and back. No conversion loses anything."""

from __future__ import annotations

import struct
from itertools import chain
from typing import Any

from headrace_worker.scoring.bodies.extent import MAX_ARRAY_BYTES
from headrace_worker.scoring.inference.requests import Tensor, refused

BYTES = "BYTES"

DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}

_LENGTH = struct.Struct("<I")
_WHOLE, _REAL, _TEXTS = {int}, {int, float, type(None)}, {str, type(None)}


def numbers(tensor: Tensor) -> Any:
    """The NumPy array of a tensor of numbers or booleans; raises Refusal where it cannot hold what was sent."""
    import numpy as np

    name = DTYPES.get(tensor.datatype)
    if name is None:
        raise refused(f"The datatype '{tensor.datatype}' is not one of {', '.join([*DTYPES, BYTES])}.", tensor.where)
    dtype = np.dtype(name)
    if tensor.raw is not None:
        if len(tensor.raw) != tensor.elements * dtype.itemsize:
            needed = tensor.elements * dtype.itemsize
            raise refused(
                f"{tensor.datatype} of shape {list(tensor.shape)} needs {needed} bytes, there are {len(tensor.raw)}.",
                tensor.where,
            )
        if dtype.kind == "b":
            return (np.frombuffer(tensor.raw, np.uint8) != 0).reshape(tensor.shape)
        return np.frombuffer(tensor.raw, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(tensor.shape)
    values, types = _leaves(tensor)
    if dtype.kind == "b":
        fits = types <= {bool} or (types <= {bool, int} and all(value in (0, 1) for value in values))
    elif dtype.kind == "f":
        fits = types <= _REAL
    else:
        bounds = np.iinfo(dtype)
        fits = types <= _WHOLE and (not values or (min(values) >= bounds.min and max(values) <= bounds.max))
    if not fits:
        raise refused(f"The data has values that are no {tensor.datatype}.", tensor.where)
    try:
        with np.errstate(all="ignore"):
            return np.array(values, dtype=dtype).reshape(tensor.shape)
    except OverflowError:
        raise refused(f"The data has numbers that are too large for {tensor.datatype}.", tensor.where) from None


def elements(tensor: Tensor) -> list[Any]:
    """The elements of a tensor of BYTES in one list: texts (or None) from JSON, bytes from binary; raises Refusal."""
    if tensor.raw is not None:
        found = _unpacked(tensor)
    else:
        found, types = _leaves(tensor)
        if not types <= _TEXTS:
            raise refused("The data of a tensor of BYTES must be texts.", tensor.where)
    return found


def text(element: Any, tensor: Tensor) -> Any:
    """The text of an element of BYTES, None for null; raises Refusal."""
    if type(element) is not bytes:
        return element
    try:
        return element.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(f"An element is no UTF-8: {error.reason} at byte {error.start}.", tensor.where) from None


def check_texts(texts: list[Any], tensor: Tensor) -> None:
    """Raise Refusal where an array of these texts would be out of proportion: each gets the room of the longest."""
    longest = max((len(one) for one in texts if one is not None), default=0)
    if 4 * len(texts) * longest > MAX_ARRAY_BYTES:
        raise refused(
            f"An array of {len(texts)} texts, the longest of {longest} characters, would take more than "
            f"{MAX_ARRAY_BYTES} bytes. Send fewer texts at a time, or the long ones by themselves.",
            tensor.where,
        )


def packed(values: list[Any]) -> bytes:
    """Texts and bytes as the binary tensor extension has them: each with its length before it."""
    parts: list[bytes] = []
    for value in values:
        data = value if type(value) is bytes else str(value).encode("utf-8", "surrogatepass")
        parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def _leaves(tensor: Tensor) -> tuple[list[Any], set[type]]:
    """(the elements, nested as they may be, in one list; their types)."""
    data = tensor.data
    if type(data) is not list:
        if tensor.datatype != BYTES or type(data) is not str:
            raise refused("'data' must be a list.", tensor.where)
        data = [data]
    types = set(map(type, data))
    while list in types:
        if types != {list}:
            raise refused("'data' has both lists and values at one depth.", tensor.where)
        data = list(chain.from_iterable(data))
        types = set(map(type, data))
    if len(data) != tensor.elements:
        raise refused(
            f"The shape {list(tensor.shape)} has {tensor.elements} elements, the data {len(data)}.", tensor.where
        )
    return data, types


def _unpacked(tensor: Tensor) -> list[bytes]:
    raw = bytes(tensor.raw or b"")
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        end = at + _LENGTH.size
        if end <= len(raw):
            end += _LENGTH.unpack_from(raw, at)[0]
        if end > len(raw):
            raise refused(f"The binary data ends within element {len(found)}.", tensor.where)
        found.append(raw[at + _LENGTH.size : end])
        at = end
    if len(found) != tensor.elements:
        raise refused(
            f"The shape {list(tensor.shape)} has {tensor.elements} elements, the binary data {len(found)}.",
            tensor.where,
        )
    return found
