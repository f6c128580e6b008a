"""A model in this process, and nothing else: `python alone.py MODEL REQUESTS SECONDS` prints one JSON object.

`one_ms` is the median of parsing and predicting one row, `rows_per_s` and `call_ms` are those of 64 rows in a loop.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import statistics
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import mlflow.pyfunc  # noqa: E402 - without its warnings
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT  # noqa: E402 - run as a script
from mlflow.pyfunc import scoring_server  # noqa: E402 - run as a script

logging.getLogger("mlflow").setLevel(logging.ERROR)
os.environ[_MLFLOW_IS_IN_SERVING_ENVIRONMENT.name] = "true"


def main() -> None:
    """Measure."""
    model = mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
    with open(sys.argv[2]) as file:  # noqa: PTH123 - short
        singles, many = json.load(file)
    seconds = float(sys.argv[3])

    def parsed(request: object) -> object:
        request = copy.deepcopy(request)
        return scoring_server._parse_json_data(request, model.metadata, model.metadata.get_input_schema()).data  # noqa: SLF001

    print("ready", flush=True)
    sys.stdin.readline()
    took_s: list[float] = []
    end_s = time.perf_counter() + seconds / 2
    while time.perf_counter() < end_s:
        data = parsed(singles[len(took_s) % len(singles)])
        began_s = time.perf_counter()
        model.predict(data)
        took_s.append(time.perf_counter() - began_s)
    data = parsed(many)
    calls, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        model.predict(data)
        calls += 1
    lasted_s = time.perf_counter() - began_s
    found = {"one_ms": statistics.median(took_s) * 1000, "rows_per_s": calls * 64 / lasted_s}
    print(json.dumps({**found, "call_ms": lasted_s / calls * 1000}))


if __name__ == "__main__":
    main()
