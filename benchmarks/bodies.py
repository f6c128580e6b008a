"""What reading a body costs beside MLflow's own parser: every form at sizes that double.

    python benchmarks/bodies.py [--size 4000] [--doublings 2] [--only WORD] [--rounds 3]

The forms are those of the tests (tests/unit/worker/forms.py), the model looks at nothing but the number of rows.
`first` is a scorer that has seen nothing yet, `again` the second request of the same kind, `mlflow` the function
`invocations` of MLflow's scoring server with the same body, unpacked. All are milliseconds of CPU, the least of the
rounds. A body that MLflow refuses and headrace repairs is compared with MLflow on the repaired request; one that is
refused for a bound of headrace's own is not given to MLflow, for which it may be too much.

Ends with 1 where `first` takes more than twice as long as MLflow, or where a doubling takes more than three times as
long; below 20 ms neither is told from noise. What MLflow refuses and headrace takes may take four times as long: it is
given to MLflow first, and once more when it is repaired.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from headrace_worker.scoring.repairing import repair_tables  # noqa: E402 - run as a script
from tests.unit.worker.forms import FORMS, JSON, Form, count  # noqa: E402 - run as a script
from tests.unit.worker.models import ask, load  # noqa: E402 - run as a script

NOISE_MS = 20.0
MAX_RATIO = 2.0
MAX_REPAIRED_RATIO = 4.0
MAX_GROWTH = 3.0


def cpu_ms(call: Any) -> float:
    """Milliseconds of CPU that `call` takes; what it raises is part of it."""
    gc.collect()
    began = time.process_time()
    with contextlib.suppress(Exception):
        call()
    return (time.process_time() - began) * 1000


def mlflow_body(form: Form, body: bytes) -> tuple[str, bytes]:
    """(type, body) that MLflow is asked: unpacked, and repaired where it refuses what headrace takes (0 for a null).

    It takes no date in a CSV file, with a zone or without: such a table is sent as JSON.
    """
    plain = form.plain(body)
    if form.status != 200:
        return form.kind, plain
    scorer, _ = load(count, form.inputs, params=form.params)
    try:
        scorer.oracle.server.invocations(plain, form.kind, scorer.model, scorer.oracle.input_schema)
    except Exception:  # noqa: BLE001 - whatever it is, it is a refusal
        if form.kind != JSON:
            table = repair_tables.repaired(scorer.oracle, form.kind, plain)
            if table is not None:
                split = table.frame.to_json(orient="split", index=False, date_format="iso", date_unit="ns")
                return JSON, b'{"dataframe_split": %b}' % split.encode()
            return form.kind, plain
        found = scorer.second_try.repaired(plain)
        if found is not None:
            return JSON, json.dumps(found.request, default=float).encode()
    return form.kind, plain


def measure(form: Form, body: bytes, rounds: int) -> tuple[float, float, float, bool]:
    """(first, again, MLflow) in milliseconds, and whether MLflow had to be given a repaired request."""
    kind, plain = (form.kind, b"") if form.is_beyond else mlflow_body(form, body)
    firsts, agains, references = [], [], []
    for _ in range(rounds):
        scorer, _ = load(count, form.inputs, params=form.params)
        firsts.append(cpu_ms(lambda scorer=scorer: ask(scorer, body, head=form.head)))
        agains.append(cpu_ms(lambda scorer=scorer: ask(scorer, body, head=form.head)))
        if form.is_beyond:
            continue
        scorer, _ = load(count, form.inputs, params=form.params)
        invocations = scorer.oracle.server.invocations
        references.append(cpu_ms(lambda s=scorer, f=invocations: f(plain, kind, s.model, s.oracle.input_schema)))
    is_repaired = not form.is_beyond and plain != form.plain(body)
    return min(firsts), min(agains), min(references, default=0.0), is_repaired


def main() -> int:
    """Print the table; the exit code says whether all is within the bounds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=int, default=4000)
    options.add_argument("--doublings", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", default="", help="forms with this in their name")
    given = options.parse_args()
    gc.freeze()  # as a worker's host does: no collection looks at what the libraries are made of
    print(f"{'form':36} {'bytes':>9} {'first':>8} {'again':>8} {'mlflow':>8} {'ratio':>6} {'growth':>6}")
    bad = 0
    for name, form in FORMS.items():
        if given.only not in name:
            continue
        before = 0.0
        for size in (given.size << i for i in range(given.doublings + 1)):
            body = form.body(size)
            first, again, reference, is_repaired = measure(form, body, given.rounds)
            ratio = first / reference if reference else 0.0
            growth = first / before if before else 1.0
            most = MAX_REPAIRED_RATIO if is_repaired else MAX_RATIO
            is_bad = first > NOISE_MS and (ratio > most or growth > MAX_GROWTH)
            bad += is_bad
            figures = f"{first:8.1f} {again:8.1f} {reference:8.1f} {ratio:6.2f} {growth:6.2f}"
            print(f"{name:36} {len(body):9} {figures}{'  <<' if is_bad else ''}", flush=True)
            before = first
    print(f"{bad} beyond the bounds")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
