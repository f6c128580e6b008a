"""The example request that a model was logged with, for warming up."""

from __future__ import annotations

import json
import os
from typing import Any

SERVING_EXAMPLE = "serving_input_example.json"
MAX_EXAMPLE_BYTES = 16 * 1024 * 1024


def read_example(path: str, metadata: Any) -> bytes | None:
    """A body for ``/invocations`` from the model directory `path`, None where there is none that can be used.

    MLflow 2.15 and later store a ready one; for older models it is made of a logged DataFrame or array.
    """
    ready = os.path.join(path, SERVING_EXAMPLE)
    if _is_small(ready):
        with open(ready, "rb") as file:
            return file.read()
    info = getattr(metadata, "saved_input_example_info", None) or {}
    logged = os.path.join(path, str(info.get("artifact_path", "")))
    if not info or not _is_small(logged):
        return None
    with open(logged, "rb") as file:
        try:
            content = json.load(file)
        except ValueError:
            return None
    if info.get("type") == "dataframe" and info.get("pandas_orient") == "split" and isinstance(content, dict):
        return json.dumps({"dataframe_split": content}).encode()
    if info.get("type") == "ndarray" and isinstance(content, dict) and "inputs" in content:
        return json.dumps({"inputs": content["inputs"]}).encode()
    return None


def _is_small(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) <= MAX_EXAMPLE_BYTES
