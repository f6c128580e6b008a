"""The scorer in environments of other Pythons and other MLflows, each made for the purpose with uv."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scoring_corpus import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ENVIRONMENTS = {
    "3.9": ["mlflow==2.9.2", "scikit-learn", "setuptools<70"],
    "3.10": ["mlflow==2.16.2", "scikit-learn"],
    "3.12": ["mlflow-skinny==3.17.2", "pandas", "scikit-learn", "pyarrow", "skops"],
    "3.13": ["mlflow==3.17.2"],
}


def _uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    uv = Path(sys.executable).parent / "uv"
    return subprocess.run([str(uv), *arguments], capture_output=True, text=True, check=False)


def _interpreter(minor: str) -> str:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for directory in sorted(pyenv.glob(f"{minor}.*"), reverse=True):
        if (directory / "bin" / "python").is_file():
            return str(directory / "bin" / "python")
    found = _uv("python", "find", "--no-python-downloads", minor)
    if found.returncode != 0:
        pytest.skip(f"no Python {minor} found")
    return found.stdout.strip()


@pytest.mark.parametrize("minor", ENVIRONMENTS)
def test_the_scorer_answers_as_the_mlflow_of_its_environment(minor: str, tmp_path: Path) -> None:
    interpreter = _interpreter(minor)
    python = str(tmp_path / "env" / "bin" / "python")
    made = _uv("venv", "--python", interpreter, str(tmp_path / "env"))
    assert made.returncode == 0, made.stderr
    installed = _uv("pip", "install", "--python", python, *ENVIRONMENTS[minor])
    assert installed.returncode == 0, installed.stderr
    # The worker's package alone, as it runs in production: nothing is installed into the environment for it.
    package = tmp_path / "worker"
    package.mkdir()
    (package / "headrace_worker").symlink_to(ROOT / "src" / "headrace_worker")
    script = ROOT / "tests" / "conformance" / "score_elsewhere.py"
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["python"].startswith(minor + ".")
