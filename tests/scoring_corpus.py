"""The recorded requests of the real scoring server, and the models they were recorded on.

The recordings lie beside the repository (../shared/conformance); tests that need them skip where they are absent. The
models take a minute to build, so they are kept: in the directory HEADRACE_CORPUS_DIR names, else in .cache/ of the
repository, one for each version of MLflow and Python.
"""

import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from headrace_worker import scoring, wire

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS = ROOT.parent / "shared" / "conformance"
JSON_HEAD = wire.head(b"application/json")

# Valid requests that MLflow refuses by an accident and that are answered here: docs/coming-from-mlflow.md
REPAIRED = {
    "text.text_named.inputs_scalar",
    "text.text_col.inputs_scalar",
    "cols.int_all_null.inputs",
    "cols.dt_tz.split",
    "unnamed.one_inputs_scalar",
    "nested.vec_ints.records",
    "nested.map_two.records",
    "nested.map_two.inputs",
    "tensor.rank",
    "params.i_2",
    "typed.split",
    "typed.records",
    "typed.scalar",
}

needs_recordings = pytest.mark.skipif(
    not (RECORDINGS / "corpus.jsonl").is_file(),
    reason="the recordings of MLflow's scoring server (../shared/conformance) are not here",
)


@functools.cache
def recordings() -> list[dict[str, Any]]:
    """All recorded requests, empty where there are none."""
    path = RECORDINGS / "corpus.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@functools.cache
def servers() -> dict[str, dict[str, Any]]:
    """The labels that serve a model with other options or another environment."""
    path = RECORDINGS / "servers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@functools.cache
def models() -> dict[str, str]:
    """Label to model directory; builds them the first time."""
    name = f"corpus-mlflow{version('mlflow')}-py{platform.python_version()}"
    directory = Path(os.environ.get("HEADRACE_CORPUS_DIR", ROOT / ".cache" / name))
    manifest = directory / "manifest.json"
    directory.mkdir(parents=True, exist_ok=True)
    if directory.parent.name == ".cache":
        (directory.parent / ".gitignore").write_text("*\n")
    with (directory.parent / f"{directory.name}.lock").open("w") as lock:  # whoever needs them next waits for them
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not manifest.is_file():
            subprocess.run(
                [sys.executable, str(RECORDINGS / "build_models.py"), str(directory)], check=True, capture_output=True
            )
    entries = json.loads(manifest.read_text(encoding="utf-8"))
    return {label: entry["path"] for label, entry in entries.items()}


@functools.cache
def scorer(label: str, **options: Any) -> scoring.Scorer:
    """A scorer of the model that `label` serves, loaded once; `options` are those of ScoringOptions."""
    server = servers().get(label, {})
    config = server.get("env", {}).get("SERVING_MODEL_CONFIG")
    path = models()[server.get("model", label)]
    return scoring.load(path, scoring.ScoringOptions(model_config=config, **options))


def fresh_scorer(label: str, **options: Any) -> scoring.Scorer:
    """A scorer that has seen nothing yet, on the model that `scorer` loaded."""
    return scoring.Scorer(scorer(label).model, models()[label], scoring.ScoringOptions(**options))


@contextlib.contextmanager
def environment(label: str) -> Iterator[None]:
    """The environment variables that the recorded server of `label` had."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in servers().get(label, {}).get("env", {}).items():
            patch.setenv(name, value)
        yield


def score(scorer: scoring.Scorer, bodies: list[bytes], head: bytes = JSON_HEAD) -> list[wire.Answer]:
    """Score `bodies` as one batch with the same head."""
    return scorer.score([head], bytes(len(bodies)), [memoryview(body) for body in bodies])[0]


def request_head(record: dict[str, Any]) -> bytes:
    """The head that a gateway makes of a recorded request."""
    headers = {k.lower(): v[0] if isinstance(v, list) else v for k, v in record["headers"].items()}
    media = headers.get("content-type")
    return wire.head(
        None if media is None else media.encode("latin-1"),
        headers.get("content-encoding", "").encode("latin-1"),
        headers.get("accept", "").encode("latin-1"),
    )


def request_body(record: dict[str, Any]) -> bytes:
    """The body of a recorded request."""
    return _tool("wire").body_bytes(record) or b""


def difference(record: dict[str, Any], answer: wire.Answer) -> str | None:
    """What is wrong with `answer`, by the replayer's own strict rules; None if nothing is."""
    media = {"content-type": answer.content_type.decode()}
    found = _tool("replay").check(record, answer.status, media, answer.body, 1e-9, True)
    return None if found is None else str(found)


@functools.cache
def _tool(name: str) -> Any:
    sys.path.insert(0, str(RECORDINGS))  # the tools import one another by bare names
    try:
        spec = importlib.util.spec_from_file_location(name, RECORDINGS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(RECORDINGS))
    return module
