"""Writes the models that both servers serve: python models.py DIRECTORY, in MLServer's environment."""

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types import ColSpec, Schema, TensorSpec

COLUMNS = {"d": "double", "f": "float", "l": "long", "i": "integer", "b": "boolean"}


class Echo(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return model_input


class Sum(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return np.asarray(model_input).sum(axis=1)


def main(directory: Path) -> None:
    table = Schema([ColSpec(kind, name, required=False) for name, kind in COLUMNS.items()])
    row = TensorSpec(np.dtype("float32"), (-1, 3))
    named = Schema([TensorSpec(np.dtype("float32"), (-1, 2), "x"), TensorSpec(np.dtype("int64"), (-1,), "n")])
    # MLServer needs a signature of the outputs, too.
    signatures = {
        "table": (Echo(), ModelSignature(inputs=table, outputs=table)),
        "sum": (Sum(), ModelSignature(inputs=Schema([row]), outputs=Schema([TensorSpec(np.dtype("float32"), (-1,))]))),
        "named": (Echo(), ModelSignature(inputs=named, outputs=named)),
    }
    for name, (model, signature) in signatures.items():
        save_model(str(directory / name), python_model=model, signature=signature, pip_requirements=["mlflow"])


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]))
