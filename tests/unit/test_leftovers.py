"""A process that a test does not wait for fails that test, not one that happens to run later (tests/conftest.py)."""

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"

SUITE = """
import gc
import subprocess
import sys


class Holder:
    pass


def test_that_leaves_a_process():
    holder = Holder()
    holder.itself = holder
    holder.process = subprocess.Popen([sys.executable, "-c", "pass"])


def test_in_which_the_collector_runs():
    gc.collect()
"""


def test_what_a_test_leaves_is_its_own_failure(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"))
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = -rA\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONFTEST.parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "ERROR test_suite.py::test_that_leaves_a_process" in done.stdout, done.stdout
    assert "PASSED test_suite.py::test_in_which_the_collector_runs" in done.stdout
