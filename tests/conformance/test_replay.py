"""The recordings of MLflow's server, replayed by their own replayer against a running headrace, over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import scoring_corpus as corpus
from tests.integration.serving import ask, serving, until
from tests.ports import free_port

pytestmark = [corpus.needs_recordings, pytest.mark.timeout(1500)]

# Answered otherwise on purpose: docs/coming-from-mlflow.md. A probe by HEAD is what container platforms send.
# So are valid requests that MLflow refuses by an accident.
TIERS = ("core", "edge")
# `route.models_path` asks for a route of the Open Inference Protocol, which MLflow's server does not speak.
ON_PURPOSE = {"route.ping_head", "route.health_head", "route.models_path"} | {
    record["id"] for record in corpus.recordings() if record["id"] in corpus.REPAIRED and record["tier"] in TIERS
}


ALL = tuple(sorted({record["model"] for record in corpus.recordings()}))
# A signature of columns, one of tensors, none; pandas, type hints, params, a stream; errors, a limit of time, headers.
FEW = ("iris", "params", "raises_t2", "stream", "tensor_named", "text_nosig", "typed_pydantic")


def models(labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """These servers of the recordings as entries of `models:`, with the options that each had."""
    entries = {}
    for label in labels:
        server = corpus.servers().get(label, {})
        path = corpus.models()[server.get("model", label)]
        entry: dict[str, Any] = {"uri": path, "environment": "local", "port": 0, "env": dict(server.get("env", {}))}
        arguments = server.get("args", [])
        if "--timeout" in arguments:
            entry["timeout_s"] = float(arguments[arguments.index("--timeout") + 1])
        if "SERVING_MODEL_CONFIG" in entry["env"]:
            entry["config"] = json.loads(entry["env"].pop("SERVING_MODEL_CONFIG"))
        entries[label] = entry
    return entries


@contextmanager
def recorded(labels: tuple[str, ...], directory: Path, **more: Any) -> Iterator[tuple[Any, str]]:
    """A headrace with these models; yields it and its shared port's URL."""
    port = free_port()
    document = {
        "admin": {"port": 0},
        "gateway": {"port": port},
        "models": {label: {**entry, **more} for label, entry in models(labels).items()},
        "bring_up_at_once": 2,
    }
    with serving(directory, document) as one:
        wanted = more.get("replicas", 1)

        def up() -> bool:
            status = ask(f"{one.admin}/api/models").json
            return all(m["replicas"]["ready"] == wanted for m in status["models"])

        until(lambda: [e for e in one.events if e["event"] == "admin"], "the models to be settled", 900)
        until(up, "all replicas", 300)
        yield one, f"http://127.0.0.1:{port}"


def replay(urls: dict[str, str], directory: Path) -> list[dict[str, str]]:
    """Run the replayer on the tiers core and edge; returns what differs and is not meant to."""
    file, report = directory / "urls.json", directory / "report.json"
    file.write_text(json.dumps(urls), encoding="utf-8")
    script = corpus.RECORDINGS / "replay.py"
    done = subprocess.run(
        [
            sys.executable, "-B", str(script), str(file), "--strict", "--tiers", ",".join(TIERS),
            "--models", ",".join(urls), "--report", str(report),
        ],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert "replayed" in done.stdout, done.stdout + done.stderr
    assert "skipped" not in done.stdout, done.stdout
    found: list[dict[str, str]] = json.loads(report.read_text(encoding="utf-8"))
    meant = {record["id"] for record in corpus.recordings() if record["model"] in urls} & ON_PURPOSE
    assert {f["id"] for f in found} >= meant, "these are not answered otherwise any more"
    return [f for f in found if f["id"] not in ON_PURPOSE]


# test_invocations.py has every recording, in process: what HTTP adds is seen with a few models.
@pytest.mark.parametrize(
    "labels", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["a few models", "every model"]
)
def test_batched_with_two_replicas_on_own_and_shared_ports(labels: tuple[str, ...], tmp_path: Path) -> None:
    with recorded(labels, tmp_path, replicas=2) as (one, shared):
        assert replay({label: one.url(label) for label in labels}, tmp_path) == []
        assert replay({label: f"{shared}/models/{label}" for label in labels}, tmp_path) == []


@pytest.mark.slow
def test_unbatched_with_one_replica(tmp_path: Path) -> None:
    with recorded(ALL, tmp_path, replicas=1, batch={"max_rows": 1}) as (one, shared):
        assert replay({label: one.url(label) for label in ALL}, tmp_path) == []
        assert replay({label: f"{shared}/models/{label}" for label in ALL}, tmp_path) == []
