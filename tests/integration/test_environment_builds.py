"""Builds with real uv and real processes, of wheels of no substance: what goes wrong with builds, and what is kept."""

import asyncio
import contextlib
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.config import tree
from headrace.core.errors import EnvironmentBuildFailed, EnvironmentMismatch, InterpreterMissing, RequirementRefused
from headrace.environments.preparing import Environments, Prepared
from headrace.environments.store import EnvironmentStore
from tests.environment_rig import log, offline, prepare, record, wheel
from tests.environment_rig.stubborn import stubborn
from tests.integration.serving import until
from tests.processes import alive, command, family

HERE = platform.python_version()
SERVES = ["mlflow==1.0", "numpy==1.0", "pandas==1.0"]


PREPARE = """
import os, pathlib, sys
from tests.environment_rig import prepare
print(prepare(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), environ=dict(os.environ)).digest)
"""


def apart(wheels: Path) -> dict[str, str]:
    """The variables for a process that runs PREPARE."""
    return offline(wheels, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    for name in ("mlflow", "numpy", "pandas", "six"):
        wheel(folder, name, "1.0")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def model(tmp_path: Path, *requirements: str, python: str = HERE, name: str = "model") -> Path:
    return record(tmp_path / name, python, [*SERVES, *requirements])


def left(home: Path) -> list[str]:
    """What is in the home's environments besides locks."""
    return sorted(p.name for p in (home / "envs").iterdir() if p.suffix not in {".lock", ".use"})


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel ends no tools of a dead builder")
Builders = Callable[[], list[psutil.Process]]


@pytest.fixture
def builders() -> Builders:
    """Gives every process of this test's builds, uv and what it runs included; not the servers that tests share."""
    shared = psutil.Process().children()

    def running() -> list[psutil.Process]:
        own = [child for child in psutil.Process().children() if child not in shared]
        return alive([process for child in own for process in (child, *family(child.pid))])

    return running


def test_an_environment_is_built_once_and_is_private(home: Path, wheels: Path, tmp_path: Path) -> None:
    first = prepare(home, model(tmp_path), environ=offline(wheels))
    assert (first.built, first.report.mismatches) == (True, ())
    again = prepare(home, model(tmp_path), environ={"PATH": "/nowhere"})
    assert (again.built, again.python, again.report) == (False, first.python, first.report)
    (name,) = left(home)
    assert first.digest == name
    for folder in (home / "envs", home / "envs" / name):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    code = "import mlflow, sys; print(sys.prefix)"
    done = subprocess.run([first.python, "-c", code], env=first.environ({}), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(home / "envs" / name)


def test_models_that_ask_for_the_same_share_one(home: Path, wheels: Path, tmp_path: Path) -> None:
    one = prepare(home, model(tmp_path, "six==1.0"), environ=offline(wheels))
    other = prepare(home, record(tmp_path / "other", HERE, ["Six == 1.0", *reversed(SERVES)]), environ=offline(wheels))
    assert (other.digest, other.built) == (one.digest, False)


def test_two_processes_at_once_build_once(home: Path, wheels: Path, tmp_path: Path) -> None:
    folder = model(tmp_path)

    async def both() -> list[tuple[Prepared, int]]:
        async def one() -> tuple[Prepared, int]:
            told, events = log()
            environments = Environments(home, tree.Environments(), offline(wheels))
            prepared = await environments.prepare(folder, "exact", None, told)
            return prepared, len([e for e in events if e["event"] == "build"])

        return list(await asyncio.gather(one(), one()))

    (one, one_lines), (other, other_lines) = asyncio.run(both())
    assert one.python == other.python
    assert sorted([bool(one_lines), bool(other_lines)]) == [False, True], "one builds, the other waits for it"


def test_no_such_version_says_what_uv_said(home: Path, wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildFailed, match=r"uv pip failed \(exit code 1\): .*six==99\.0") as caught:
        prepare(home, model(tmp_path, "six==99.0"), environ=offline(wheels))
    assert "\n" not in str(caught.value)
    assert left(home) == []


def test_an_index_that_is_away_says_so(home: Path, wheels: Path, tmp_path: Path) -> None:
    environ = offline(wheels, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    del environ["PIP_NO_INDEX"]
    with pytest.raises(EnvironmentBuildFailed, match=r"127\.0\.0\.1:9"):
        prepare(home, model(tmp_path), environ=environ)
    assert left(home) == []
    assert prepare(home, model(tmp_path), environ=offline(wheels)).built


def test_what_does_not_build_says_so(home: Path, wheels: Path, tmp_path: Path) -> None:
    _, gate = stubborn(wheels, says="x" * 200_000 + " the compiler is missing")
    gate.touch()
    with pytest.raises(EnvironmentBuildFailed, match="the compiler is missing"):
        prepare(home, model(tmp_path, "stubborn==1.0"), environ=offline(wheels))
    assert left(home) == []


def test_source_builds_can_be_refused(home: Path, wheels: Path, tmp_path: Path) -> None:
    started, _ = stubborn(wheels)
    with pytest.raises(EnvironmentBuildFailed, match="stubborn"):
        prepare(home, model(tmp_path, "stubborn==1.0"), environ=offline(wheels), source_builds=False)
    assert not started.exists()


def test_an_environment_comes_compiled_whatever_python_is_told(home: Path, wheels: Path, tmp_path: Path) -> None:
    built = prepare(home, model(tmp_path), environ=offline(wheels, PYTHONDONTWRITEBYTECODE="1"))
    packages = Path(built.python).parent.parent / "lib"
    compiled = {path.parent.parent.name for path in packages.rglob("*.pyc")}
    assert compiled >= {"mlflow", "numpy", "pandas"}


def test_a_build_that_takes_too_long_is_ended(home: Path, wheels: Path, tmp_path: Path, builders: Builders) -> None:
    stubborn(wheels)
    with pytest.raises(EnvironmentBuildFailed, match=r"was not built within 3 s; raise environments\.build_timeout_s"):
        prepare(home, model(tmp_path, "stubborn==1.0"), environ=offline(wheels), build_timeout_s=3.0)
    assert left(home) == []
    assert builders() == []


async def _while_building(work: asyncio.Task[Any], started: Path, act: Callable[[], object]) -> None:
    await asyncio.to_thread(until, started.exists, "the build to start")
    act()
    await asyncio.wait({work})


@pytest.mark.parametrize("how", ["builder", "all", "cancel"])
def test_a_build_that_ends_half_way_leaves_nothing(
    home: Path, wheels: Path, tmp_path: Path, how: str, builders: Builders
) -> None:
    started, _ = stubborn(wheels)
    folder = model(tmp_path, "stubborn==1.0")

    async def run() -> BaseException | None:
        environments = Environments(home, tree.Environments(), offline(wheels))
        work = asyncio.create_task(environments.prepare(folder, "exact", None, log()[0]))

        def act() -> None:
            assert left(home) != [], "there is a half-built one"
            if how == "cancel":
                work.cancel()
                return
            family = builders()
            for process in family:
                if how == "all" or "headrace.environments" in command(process):
                    with contextlib.suppress(psutil.NoSuchProcess):  # a tool of the build's may have just ended
                        process.kill()

        await _while_building(work, started, act)
        return asyncio.CancelledError() if work.cancelled() else work.exception()

    error = asyncio.run(run())
    assert isinstance(error, asyncio.CancelledError if how == "cancel" else EnvironmentBuildFailed)
    assert left(home) == []
    assert builders() == []


@pytest.mark.parametrize("builder_too", [False, pytest.param(True, marks=linux_only)])
def test_a_builder_and_its_tools_end_with_the_one_who_ordered(
    home: Path, wheels: Path, tmp_path: Path, builders: Builders, *, builder_too: bool
) -> None:
    started, _ = stubborn(wheels)
    folder = model(tmp_path, "stubborn==1.0")
    order = [sys.executable, "-c", PREPARE, str(home), str(folder)]
    with subprocess.Popen(order, env=apart(wheels)) as orderer:
        try:
            until(started.exists, "the build to start")
            running = builders()
            if builder_too:
                orderer.send_signal(signal.SIGSTOP)  # it cannot end what its builder ran
                for process in running:
                    if "headrace.environments" in command(process):
                        process.kill()
        finally:
            orderer.send_signal(signal.SIGKILL)  # else leaving the block waits for a build that never ends
    _, left_running = psutil.wait_procs(running, timeout=60)
    assert left_running == []
    (half_built,) = left(home)
    assert EnvironmentStore(home).find(half_built) is None
    # The next one finds what was left, and builds anew in the same place.
    wheel(wheels, "stubborn", "1.0")
    assert prepare(home, folder, environ=offline(wheels)).digest == half_built


def test_a_full_disk_leaves_nothing(home: Path, wheels: Path, tmp_path: Path) -> None:
    wheel(wheels, "large", "1.0", content="#" * 4_000_000)
    folder = model(tmp_path, "large==1.0")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # inherited by the builder and by uv
        with pytest.raises(EnvironmentBuildFailed):
            prepare(home, folder, environ=offline(wheels))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(home) == []
    assert prepare(home, folder, environ=offline(wheels)).built


def test_a_place_that_cannot_be_written_to_is_named(home: Path, tmp_path: Path) -> None:
    home.write_text("", encoding="utf-8")
    with pytest.raises(EnvironmentBuildFailed, match=r"cannot be prepared: .*Not a directory: '.*/home/envs'"):
        prepare(home, model(tmp_path), environ={})


def test_a_half_built_one_is_not_used(home: Path, wheels: Path, tmp_path: Path) -> None:
    first = prepare(home, model(tmp_path), environ=offline(wheels))
    marker = home / "envs" / str(first.digest) / "headrace.json"
    marker.unlink()
    again = prepare(home, model(tmp_path), environ=offline(wheels))
    assert (again.built, again.digest) == (True, first.digest)
    assert marker.exists()


def test_one_that_was_changed_is_told_as_it_is_and_refused(home: Path, wheels: Path, tmp_path: Path) -> None:
    first = prepare(home, model(tmp_path, "six==1.0"), environ=offline(wheels))
    (package,) = Path(first.python).parent.parent.glob("lib/*/site-packages/six-1.0.dist-info")
    package.rename(package.with_name("six-1.1.dist-info"))
    (package.with_name("six-1.1.dist-info") / "METADATA").write_text("Name: six\nVersion: 1.1\n", encoding="utf-8")
    with pytest.raises(
        EnvironmentMismatch, match=r"six \(found: 1\.1, .* was changed after it was built: remove /.*, or"
    ):
        prepare(home, model(tmp_path, "six==1.0"), environ=offline(wheels))


def test_one_whose_interpreter_is_gone_is_built_anew(home: Path, wheels: Path, tmp_path: Path) -> None:
    first = Path(prepare(home, model(tmp_path), environ=offline(wheels)).python)
    first.unlink()
    first.symlink_to(tmp_path / "gone")
    assert prepare(home, model(tmp_path), environ=offline(wheels)).built


def test_a_model_without_what_a_worker_needs_is_refused_and_nothing_added(
    home: Path, wheels: Path, tmp_path: Path
) -> None:
    folder = record(tmp_path / "model", HERE, ["mlflow==1.0", "six==1.0"])
    with pytest.raises(
        EnvironmentMismatch, match=r"has no pandas, no numpy, without which .* should name pandas, numpy"
    ):
        prepare(home, folder, environ=offline(wheels))
    (environment,) = EnvironmentStore(home).all()
    assert set(environment.packages) == {"mlflow", "six"}


def test_no_such_python_says_what_there_is(home: Path, wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(InterpreterMissing) as caught:
        prepare(home, model(tmp_path, python="3.99.4"), environ=offline(wheels))
    said = str(caught.value)
    assert "trained with Python 3.99.4 and there is no Python 3.99 on this machine" in said
    assert f"{HERE.rpartition('.')[0]} (running)" in said
    assert "pyenv install 3.99" in said
    assert "environment: local" in said


def test_what_uv_cannot_download_either_is_told_in_its_words(home: Path, wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildFailed, match=r"uv python failed .*3\.99\.4"):
        prepare(home, model(tmp_path, python="3.99.4"), environ=offline(wheels), download_interpreters=True)
    assert left(home) == []


def test_what_is_not_allowed_reaches_no_tool(home: Path, wheels: Path, tmp_path: Path) -> None:
    folder = model(tmp_path, "--extra-index-url http://127.0.0.1:9/simple")
    with pytest.raises(RequirementRefused, match=r"environments\.allow: \[indexes\]"):
        prepare(home, folder, environ=offline(wheels))
    assert not (home / "envs").exists()


def test_an_index_that_is_allowed_is_used(home: Path, wheels: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    wheel(more, "rare", "1.0")
    folder = model(tmp_path, f"--find-links {more}", "rare==1.0")
    prepared = prepare(home, folder, environ=offline(wheels), allow=("indexes",))
    assert prepared.report.mismatches == ()


def test_a_wheel_of_the_model_can_be_allowed(home: Path, wheels: Path, tmp_path: Path) -> None:
    folder = model(tmp_path, "wheels/own-2.0-py3-none-any.whl", "-c constraints.txt", "six", name="Müller's model")
    wheel(folder / "wheels", "own", "2.0")
    (folder / "constraints.txt").write_text("six<2\n", encoding="utf-8")
    wheel(wheels, "six", "2.0")
    with pytest.raises(RequirementRefused, match=r"allow: \[paths\]"):
        prepare(home, folder, environ=offline(wheels))
    first = prepare(home, folder, environ=offline(wheels), allow=("files", "paths"))
    found = {f.package: f.found for f in first.report.findings}
    assert (found["own"], found["six"]) == ("2.0", "1.0")
    wheel(folder / "wheels", "own", "2.0", content="answer = 42")
    other = prepare(home, folder, environ=offline(wheels), allow=("files", "paths"))
    assert other.digest != first.digest, "another content is another environment"


def test_the_running_environment_serves_what_it_satisfies(home: Path, tmp_path: Path) -> None:
    folder = record(tmp_path / "model", HERE, ["numpy", "pandas"])
    prepared = prepare(home, folder, "compatible", environ={})
    assert (prepared.python, prepared.digest, prepared.report.mismatches) == (sys.executable, None, ())
    assert prepared.environ({"PYTHONPATH": "kept"}) == {"PYTHONPATH": "kept"}


def test_a_mismatch_can_be_refused_under_local(home: Path, tmp_path: Path) -> None:
    folder = record(tmp_path / "model", "3.12.1", ["numpy==1.0", "no-such-package"])
    assert len(prepare(home, folder, "local", environ={}).report.mismatches) >= 2
    with pytest.raises(EnvironmentMismatch, match=r"numpy \(found: .*, required: ==1\.0\).*environment_mismatch: warn"):
        prepare(home, folder, "local", "refuse", environ={})


def test_what_cannot_be_read_is_told_under_local_and_refused_otherwise(home: Path, tmp_path: Path) -> None:
    folder = record(tmp_path / "model", HERE, ["--editable ."])
    prepared = prepare(home, folder, "local", environ={})
    assert "may not hold the option --editable" in str(prepared.describe()["problem"])
    for policy in ("compatible", "exact"):
        with pytest.raises(RequirementRefused, match="may not hold the option --editable"):
            prepare(home, folder, policy, environ={})


@pytest.mark.slow
def test_pruning_by_age_and_size_spares_what_is_in_use(home: Path, wheels: Path, tmp_path: Path) -> None:
    # Each is built by a process of its own, which uses it until it ends.
    names = []
    for requirement in ("six==1.0", "six<2", "six<3"):
        arguments = [str(home), str(model(tmp_path, requirement, name=requirement))]
        done = subprocess.run(
            [sys.executable, "-c", PREPARE, *arguments], env=apart(wheels), capture_output=True, text=True, check=True
        )
        names.append(done.stdout.strip())
    oldest, used, newest = names
    store = EnvironmentStore(home)
    for age_s, name in ((900, oldest), (600, used), (0, newest)):
        stamp = store.used_s(newest) - age_s
        os.utime(home / "envs" / f"{name}.use", (stamp, stamp))
    assert [e.digest for e in store.all()] == [newest, used, oldest]
    assert [e.digest for e in store.prune(max_age_s=800, max_bytes=None, dry_run=True)] == [oldest]
    assert [e.digest for e in store.prune(max_age_s=800, max_bytes=None)] == [oldest]
    user = EnvironmentStore(home)
    user.use(used)
    assert [e.digest for e in store.prune(max_age_s=None, max_bytes=0)] == [newest]
    assert [e.digest for e in store.all()] == [used]
