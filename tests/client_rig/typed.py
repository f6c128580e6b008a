"""A model that is made of type hints: rows of a pydantic type come in, and MLflow takes nothing else."""

import mlflow
from mlflow.pyfunc.model import PythonModel
from pydantic import BaseModel


class Row(BaseModel):
    """What the model takes."""

    n: int
    s: str


class Typed(PythonModel):
    """Answers each row with its text, `n` times; the text ``raise`` makes it fail."""

    def predict(self, model_input: list[Row], params: dict[str, int] | None = None) -> list[str]:  # type: ignore[override]
        if any(row.s == "raise" for row in model_input):
            raise ValueError("told to")
        return [row.s * row.n * (params or {}).get("times", 1) for row in model_input]


mlflow.models.set_model(Typed())
