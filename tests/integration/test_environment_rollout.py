"""A new version whose environment cannot be built: what clients and operators see of it, from a real server."""

import os
import platform
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.environments.store import EnvironmentStore
from tests.environment_rig import wheel
from tests.environment_rig.stubborn import stubborn
from tests.integration.serving import ask, serving, until

pytestmark = pytest.mark.timeout(300)

HAPPY = {"instances": ["good great happy"]}


class Versions:
    """A registered model whose versions differ in what they require."""

    def __init__(self, registry: str, folder: Path) -> None:
        from mlflow import MlflowClient

        self._client, self._folder = MlflowClient(registry), folder
        self._source = Path(self._client.get_model_version_download_uri("mood", "1").removeprefix("file://"))
        self.name = f"pinned-{folder.parent.name}"  # the registry is the session's, the model is a test's own
        self._client.create_registered_model(self.name)

    def add(self, requirement: str = "") -> None:
        """Register another version, point the alias at it; with `requirement` it requires that instead of its own."""
        folder = self._folder / f"artifacts-{len(list(self._folder.glob('artifacts-*')))}"
        shutil.copytree(self._source, folder)
        if requirement:
            (folder / "requirements.txt").write_text(requirement, encoding="utf-8")
            (folder / "python_env.yaml").write_text(f"python: {platform.python_version()}\n", encoding="utf-8")
        made = self._client.create_model_version(self.name, folder.as_uri())
        self._client.set_registered_model_alias(self.name, "live", made.version)


@pytest.fixture
def versions(registry: str, tmp_path: Path) -> Versions:
    folder = tmp_path / "registered"
    folder.mkdir()
    found = Versions(registry, folder)
    found.add()
    return found


def config(registry: str, versions: Versions) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {"pinned": {"port": 0, "uri": f"models:/{versions.name}@live"}},
    }


@pytest.mark.filterwarnings("ignore")  # MLflow's client, in this process for once, and what it imports
def test_the_old_version_serves_on_and_the_status_says_why(registry: str, versions: Versions, tmp_path: Path) -> None:
    started, _ = stubborn(tmp_path / "wheels")
    environ = {
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
    }  # fmt: skip
    with serving(tmp_path, config(registry, versions), environ=environ) as one:
        url = f"{one.url('pinned')}/invocations"
        first = one.status("pinned")["current"]["label"]
        environment = one.status("pinned")["current"]["environment"]
        assert (environment["policy"], environment["digest"], environment["mismatches"]) == ("compatible", None, 0)

        versions.add("no-such-package==99.0")
        failed = one.event("FAILED")
        assert "uv pip failed (exit code 1)" in failed["reason"]
        assert "no-such-package" in failed["reason"]
        assert failed["kept"] == first
        assert "no-such-package" in until(lambda: one.status("pinned")["problem"], "the status to say why")
        answer = ask(url, HAPPY)
        assert (answer.status, answer.headers["headrace-model"]) == (200, first)

        versions.add("stubborn==1.0")  # builds until its gate is there, and is killed before
        until(started.exists, "the build to start")
        assert ask(url, HAPPY).status == 200
        for process in one.processes("headrace.environments"):
            process.send_signal(signal.SIGKILL)
        one.event("FAILED", version=f"{versions.name}/3")
        assert "the builder ended before" in until(
            lambda: "builder" in (one.status("pinned")["problem"] or "") and one.status("pinned")["problem"],
            "the status to say why",
        )
        assert ask(url, HAPPY).headers["headrace-model"] == first
        assert not [p for p in (tmp_path / "home/envs").iterdir() if p.is_dir()]
        started.unlink()

        versions.add("stubborn==1.0.0")
        until(started.exists, "the next build to start")
        builders = one.processes("headrace.environments")
        assert one.stop(signal.SIGINT) == 0
        assert psutil.wait_procs(builders, timeout=60)[1] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_the_report_of_a_version_that_was_refused_is_data(registry: str, versions: Versions, tmp_path: Path) -> None:
    document = config(registry, versions)
    document["models"]["pinned"] |= {"environment": "local", "environment_mismatch": "refuse"}
    with serving(tmp_path, document) as one:
        one.url("pinned")
        first = one.status("pinned")["current"]["label"]
        versions.add("no-such-package==99.0")
        missing = {"package": "no-such-package", "required": "==99.0", "found": None, "verdict": "missing"}
        assert one.event("environment differs")["mismatches"] == [missing]
        one.event("FAILED")
        status = one.status("pinned")
        assert (status["current"]["label"], status["failed"]["label"]) == (first, f"{versions.name}/2")
        assert (status["failed"]["environment"]["mismatches"], status["failed"]["reason"]) == (
            1, status["problem"].partition(": ")[2]
        )  # fmt: skip
        assert missing in status["failed"]["environment"]["report"]
        versions.add()
        one.event("serving", version=f"{versions.name}/3")
        assert one.status("pinned")["failed"] is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_a_build_that_failed_is_tried_again_with_growing_pauses(
    registry: str, versions: Versions, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    for name in ("mlflow", "numpy", "pandas"):
        wheel(wheels, name, "1.0")
    environ = {
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels),
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
    }  # fmt: skip
    document = config(registry, versions)
    document["models"]["pinned"]["rollout"] = {"retry_s": 0.4}
    with serving(tmp_path, document, environ=environ) as one:
        url = f"{one.url('pinned')}/invocations"
        first = one.status("pinned")["current"]["label"]
        versions.add("mlflow==1.0\nnumpy==1.0\npandas==1.0\nlate==1.0")
        until(lambda: [e for e in one.events if e["event"] == "FAILED"][2:], "three failures")
        failures = [e for e in one.events if e["event"] == "FAILED"]
        assert [e["again_in_s"] for e in failures[:3]] == [0.4, 0.8, 1.6]
        assert all("late" in e["reason"] and e["kept"] == first for e in failures)
        answer = ask(url, HAPPY)
        assert (answer.status, answer.headers["headrace-model"]) == (200, first)
        wheel(wheels, "late", "1.0")  # the index has it now: the next try gets as far as these packages let it
        until(lambda: list((tmp_path / "home/envs").glob("*/headrace.json")), "the environment to be built")
        one.event("FAILED", again_in_s=3.2)
        assert "late" not in one.status("pinned")["problem"]
        # Nobody uses it any more, though the server that built it goes on: it may be pruned.
        store = EnvironmentStore(tmp_path / "home")
        (built,) = store.all()
        until(lambda: not store.in_use(built.digest), "the failed version to let go of its environment")
        assert ask(url, HAPPY).headers["headrace-model"] == first
