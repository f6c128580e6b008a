"""MLflow warns while it is imported; imported here, once, no test has to allow for that."""

import warnings

import pytest

from headrace_worker.scoring import engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc.scoring_server  # noqa: F401


@pytest.fixture
def however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checks take as long as they take on any machine."""
    monkeypatch.setattr(engine, "CHECK_NS", 600_000_000_000)
