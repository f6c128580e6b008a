"""What ONNX Runtime is told about threads while a model of that flavor loads. The library is no part of these tests."""

import sys
from types import ModuleType
from typing import Any

import pytest

from headrace_worker.scoring.sessions import FLAVOR, sparing


class Options:
    """As onnxruntime's own, as far as MLflow uses it."""

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("onnxruntime")
    module.SessionOptions = Options
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module


def test_sessions_have_as_many_threads_as_other_libraries_and_none_of_them_spins(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with sparing(FLAVOR):
        made = runtime.SessionOptions()
        assert made.intra_op_num_threads == 3
        assert set(made.entries.values()) == {"0"}
        # What the model's configuration says is set afterwards, and wins.
        made.add_session_config_entry("session.intra_op.allow_spinning", "1")
        assert made.entries["session.intra_op.allow_spinning"] == "1"
    assert runtime.SessionOptions is Options


@pytest.mark.parametrize("threads", [None, "", "4,2", "many"])
def test_what_is_no_number_of_threads_leaves_the_choice_to_the_runtime(
    threads: str | None, runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    with sparing(FLAVOR):
        assert runtime.SessionOptions().intra_op_num_threads == 0


def test_a_model_that_fails_to_load_leaves_nothing_behind(runtime: Any) -> None:
    with pytest.raises(OSError, match="gone"), sparing(FLAVOR):
        raise OSError("gone")
    assert runtime.SessionOptions is Options


@pytest.mark.parametrize("loader", [None, "mlflow.sklearn"])
def test_other_flavors_are_left_alone(loader: str | None, runtime: Any) -> None:
    with sparing(loader):
        assert runtime.SessionOptions is Options


def test_the_flavor_without_its_library_fails_in_mlflows_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with sparing(FLAVOR):
        pass
