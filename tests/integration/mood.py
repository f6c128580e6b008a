"""A model that tells good texts from bad ones, and loads without scikit-learn, which takes seconds."""

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_GOOD = frozenset({"good", "great", "happy", "lovely", "nice", "day", "excellent", "fun"})


class Mood(PythonModel):
    """Answers each text with the first of the `labels` of `model_config` where it has a good word, else the second."""

    def load_context(self, context: PythonModelContext) -> None:
        self.good, self.bad = context.model_config["labels"]

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        return np.array([self.bad if _GOOD.isdisjoint(text.split()) else self.good for text in model_input])


mlflow.models.set_model(Mood())
