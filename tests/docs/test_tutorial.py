"""The tutorial is followed to the letter, in an empty directory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.serving import PATIENCE_S, ask, serving, until

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow  # two trainings, each of which imports MLflow and scikit-learn
def test_every_step_does_what_it_says(tmp_path: Path) -> None:
    blocks = [(found[1], found[2].strip(), found[3]) for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]
    kinds = [(language, title) for language, title, _ in blocks]
    assert kinds == [
        ("python", 'title="train.py"'),
        ("sh", ""),
        ("sh", ""),
        ("sh", ""),
        ("python", ""),
        ("sh", ""),
        ("sh", ""),
    ]
    program, train, serve, asking, client, anew, back = (text for _, _, text in blocks)
    (tmp_path / "train.py").write_text(program, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, "PATH": path, "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}

    def run(commands: str, **more: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-e"], input=commands, cwd=tmp_path, env={**environ, **more}, capture_output=True, text=True,
            check=False, timeout=PATIENCE_S * 2,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "iris version 1" in run(train)
    assert serve.strip() == "headrace serve -m models:/iris@production -p 5001"
    registry = f"sqlite:///{tmp_path / 'mlflow.db'}"
    arguments = ["-m", "models:/iris@production", "-p", "0", "--admin-port", "0"]
    with serving(tmp_path / "serving", None, *arguments, environ={"MLFLOW_TRACKING_URI": registry}) as one:
        url, admin = one.url("iris"), {"HEADRACE_ADMIN": one.admin}
        asked = run(asking.replace("http://localhost:5001", url).replace("localhost:5001", url), **admin)
        assert '{"predictions": [0]}' in asked
        assert "1 of 1 is well" in asked
        code = client.replace("http://localhost:5001", url)
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
        )
        assert said.stdout == "[0, 2]\n"
        training, status = anew.splitlines()
        assert "iris version 2" in run(training)
        until(lambda: one.status("iris")["current"]["version"] == "2", "the new version")
        assert "iris/2" in run(status, **admin) or " 2 " in run(status, **admin)
        run(back, **admin)
        assert one.status("iris")["current"]["version"] == "1"
        assert ask(f"{url}/invocations", {"inputs": [[5.1, 3.5, 1.4, 0.2]]}).json == {"predictions": [0]}
