"""A model whose versions fail in different ways, as `model_config` says: for tests of rollouts."""

import time
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_GOOD_CALLS = 10


class Shifty(PythonModel):
    """Answers every row with `answer`; `fault` is when and how it fails."""

    def load_context(self, context: PythonModelContext) -> None:
        self.calls = 0
        self.fault = context.model_config["fault"]
        self.answer = context.model_config["answer"]
        if self.fault == "load":
            raise RuntimeError("the weights are missing")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:  # noqa: ARG002
        self.calls += 1
        late = self.calls > _GOOD_CALLS
        if self.fault == "example" or (self.fault == "errors" and late):
            raise RuntimeError("nothing works")
        if self.fault == "slow" and late:
            time.sleep(0.3)
        return [self.answer] * len(model_input)


mlflow.models.set_model(Shifty())
