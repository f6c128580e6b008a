"""CPU time of one request in a worker, merged with 63 others, beside MLflow's scoring function: no server, no network.

    python cpu.py MODELS NAME ...

Prints a row of a table for each kind. CPU time, unlike time, is much the same on a machine that others use as well.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from headrace_worker import scoring, wire

HEAD = [wire.head(b"application/json")]
MERGED = 64
CALLS = 15


def main() -> None:
    """Measure."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print("| kind | headrace, 64 requests in a call | headrace, one alone | MLflow, one | ratio | merged |")
    print("|---|---:|---:|---:|---:|---|")
    for name in sys.argv[2:]:
        directory = Path(sys.argv[1], name)
        scorer = scoring.load(str(directory / "model"), scoring.ScoringOptions())
        bodies = [json.dumps(one).encode() for one in json.loads((directory / "requests.json").read_text())[0]]
        together = [memoryview(body) for body in bodies[:MERGED]]

        def merged(scorer: scoring.Scorer = scorer, together: list[memoryview] = together) -> int:
            return int(scorer.score(HEAD, bytes(MERGED), together)[1].predicts)

        def alone(scorer: scoring.Scorer = scorer, body: bytes = bodies[0]) -> None:
            scorer.score(HEAD, b"\0", [memoryview(body)])

        def mlflow(scorer: scoring.Scorer = scorer, body: bytes = bodies[0]) -> None:
            server = scorer.oracle.server
            server.invocations(body, "application/json", scorer.model, scorer.oracle.input_schema)

        for _ in range(100):  # the first requests of a kind are scored alone, too
            if merged() == 1:
                break
        many_ms, one_ms, their_ms = _cpu_ms(merged) / MERGED, _cpu_ms(alone), _cpu_ms(mlflow)
        is_merged = "yes" if merged() == 1 else f"no: {scorer.evidence.unmergeable}"
        print(
            f"| {name} | {many_ms * 1000:,.0f} µs | {one_ms * 1000:,.0f} µs | {their_ms * 1000:,.0f} µs"
            f" | {their_ms / many_ms:.0f} x | {is_merged} |",
            flush=True,
        )


def _cpu_ms(call: Callable[[], object]) -> float:
    took_s = []
    for _ in range(CALLS):
        began_s = time.process_time()
        call()
        took_s.append(time.process_time() - began_s)
    return statistics.median(took_s) * 1000


if __name__ == "__main__":
    main()
