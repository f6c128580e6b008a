"""A model that needs a variable to load, and answers what variables there are."""

import os
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Needy(PythonModel):
    """Answers the names of all variables."""

    def load_context(self, context: PythonModelContext) -> None:  # noqa: ARG002
        if "OPENAI_API_KEY" not in os.environ:
            raise RuntimeError("the api_key must be set: set the OPENAI_API_KEY environment variable")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:  # noqa: ARG002
        return sorted(os.environ)


mlflow.models.set_model(Needy())
