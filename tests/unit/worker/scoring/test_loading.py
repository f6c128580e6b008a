"""What is said of a model that does not load."""

import gc
import sys
from pathlib import Path

import pytest

from headrace_worker import scoring
from headrace_worker.scoring.loading import load_pyfunc

HERE = "{}.{}".format(*sys.version_info[:2])
UNPICKLE = r"import pickle; pickle.loads(b'\x80\xff.')"


def write(folder: Path, python: str, loads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was saved under `python` and whose loader runs `loads`."""
    code = folder / "code"
    code.mkdir()
    (code / f"loader_{folder.name}.py").write_text(f"def _load_pyfunc(path):\n    {loads}\n", encoding="utf-8")
    flavor = f"{{loader_module: loader_{folder.name}, python_version: {python}}}"
    (folder / "MLmodel").write_text(f"flavors:\n  python_function: {flavor}\nmlflow_version: 3.1.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(code)


def refusal(folder: Path, python: str, raising: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What loading such a model says."""
    write(folder, python, raising, monkeypatch)
    with pytest.raises(scoring.LoadError) as refused:
        load_pyfunc(str(folder), scoring.ScoringOptions())
    return str(refused.value)


def test_a_pickle_of_another_python_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(tmp_path, "3.8.18", UNPICKLE, monkeypatch)
    assert told == (
        f"it does not load under Python {HERE}; it was saved under Python 3.8, and a pickle often needs the same "
        "(environment: exact): ValueError: unsupported pickle protocol: 255"
    )


def test_nothing_is_said_of_the_same_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(tmp_path, f"{HERE}.99", UNPICKLE, monkeypatch)
    assert told == "it does not load: ValueError: unsupported pickle protocol: 255"


def test_a_missing_module_is_not_the_pythons_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = refusal(tmp_path, "3.8.18", "import no_such_module", monkeypatch)
    assert told == "it does not load: ModuleNotFoundError: No module named 'no_such_module'"


LOADS = "import gc; print(*gc.get_threshold()); return type('M', (), {'predict': lambda self, x: x})()"


@pytest.mark.parametrize(
    ("loads", "after"),
    [(LOADS, (700, 11, 12)), (LOADS.replace("; ", "; gc.set_threshold(5, 6, 7); ", 1), (5, 6, 7))],
    ids=["any model", "a model that sets it"],
)
def test_garbage_is_looked_for_rarely_while_a_model_loads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    loads: str,
    after: tuple[int, int, int],
) -> None:
    write(tmp_path, HERE, loads, monkeypatch)
    before = gc.get_threshold()
    gc.set_threshold(700, 11, 12)
    try:
        scoring.load(str(tmp_path), scoring.ScoringOptions())
        told = gc.get_threshold()
    finally:
        gc.set_threshold(*before)
    assert told == after
    assert capsys.readouterr().out.split()[-3:] == (["100000", "11", "12"] if after[0] == 700 else ["5", "6", "7"])
