"""A model that sorts texts by their words, as the demo's do, but without scikit-learn, which takes seconds to load."""

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class News(PythonModel):
    """Answers each text with the label of `model_config` that has the most of its words."""

    def load_context(self, context: PythonModelContext) -> None:
        words: dict[str, str] = context.model_config["words"]
        self.words = {label: set(text.split()) for label, text in words.items()}

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return np.array([self._label(set(text.lower().split())) for text in model_input])

    def _label(self, text: set[str]) -> str:
        return max(self.words, key=lambda label: len(self.words[label] & text))


mlflow.models.set_model(News())
