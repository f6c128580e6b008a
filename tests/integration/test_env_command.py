"""`headrace env`, as a person types it."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from headrace.environments.store import EnvironmentStore
from tests.environment_rig import offline, record, wheel
from tests.integration.serving import HEADRACE


@pytest.mark.timeout(300)  # a dozen commands
def test_check_build_list_and_prune(tmp_path: Path) -> None:
    for name in ("mlflow", "numpy", "pandas"):
        wheel(tmp_path / "wheels", name, "1.0")
    requirements = ["mlflow==1.0", "numpy==1.0", "pandas==1.0"]
    uri = str(record(tmp_path / "model", platform.python_version(), requirements))
    environ = offline(tmp_path / "wheels", HEADRACE_HOME=str(tmp_path / "home"), MLFLOW_TRACKING_URI="sqlite:///no.db")

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [HEADRACE, "env", *arguments],
            env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    assert run("list") == f"no environments in {tmp_path / 'home/envs'}\n"
    said = run("check", "-m", uri, code=1)
    assert "the running environment differs; its own" in said
    assert "is not built yet" in said
    assert "  mlflow: differs (running: " in said

    other = str(record(tmp_path / "other", "3.99.1", requirements))
    said = run("check", "-m", other, code=1)
    assert "is not built yet" in said
    assert "there is no Python 3.99 on this machine; found: " in said

    digest = run("build", "-m", uri).rpartition(": ")[2].strip()
    found = json.loads(run("check", "-m", uri, "--json"))[uri]
    assert (found["running"]["fits"], found["own"]["digest"], found["own"]["built"]) == (False, digest, True)
    assert {finding["verdict"] for finding in found["own"]["report"]} == {"ok"}

    half_built = tmp_path / "home/envs" / ("0" * 32)
    half_built.mkdir()
    store = EnvironmentStore(tmp_path / "home")
    store.use(digest)  # as a server would
    said = run("list")
    assert said.startswith(f"{digest}  Python {platform.python_version()}")
    assert "  in use  " in said
    assert f"{half_built.name}  not whole: it is being built" in said
    (listed,) = json.loads(run("list", "--json"))
    assert (listed["packages"], listed["in_use"]) == ({"mlflow": "1.0", "numpy": "1.0", "pandas": "1.0"}, True)
    assert run("prune", "--all") == "nothing to remove\n"
    assert not half_built.exists()
    store.release(digest)

    (package,) = (tmp_path / "home/envs" / digest).glob("lib/*/site-packages/numpy-1.0.dist-info")
    package.rename(package.with_name("away"))  # what pip uninstall would do
    said = run("check", "-m", uri, code=1)
    assert f"its own {digest} is built, and differs" in said
    assert "  numpy: missing (its own: -, required: ==1.0)" in said
    package.with_name("away").rename(package)

    assert "give --max-age-days, --max-mb or --all" in run("prune", code=2)
    assert run("prune", "--max-age-days", "1") == "nothing to remove\n"
    assert run("prune", "--all", "--dry-run").startswith(f"would remove {digest}")
    assert run("prune", "--all").startswith(f"removed {digest}")
    assert json.loads(run("list", "--json")) == []
    assert not (tmp_path / "home/envs" / digest).exists()


@pytest.mark.slow
@pytest.mark.timeout(300)  # the registry is made first, and two commands start MLflow's client
def test_a_model_of_the_registry_and_one_that_is_not_there(registry: str, tmp_path: Path) -> None:
    environ = {**os.environ, "HEADRACE_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": registry}
    arguments = [HEADRACE, "env", "check", "-m", "models:/mood@production"]
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mood/1: the running environment fits; its own ")
    arguments += ["-m", "models:/mood/99"]
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "no version '99'" in done.stderr
