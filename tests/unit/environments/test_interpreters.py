"""Which interpreter is chosen, among ones that are made of a shell script."""

import sys
from pathlib import Path

import pytest

from headrace.core.errors import InterpreterMissing
from headrace.environments.interpreters import find_interpreter, uv_directory


def python(path: Path, version: str, implementation: str = "cpython", itself: Path | None = None) -> Path:
    """A program that says it is this Python; with `itself` one that runs another, as pyenv's shims do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = f'["{version}", "{implementation}", true, "{itself or path}"]'
    path.write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
    path.chmod(0o700)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": str(tmp_path / "bin"),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "uv"),
        "HOME": str(tmp_path),
    }


def test_the_exact_patch_is_preferred_wherever_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    python(tmp_path / "bin/python3.99", "3.99.1")
    python(tmp_path / "pyenv/versions/3.99.3/bin/python3", "3.99.3")
    wanted = python(tmp_path / "uv/cpython-3.99.2-linux-x86_64-gnu/bin/python3", "3.99.2")
    found = find_interpreter("3.99.2", [], environ)
    assert (found.path, found.version, found.source) == (str(wanted), "3.99.2", "uv")


def test_another_patch_will_do_and_what_is_configured_comes_first(tmp_path: Path, environ: dict[str, str]) -> None:
    python(tmp_path / "bin/python3.99", "3.99.1")
    own = python(tmp_path / "own/python", "3.99.7")
    found = find_interpreter("3.99.2", [str(own)], environ)
    assert (found.path, found.source) == (str(own), "configured")
    assert find_interpreter("3.99", [], environ).source == "PATH"


def test_the_running_one_comes_before_others(environ: dict[str, str]) -> None:
    found = find_interpreter("{}.{}.{}".format(*sys.version_info), [], environ)
    assert (found.path, found.source) == (sys.executable, "running")


def test_a_shim_is_followed_to_the_interpreter_that_it_runs_here(tmp_path: Path, environ: dict[str, str]) -> None:
    real = tmp_path / "elsewhere/3.99.2/bin/python3.99"
    python(tmp_path / "bin/python3.99", "3.99.2", itself=real)
    found = find_interpreter("3.99.2", [], environ)
    assert (found.path, found.source) == (str(real), "PATH")


@pytest.mark.parametrize("broken", ["fails", "another name", "pypy", "not executable"])
def test_what_does_not_run_or_is_something_else_is_passed_over(
    tmp_path: Path, environ: dict[str, str], broken: str
) -> None:
    path = python(tmp_path / "bin/python3.99", "3.99.2", "pypy" if broken == "pypy" else "cpython")
    if broken == "fails":
        path.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    elif broken == "another name":
        python(path, "3.98.2")
    elif broken == "not executable":
        path.chmod(0o600)
    right = python(tmp_path / "pyenv/versions/3.99.2/bin/python3", "3.99.2")
    assert find_interpreter("3.99.2", [], environ).path == str(right)


def test_the_newest_of_pyenv_is_taken_and_virtual_environments_are_not(tmp_path: Path, environ: dict[str, str]) -> None:
    for name in ("3.99.9", "3.99.10", "mine-3.99", "3.99.11t"):
        python(tmp_path / f"pyenv/versions/{name}/bin/python3", "3.99.10" if name != "3.99.9" else "3.99.9")
    found = find_interpreter("3.99.2", [], environ)
    assert found.path == str(tmp_path / "pyenv/versions/3.99.10/bin/python3")


def test_where_there_is_none_the_message_lists_what_there_is(tmp_path: Path, environ: dict[str, str]) -> None:
    python(tmp_path / "bin/python3", "3.98.1")
    python(tmp_path / "pyenv/versions/3.97.5/bin/python3", "3.97.5")
    with pytest.raises(InterpreterMissing) as caught:
        find_interpreter("3.99.2", [str(tmp_path / "absent")], environ)
    for part in (
        f"{tmp_path}/absent (configured, does not run)",
        "3.98.1 (PATH)",
        "3.97 (pyenv)",
        "(running)",
        f"PATH, {tmp_path}/pyenv/versions and {tmp_path}/uv",
    ):
        assert part in str(caught.value)


def test_where_uv_keeps_its_own(tmp_path: Path) -> None:
    assert uv_directory({"HOME": "/h"}) == Path("/h/.local/share/uv/python")
    assert uv_directory({"XDG_DATA_HOME": "/d"}) == Path("/d/uv/python")
    assert uv_directory({"UV_PYTHON_INSTALL_DIR": str(tmp_path)}) == tmp_path
