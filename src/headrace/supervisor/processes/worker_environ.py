"""The environment of a model's processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headrace.config.replicas import bounds
from headrace.config.tree import Model
from headrace.core.processes import inheriting
from headrace.supervisor.processes.cores import available_cores

_TRACKING = "MLFLOW_TRACKING_URI"


def worker_environ(environ: Mapping[str, str], model: Model, tracking_uri: str | None) -> dict[str, str]:
    """What a model gets of headrace's own variables, with thread pools sized so that the replicas share the cores.

    OpenBLAS starts its threads when it is imported, and a process with threads cannot be forked safely: one, unless
    the user says otherwise.
    """
    threads = str(model.threads or max(1, available_cores() // bounds(model).most))
    made = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "NUMEXPR_NUM_THREADS": threads}
    made["OPENBLAS_NUM_THREADS"] = str(model.threads or 1)
    # A thread that waits for work sleeps: one that spins takes a core from another replica, or from the gateway.
    made["OMP_WAIT_POLICY"] = "passive"
    made["MLFLOW_DISABLE_AGENT_HINT"] = "true"
    told = {**environ, **({_TRACKING: tracking_uri} if tracking_uri else {})}
    inherited = inheriting.for_worker(told, model.pass_env)
    if _TRACKING in inherited:
        inherited[_TRACKING] = _absolute(inherited[_TRACKING])
    return {**made, **inherited, **model.env, "PYTHONUNBUFFERED": "1"}


def _absolute(uri: str) -> str:
    """A database file's URI that means the same where a worker stands."""
    scheme, relative, path = uri.partition(":///")
    if scheme != "sqlite" or not relative or path.startswith("/") or path in {"", ":memory:"}:
        return uri
    return f"sqlite:///{Path(path).absolute()}"
