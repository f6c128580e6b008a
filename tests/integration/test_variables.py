"""What a model sees of the variables that headrace was started with, and of headrace's own processes."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.serving import Serving, ask, serving
from tests.processes import command

SECRETS = {
    "HEADRACE_WEBHOOK_SECRET": "not-for-models",
    "MLFLOW_TRACKING_PASSWORD": "not-for-models",
    "AWS_SECRET_ACCESS_KEY": "not-for-models",
    "PIP_INDEX_URL": "http://user:not-for-models@127.0.0.1:9/simple",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=not-for-models",
    "OPENAI_API_KEY": "handed-on",
}
SAVE = """
import sys
from mlflow.pyfunc import save_model
save_model(sys.argv[2], python_model=sys.argv[1], pip_requirements=["mlflow"])
"""
OWN = ("headrace serve", "headrace.supervisor", "headrace.gateway", "headrace.registry", "headrace.recorder")
_PR_CAPBSET_DROP, _CAP_SETPCAP = 24, 8


@pytest.fixture(scope="module")
def needy(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("needy") / "model"
    script = Path(__file__).parent / "needy.py"
    subprocess.run([sys.executable, "-W", "ignore", "-c", SAVE, str(script), str(path)], check=True)
    return str(path)


@pytest.fixture(scope="module")
def one(needy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    models: dict[str, Any] = {
        "given": {"uri": needy, "port": 0, "environment": "local", "pass_env": ["OPENAI_*"], "env": {"FLAG": "on"}},
        "not": {"uri": needy, "port": 0, "environment": "local"},
    }
    document = {"admin": {"port": 0}, "log": {"access": "full"}, "models": models}
    with contextlib.ExitStack() as stack:
        started = serving(tmp_path_factory.mktemp("variables"), document, environ=SECRETS)
        # They are each thread's own; and the thread stays, for what it starts ends with it.
        thread = stack.enter_context(ThreadPoolExecutor(1, initializer=give_up_capabilities))
        made = thread.submit(stack.enter_context, started).result()
        made.event("admin")
        yield made


def test_a_model_sees_what_is_handed_on_and_no_other_secret(one: Serving) -> None:
    (names,) = {tuple(ask(f"{one.url('given')}/invocations", {"inputs": ["a"]}).json["predictions"])}
    assert {"OPENAI_API_KEY", "FLAG", "PATH", "HOME", "OMP_NUM_THREADS"} <= {*names}
    assert {*names} & {*SECRETS} == {"OPENAI_API_KEY"}
    for process in one.processes("role="):
        assert "not-for-models" not in str(process.environ())


def test_who_needs_a_variable_is_told_what_to_do(one: Serving) -> None:
    told = one.event("variables kept from models")
    assert {"OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"} <= {*told["names"]}
    reason = one.event("FAILED", model="not")["reason"]
    assert "hand it on with pass_env: [OPENAI_API_KEY]" in reason
    assert "handed-on" not in str(one.events) + str(one.other_lines)
    assert "not-for-models" not in str(one.events) + str(one.other_lines)


def test_a_model_reads_no_variables_of_headraces_own_processes(one: Serving) -> None:
    family = [psutil.Process(one.process.pid), *psutil.Process(one.process.pid).children(recursive=True)]
    pids = {own: [p.pid for p in family if own in command(p)] for own in OWN}
    pids["headrace serve"] = [one.process.pid]
    assert all(pids.values())
    for own, found in pids.items():
        for pid in found:
            assert readable_by_a_model(f"/proc/{pid}/environ") is False, own
    (host, *_) = one.processes("role=host")
    assert readable_by_a_model(f"/proc/{host.pid}/environ") is True, "else nothing was tried"


def give_up_capabilities() -> None:
    """Have what this thread starts be without root's powers, as in a container that drops them."""
    libc = ctypes.CDLL(None)
    for capability in (*(c for c in range(64) if c != _CAP_SETPCAP), _CAP_SETPCAP):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def readable_by_a_model(path: str) -> bool:
    """Whether a process of the same user that may not trace others can read it."""

    asked = [sys.executable, "-c", "import sys; print(len(open(sys.argv[1], 'rb').read()))", path]
    done = subprocess.run(asked, capture_output=True, text=True, preexec_fn=give_up_capabilities, check=False)
    assert done.returncode == 0 or "Permission" in done.stderr, done.stderr
    return done.returncode == 0


def test_each_other_process_has_what_it_needs(one: Serving) -> None:
    for role, names in (
        ("headrace.gateway", set[str]()),
        ("headrace.recorder", {"OTEL_EXPORTER_OTLP_HEADERS"}),
        ("headrace.registry", {"MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"}),
    ):
        (process,) = one.processes(role)
        with contextlib.suppress(psutil.AccessDenied):  # only root may look
            assert {*process.environ()} & {*SECRETS} == names
