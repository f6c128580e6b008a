"""A model that cannot be loaded, and says why to a terminal."""

import sys
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Loud(PythonModel):
    """Prints control characters while it loads, and raises with them."""

    def load_context(self, context: PythonModelContext) -> None:  # noqa: ARG002
        sys.stdout.write("\x1b[2Jloading\x07 \x9b31m\u202e \x7f\n")
        raise RuntimeError("no\x1b[2J weights\x07\n12:00:00 [info     ] all is well \x9b31m\u202e \ud800 [/red]")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return model_input


mlflow.models.set_model(Loud())
