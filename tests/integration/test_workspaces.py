"""Models in the workspaces of one MLflow server: those of the workspace that is asked for, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.mlflow_server import MlflowServer
from tests.integration.serving import ask, serving

TEXT = {"inputs": ["good"]}
CREATE = "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]); mlflow.create_workspace('theirs')"


@pytest.mark.slow  # a server of its own, and two processes that log models
def test_a_model_is_that_of_the_workspace_and_its_cache_is_no_other_ones(tmp_path: Path) -> None:
    one = MlflowServer(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", {"MLFLOW_ENABLE_WORKSPACES": "true"})
    try:
        subprocess.run([sys.executable, "-c", CREATE, one.uri], check=True, timeout=150, capture_output=True)
        one._environ = {"MLFLOW_WORKSPACE": "theirs"}
        one.build_pair()
        document = {
            "registry": {"tracking_uri": one.uri, "workspace": "theirs"},
            "admin": {"port": 0},
            "models": {"pair": {"uri": "models:/pair/1", "port": 0}},
        }
        with serving(tmp_path / "serving", document) as serves:
            answer = ask(f"{serves.url('pair')}/invocations", TEXT)
            assert (answer.status, answer.json) == (200, {"predictions": ["pos"]})
            assert serves.status("pair")["current"]["version"] == "1"
        # The same home, another workspace: what is in the cache is not this one's.
        del document["registry"]["workspace"]  # type: ignore[attr-defined]
        with serving(tmp_path / "serving", document) as serves:
            assert serves.wait() == 2
        assert os.environ.get("MLFLOW_WORKSPACE") is None
    finally:
        one.kill()
