"""ONNX Runtime's threads: as many as other libraries are told to start, and asleep while they wait.

It starts one for each core in each process, knows no variable that says otherwise, and lets them spin between calls:
with several replicas they fight each other, and the gateway. Its defaults are those of the object that MLflow's flavor
asks it for, so that is given out with other ones while the model loads; what the model's own configuration says
(`onnx_session_options`) is set on the same object afterwards.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAVOR = "mlflow.onnx"
_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")


@contextlib.contextmanager
def sparing(loader_module: str | None) -> Iterator[None]:
    """Within it a model of `loader_module` may be loaded; nothing happens where that is not the ONNX flavor."""
    runtime: Any = None
    if loader_module == FLAVOR:
        with contextlib.suppress(ImportError):  # MLflow says it in its own words
            runtime = importlib.import_module("onnxruntime")
    if runtime is None:
        yield
        return
    make = runtime.SessionOptions

    def options() -> Any:
        made = make()
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit():
            made.intra_op_num_threads = int(threads)
        for name in _SPINNING:
            made.add_session_config_entry(name, "0")
        return made

    runtime.SessionOptions = options
    try:
        yield
    finally:
        runtime.SessionOptions = make
