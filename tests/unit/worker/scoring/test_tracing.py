"""What models trace: collected where it is wanted, bounded, and never a file in the worker's directory.

Each model is loaded in a process of its own, as a worker is: MLflow's tracing is a process's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace_worker import traces, wire
from headrace_worker.scoring import tracing
from headrace_worker.scoring.tracing import UNTRACED

ROOT = Path(__file__).parents[4]
MODEL = """
import threading
import mlflow

@mlflow.trace(span_type="TOOL")
def tool(text):
    return text * 2

class Model(mlflow.pyfunc.PythonModel):
    @mlflow.trace
    def predict(self, context, model_input: list[str]) -> list[str]:
        texts = list(model_input)
        if texts[0] == "many":
            return [tool("a") for _ in range(%d)][:1]
        if texts[0] == "long":
            return [tool("x" * 3_000_000)[:5]]
        mlflow.update_current_trace(tags={"topic": "t"}, metadata={"mlflow.trace.session": "s"})
        return [tool(text) for text in texts]

mlflow.models.set_model(Model())
"""
SCRIPT = """
import json, sys
from headrace_worker import wire
from headrace_worker.scoring import ScoringOptions, load
from headrace_worker.scoring.tracing import TRACER

def score(text, context):
    traced = TRACER.begin(context)
    with traced.here():
        body = memoryview(json.dumps({"inputs": [text]}).encode())
        answers, _, _ = scorer.score([wire.head(b"application/json")], b"\\0", [body])
    data = traced.told(7)
    return {"status": answers[0].status, "body": answers[0].body.decode()[:200], "told": data.decode("latin-1")}

scorer = load(sys.argv[1], ScoringOptions(collect_spans=sys.argv[2] == "yes"))
contexts = [bytes([9]) * 24, bytes([9]) * 16 + bytes([3]) * 8]
asked = json.loads(sys.argv[3])
done = [score(text, contexts[i % 2] if wanted else None) for i, (text, wanted) in enumerate(asked)]
print(json.dumps({"done": done, "left": [len(TRACER._owners), len(TRACER._open)]}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("model")
    code = where / "code.py"
    code.write_text(MODEL % (tracing.MOST_SPANS + 50), encoding="utf-8")
    saving = f"import mlflow; mlflow.pyfunc.save_model({str(where / 'saved')!r}, python_model={str(code)!r})"
    subprocess.run([sys.executable, "-c", saving], check=True, capture_output=True, timeout=120, cwd=where)
    return where / "saved"


def scored(model: Path, here: Path, asked: list[tuple[str, bool]], *, collect: bool) -> dict[str, Any]:
    arguments = [str(model), "yes" if collect else "no", json.dumps(asked)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=120, cwd=here, check=False,
        env={**environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert [one["status"] for one in found["done"]] == [200] * len(asked), found
    return found


def spans_of(done: dict[str, Any]) -> dict[str, Any]:
    (frame,) = wire.FrameReader().feed(done["told"].encode("latin-1"))
    assert (frame.kind, frame.batch_id) == (wire.SPANS, 7)
    told: dict[str, Any] = json.loads(traces.decode_spans(frame.payload))
    return told


def test_traced_requests_give_their_spans_and_others_none(model: Path, tmp_path: Path) -> None:
    done = scored(model, tmp_path, [("a", True), ("b", False), ("c", True)], collect=True)
    first, other, second = done["done"]
    assert (other["told"], done["left"]) == ("", [0, 0])
    for one, parent, text in ((first, "09" * 8, "a"), (second, "09" * 8, "c")):
        told = spans_of(one)
        tool, predict = told["spans"]
        assert (predict["parent"], tool["parent"], predict["name"]) == (parent, predict["span"], "predict")
        assert json.loads(tool["attributes"]["mlflow.spanInputs"]) == {"text": text}
        assert tool["begin_ns"] <= tool["end_ns"] <= predict["end_ns"]
        assert (told["lost"], told["tags"], told["metadata"]) == (0, {"topic": "t"}, {"mlflow.trace.session": "s"})
    assert list(tmp_path.iterdir()) == []


def test_spans_are_bounded_in_number_and_length_and_the_rest_is_counted(model: Path, tmp_path: Path) -> None:
    many, long = scored(model, tmp_path, [("many", True), ("long", True)], collect=True)["done"]
    told = spans_of(many)
    assert len(told["spans"]) + told["lost"] == tracing.MOST_SPANS + 51
    assert told["lost"] > 0
    assert len(many["told"]) <= traces.MAX_SPANS_BYTES
    told = spans_of(long)
    (inputs,) = (one["attributes"]["mlflow.spanInputs"] for one in told["spans"] if one["name"] == "tool")
    assert len(inputs) < tracing.MOST_ATTRIBUTE_CHARACTERS + 100
    assert "characters in all" in json.loads(inputs)


def test_a_model_that_traces_leaves_no_files_where_nobody_has_said_where_to(model: Path, tmp_path: Path) -> None:
    scored(model, tmp_path, [("a", False)], collect=False)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_not_traced_tells_nothing() -> None:
    with UNTRACED.here():
        assert UNTRACED.told(1) == b""
