"""Warming up with the model's own example, and finding out whether its rows may be merged.

Two calls of the model, both with rows of the example and nothing else: the example as it is, and, where it is a table
of a mergeable kind, three requests of one row together. The answers of the three are compared with those of the rows
alone, so a model that answers by the batch (ranks, normalises, returns one answer per column) is found here and not by
a client.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from headrace_worker import wire
from headrace_worker.scoring import shapes
from headrace_worker.scoring.compare import Judge
from headrace_worker.scoring.example import read_example

if TYPE_CHECKING:
    from headrace_worker.scoring.scorer import Scorer

_HEAD = wire.head(b"application/json")
PROBE_ROWS = 3
_MOST_TOLD = 500


def warm_up(scorer: Scorer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """See `Scorer.warm_up`. ``ok`` is None where the model was logged without an example that can be used."""
    started = time.perf_counter()
    example = read_example(scorer.path, scorer.model.metadata)
    if example is None:
        return {"ok": None, "reason": "the model was logged without an input example"}, []
    answers, notes = _score(scorer, [example])
    answer = answers[0]
    raised: list[dict[str, Any]] = []
    report: dict[str, Any] = {
        "ok": answer.status == 200,
        "status": answer.status,
        "rows_in": answer.rows,
        "rows_out": _rows_out(answer),
    }
    if report["ok"]:
        _probe(scorer, example)
        if scorer.evidence.unmergeable is not None:
            report["reason"] = scorer.evidence.unmergeable
    else:
        raised = json.loads(notes).get("failures", []) if notes else []
        said = f"{raised[0]['type']}: {raised[0]['text']}" if raised else answer.body.decode("utf-8", "replace")
        report["reason"] = said[:_MOST_TOLD]
    report["took_s"] = round(time.perf_counter() - started, 6)
    return report, raised


def _probe(scorer: Scorer, example: bytes) -> None:
    request = json.loads(example)
    share = scorer.classifier.share(request) if isinstance(request, dict) else None
    if share is None or scorer.evidence.unmergeable is not None:
        return
    singles = [_one_row(request, share, i % share.rows) for i in range(PROBE_ROWS)]
    alone = [_score(scorer, [single])[0][0] for single in singles]
    together, _ = _score(scorer, singles)
    if not scorer.evidence.is_exact(share.kind.shape):
        scorer.evidence.refuse(scorer.evidence.news or "the example was not answered row by row")
    elif not all(map(Judge(scorer.options.tolerance, together).near, alone, together)):
        scorer.evidence.refuse("the answer to a row of the example depends on the other rows of the call")


def _one_row(request: dict[str, Any], share: shapes.Share, row: int) -> bytes:
    """The example with nothing but its row number `row`."""
    if share.kind.form == shapes.COLUMNWISE:
        data: Any = {name: [values[row]] for name, values in share.data.items()}
    elif share.kind.form == shapes.TABLE:
        data = {**request[share.kind.format], "data": [share.data[row]]}
    elif share.kind.form == shapes.INDEXED:
        one = {name: [values[row]] for name, values in share.data.items()}
        data = {**request[share.kind.format], **one}
    else:
        data = [share.data[row]]
    return json.dumps({**request, share.kind.format: data}).encode()


def _score(scorer: Scorer, bodies: list[bytes]) -> tuple[list[wire.Answer], bytes]:
    """The answers, and what the frame's notes would say."""
    answers, _, notes = scorer.score([_HEAD], bytes(len(bodies)), [memoryview(body) for body in bodies])
    return answers, notes


def _rows_out(answer: wire.Answer) -> int | None:
    if answer.status != 200:
        return None
    body = json.loads(answer.body)
    predictions = body.get("predictions") if isinstance(body, dict) else None
    return len(predictions) if isinstance(predictions, list) else None
