"""What holds for every test: a test that needs a program says so, and CI lets nothing be skipped unseen."""

import gc
import os
import re
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests import registries
from tests.client_rig.fixtures import client_registry, client_server  # noqa: F401 - fixtures of the client's tests
from tests.integration.moving import Registry

# How long an example takes says what else the machine does.
settings.register_profile("any machine", parent=settings(), deadline=None)
settings.load_profile("any machine")

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)

# On CI a skip is a failure, but for what a machine cannot be asked to bring.
ALLOWED_ON_CI = re.compile(r"no Python 3\.\d+ found|the recordings of MLflow's scoring server .* are not here")

REGISTRY = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}


_MOST_ID_CHARACTERS = 60


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:  # noqa: ARG001
    """Name cases of bytes and texts by themselves only where that is short and printable: else by their argument.

    pytest numbers those that have the same name. What a case holds may differ from one collection to the next (gzip
    writes the time into its header), and two workers of one run have to collect the same names.
    """
    if not isinstance(val, str | bytes):
        return None
    text = val.decode("latin-1") if isinstance(val, bytes) else val
    return text if text.isascii() and text.isprintable() and len(text) <= _MOST_ID_CHARACTERS else argname


_started_processes = False


def _note_processes(event: str, _: tuple[object, ...]) -> None:
    global _started_processes  # noqa: PLW0603 - an audit hook cannot be taken back
    if event == "subprocess.Popen":
        _started_processes = True


sys.addaudithook(_note_processes)


# The folders with the longest files first: where several processes share the files of a run, the last ones are short,
# and no process waits for another that has just begun with a long one.
_FOLDERS = ("integration", "faults", "conformance", "properties", "docs", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((rank for rank, name in enumerate(_FOLDERS) if name in item.path.parts), 0))


# Files whose servers or models are shared: one process runs all of them, and starts or loads what they share once.
_TOGETHER = [
    re.compile(r"^tests/(integration|faults|docs)/test_client"),
    re.compile(r"^tests/integration/test_(moves|registries)\.py"),
    re.compile(r"^tests/(conformance/test_invocations|properties/test_scoring)\.py"),
]


class _FilesTogether(LoadFileScheduling):  # type: ignore[misc] # it has no types
    def _split_scope(self, nodeid: str) -> Any:
        group = next((pattern.pattern for pattern in _TOGETHER if pattern.match(nodeid)), None)
        return group or super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _FilesTogether(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """What is there before the first test is no test's garbage: looking for that costs a tenth without it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_leftovers() -> Iterator[None]:
    """Collect what a test with processes leaves while it is still that test: its warnings are then its own failure.

    A process or a pipe that nobody has closed would otherwise fail whichever test the collector runs in.
    """
    global _started_processes  # noqa: PLW0603 - as above
    yield
    if _started_processes:
        _started_processes = False
        gc.collect()


def pytest_configure() -> None:
    """Take SIGINT as from a terminal: a shell that runs tests in the background has it ignored, by children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked needs("wrk", ...) where one of these programs is missing; begin with the caller's registry.

    MLflow's set_tracking_uri and set_registry_uri write to the environment, which what later tests start would inherit.
    """
    for name, value in REGISTRY.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for mark in item.iter_markers("needs"):
        for program in mark.args:
            if shutil.which(program) is None:
                pytest.skip(f"needs the program {program}, which is not on PATH")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _fail_skips_on_ci(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _fail_skips_on_ci(report)


def _fail_skips_on_ci(report: R) -> R:
    """Where HEADRACE_CI=1, make a skip that is not allowed a failure; an expected failure stays one."""
    expected_failure = hasattr(report, "wasxfail")
    if os.environ.get("HEADRACE_CI") != "1" or not report.skipped or expected_failure:
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not ALLOWED_ON_CI.search(reason):
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped where HEADRACE_CI=1, but: {reason}"
    return report


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tracking URI of a registry with mood (versions 1 and 2), moody and broken, each with an alias production."""
    return registries.registry(tmp_path_factory, Path(__file__).parent / "integration" / "build_registry.py")


@pytest.fixture(scope="session")
def moves(registry: str) -> Iterator[Registry]:
    """Moves aliases in `registry`."""
    with Registry(registry) as made:
        yield made
