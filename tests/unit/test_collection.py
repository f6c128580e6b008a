"""The whole suite has the same tests wherever, whenever and by whichever process it is collected."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_CHARACTERS = 220

# What gzip, zip files and names of the day take from the clock.
OTHER_CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + 90_061.5
time.time_ns = lambda: _time_ns() + 90_061_500_000_000
"""


def collecting(directory: Path, *options: str, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-p", "no:cacheprovider"]
    command += ["--assert=plain", *options]  # no assertion is run
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environ}
    return subprocess.Popen(
        command, cwd=directory, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def collected(run: subprocess.Popen[str]) -> list[str]:
    output, _ = run.communicate(timeout=280)
    assert run.returncode == 0, output[-3000:]
    return [line for line in output.splitlines() if "::" in line]


def test_two_collections_name_the_same_tests_in_the_same_order(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    unneeded = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".cache", "__pycache__", ".demo", ".bench", "dist")
    shutil.copytree(ROOT, elsewhere, ignore=unneeded, symlinks=True)
    if (ROOT.parent / "shared").exists():  # the recordings beside the repository name tests, too
        (tmp_path / "shared").symlink_to(ROOT.parent / "shared")
    (tmp_path / "other_clock.py").write_text(OTHER_CLOCK, encoding="utf-8")
    here = collecting(ROOT, PYTHONHASHSEED="1")
    there = collecting(elsewhere, "-p", "other_clock", PYTHONHASHSEED="2", PYTHONPATH=str(tmp_path))
    try:
        first, second = collected(here), collected(there)
    finally:
        for run in (here, there):
            run.kill()
            run.communicate()
    assert len(first) > 1000
    assert [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]] == []
    assert len(first) == len(second)
    odd = [name for name in first if not (name.isascii() and name.isprintable()) or len(name) > MOST_CHARACTERS]
    assert odd == []
    assert [name for name in first if re.search(r"0x[0-9a-f]{6,}|pytest-of-", name)] == []
