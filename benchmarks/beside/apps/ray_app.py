"""The model in Ray Serve: two replicas, `@serve.batch`. Arguments: model, kind, port."""

import logging
import sys
import time

import mlflow.pyfunc
import pandas as pd
import ray
from ray import serve
from ray.serve.schema import LoggingConfig

MODEL, KIND, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


@serve.deployment(
    num_replicas=2,
    max_ongoing_requests=256,
    ray_actor_options={"num_cpus": 0.5},
    logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
)
class Served:
    def __init__(self):
        self.model = mlflow.pyfunc.load_model(MODEL, suppress_warnings=True)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def score(self, requests):
        if KIND == "iris":
            rows = [row for r in requests for row in r["dataframe_split"]["data"]]
            frame = pd.DataFrame(rows, columns=requests[0]["dataframe_split"]["columns"])
            counts = [len(r["dataframe_split"]["data"]) for r in requests]
        else:
            frame = pd.DataFrame({"text": [text for r in requests for text in r["inputs"]]})
            counts = [len(r["inputs"]) for r in requests]
        raw = self.model.predict(frame)
        values = raw.tolist() if hasattr(raw, "tolist") else list(raw)
        parts, at = [], 0
        for count in counts:
            parts.append(values[at : at + count])
            at += count
        return parts

    async def __call__(self, request):
        return {"predictions": await self.score(await request.json())}


ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": PORT})
serve.run(Served.bind(), name="bench", route_prefix="/invocations")
while True:
    time.sleep(3600)
