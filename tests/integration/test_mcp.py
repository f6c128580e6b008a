"""Models as tools of agents on a real server, judged by the official client of MCP and by an agent framework."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving import ask, serving, until
from tests.integration.test_inference_judges import environment
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
JUDGES = ["mcp==2.3.0", "pydantic-ai-slim[mcp]==2.68.0"]
DESCRIBE = """
import mlflow
mlflow.MlflowClient().update_model_version("mood", "1", "Tells good texts from bad ones.")
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def url(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("mcp")
    tracking = {**os.environ, "MLFLOW_TRACKING_URI": registry}
    subprocess.run([sys.executable, "-c", DESCRIBE], check=True, capture_output=True, env=tracking)
    made = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
    models = ROOT / "openai_rig" / "models.py"
    subprocess.run([sys.executable, models, directory], check=True, capture_output=True, env=made)
    port = free_port()
    document = {
        "admin": {"port": 0},
        "gateway": {"port": port},
        "mcp": {"models": ["mood", "par*"]},
        "models": {
            "mood": {"uri": "models:/mood@production", "environment": "local"},
            "parrot": {"uri": str(directory / "parrot"), "environment": "local"},
            "hidden": {"uri": "models:/mood@production", "environment": "local"},
        },
    }
    base = f"http://127.0.0.1:{port}"
    with serving(directory, document, environ=tracking):
        until(lambda: _answers(f"{base}/ping"), "every model can answer")
        yield f"{base}/mcp"


def _answers(url: str) -> bool:
    try:
        return ask(url).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("judges") / "mcp", JUDGES)


@pytest.mark.parametrize("judge", ["judge.py", "agent.py"])
def test_the_judge_is_content(url: str, programs: Path, judge: str) -> None:
    done = subprocess.run(
        [programs / "python", ROOT / "mcp_rig" / judge, url], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
