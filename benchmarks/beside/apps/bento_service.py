"""The model in BentoML: adaptive batching over texts, two workers. MODEL says where it is, KIND which one it is."""

import os

import bentoml
import mlflow.pyfunc
import pandas as pd

IS_TABLE = os.environ["KIND"] == "iris"
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@bentoml.service(workers=2, traffic={"timeout": 60, "max_concurrency": 1024}, logging={"access": {"enabled": False}})
class Served:
    def __init__(self) -> None:
        self.model = mlflow.pyfunc.load_model(os.environ["MODEL"], suppress_warnings=True)

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=10_000)
    def predict(self, inputs: list) -> list:
        frame = pd.DataFrame(inputs, columns=COLUMNS) if IS_TABLE else pd.DataFrame({"text": inputs})
        raw = self.model.predict(frame)
        return raw.tolist() if hasattr(raw, "tolist") else list(raw)
