"""A model that cannot be loaded."""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Broken(PythonModel):
    """Raises while it loads."""

    def load_context(self, context: PythonModelContext) -> None:  # noqa: ARG002
        raise RuntimeError("the weights are missing")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return model_input


mlflow.models.set_model(Broken())
