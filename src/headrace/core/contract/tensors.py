"""A model's signature as the metadata of the Open Inference Protocol: tensors with names, datatypes and shapes. Pure.

Names, datatypes and content types are those that MLServer's runtime for MLflow models gives, but for outputs without a
name: they are told by the name that answers have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.core.contract.about import About

PLATFORM = "mlflow"
ONLY_OUTPUT = "output-1"
"""What the one output of a model is called whose signature does not name it."""

_COLUMNS = {
    "boolean": ("BOOL", "np"),
    "integer": ("INT32", "np"),
    "long": ("INT64", "np"),
    "float": ("FP32", "np"),
    "double": ("FP64", "np"),
    "string": ("BYTES", "str"),
    "binary": ("BYTES", "base64"),
    "datetime": ("BYTES", "datetime"),
}
DATATYPES = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
DATATYPES |= {f"{kind}{bits}": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def metadata(name: str, versions: Sequence[str], about: About) -> dict[str, Any]:
    """What ``GET /v2/models/NAME`` says."""
    outputs = [_tensor(spec, f"output-{i}") for i, spec in enumerate(about.outputs)]
    if len(outputs) == 1:
        outputs[0]["name"] = about.outputs[0].get("name") or ONLY_OUTPUT
        if len(outputs[0]["shape"]) == 1:
            outputs[0]["shape"].append(1)  # answers have a shape of at least two dimensions
    told: dict[str, Any] = {
        "name": name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_tensor(spec, f"input-{i}") for i, spec in enumerate(about.inputs)],
        "outputs": outputs,
    }
    content_type = request_content_type(about)
    return told if content_type is None else {**told, "parameters": {"content_type": content_type}}


def request_content_type(about: About) -> str | None:
    """What the inputs of a request are put together to: ``pd``, ``np`` or ``dict``; None: nothing is known of them."""
    if not about.inputs:
        return None
    if about.inputs[0].get("type") != "tensor":
        return "pd"
    return "dict" if about.inputs[0].get("name") else "np"


def _tensor(spec: dict[str, Any], unnamed: str) -> dict[str, Any]:
    datatype, content_type, shape = "BYTES", "pd_json", [-1, 1]
    kind = spec.get("type")
    if kind == "tensor":
        tensor = spec.get("tensor-spec")
        tensor = tensor if isinstance(tensor, dict) else {}
        datatype, content_type = DATATYPES.get(str(tensor.get("dtype")), "BYTES"), "np"
        sizes = tensor.get("shape")
        shape = [size for size in sizes if isinstance(size, int)] if isinstance(sizes, list) else [-1]
    elif isinstance(kind, str) and kind in _COLUMNS:
        datatype, content_type = _COLUMNS[kind]
    name = spec.get("name")
    told = {"name": str(name) if name not in {None, ""} else unnamed, "datatype": datatype, "shape": shape}
    return {**told, "parameters": {"content_type": content_type}}
