"""The model alone: import, load, predict in this process. Prints one JSON object.

python alone.py MODEL
"""

import gc
import json
import statistics
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()

import mlflow.pyfunc  # noqa: E402 - its time is measured
import pandas as pd  # noqa: E402 - run as a script

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]


def main() -> None:
    """Measure."""
    from beside.cases import texts  # noqa: PLC0415 - after what is measured

    imported_s = time.perf_counter() - STARTED
    model = mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
    loaded_s = time.perf_counter() - STARTED
    found = {"import_s": round(imported_s, 3), "import_and_load_s": round(loaded_s, 3)}
    for rows in (1, 256):
        every = texts(rows * 16)
        took = []
        for number in range(200 if rows == 1 else 60):
            part = every[number % 16 * rows :][:rows]
            began = time.perf_counter()
            model.predict(pd.DataFrame({"text": part}))
            took.append(time.perf_counter() - began)
        found[f"predict_{rows}_ms"] = round(statistics.median(took) * 1000, 4)
    gc.collect()
    rollup = dict(
        line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    found["pss_mb"] = round(int(rollup["Pss"].split()[0]) / 1024, 1)
    found["rss_mb"] = round(int(rollup["Rss"].split()[0]) / 1024, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
