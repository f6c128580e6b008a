"""A model that answers what it was given, so that a test sees what came through."""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel


class Echo(PythonModel):
    """Answers its input, `times` times each where that is a parameter; the text ``raise`` makes it fail.

    The text ``count:FILE`` adds a line to a file, and ``sleep:S`` takes a while: then a test knows what has run.
    """

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        if getattr(getattr(model_input, "dtype", None), "kind", "") in "UO":
            for value in model_input:
                self._obey(str(value))
        times = (params or {}).get("times", 1)
        return model_input if times == 1 else [[value] * times for value in model_input]

    def predict_stream(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        """Streams the words of one text."""
        text = model_input if isinstance(model_input, str) else str(next(iter(model_input)))
        for word in text.split():
            self._obey(word)
            yield word

    def _obey(self, text: str) -> None:
        order, _, value = text.partition(":")
        if text == "raise":
            raise ValueError("told to")
        if order == "count":
            with open(value, "a", encoding="utf-8") as file:  # noqa: PTH123
                file.write("once\n")
        if order == "sleep":
            import time

            time.sleep(float(value))


mlflow.models.set_model(Echo())
