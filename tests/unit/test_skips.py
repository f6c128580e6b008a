"""The rules of tests/conftest.py, seen in a pytest of their own."""

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parent.parent / "conftest.py"

SUITE = {
    "test_needs.py": """
        import pytest
        @pytest.mark.needs("sh")
        def test_has_it(): pass
        @pytest.mark.needs("no-such-program")
        def test_lacks_it(): pass
    """,
    "test_module.py": "import pytest; pytest.importorskip('no_such_module')",
    "test_allowed.py": "import pytest\ndef test_old(): pytest.skip('no Python 3.9 found')",
    "test_known.py": "import pytest\n@pytest.mark.xfail\ndef test_known_defect(): assert False",
}


def run_suite(folder: Path, *, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = needs: x\naddopts = -ra --strict-markers\n")
    for name, text in SUITE.items():
        (folder / name).write_text("\n".join(line.removeprefix(" " * 8) for line in text.splitlines()))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    environment = {**os.environ, "HEADRACE_CI": ci, "PYTHONPATH": str(CONFTEST.parent.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_a_missing_program_is_a_skip_with_a_reason(tmp_path: Path) -> None:
    result = run_suite(tmp_path, ci="")
    assert result.returncode == 0, result.stdout
    assert "needs the program no-such-program, which is not on PATH" in result.stdout
    assert "1 passed, 3 skipped, 1 xfailed" in result.stdout


def test_on_ci_it_is_a_failure(tmp_path: Path) -> None:
    result = run_suite(tmp_path, ci="1")
    assert result.returncode == 1, result.stdout
    for what in ("no-such-program", "no_such_module"):
        assert any(what in line for line in result.stdout.splitlines() if "nothing may be skipped" in line)
    assert "1 passed, 1 skipped, 1 xfailed, 2 errors" in result.stdout
