"""deploy/test/run where containers cannot be run: it says why and ends with 3, so that .ci/run goes on without them."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[3] / "deploy" / "test" / "run"


def tried(folder: Path, **programs: str) -> tuple[int, str]:
    """Exit code and last line of a run on a machine that has these programs, given as shell, and nothing else."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    environ = {"PATH": str(folder), "HOME": str(folder)}
    done = subprocess.run([sys.executable, RUN], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_without_docker(tmp_path: Path) -> None:
    code, told = tried(tmp_path)
    assert code == 3
    assert "docker is not installed" in told


def test_an_engine_that_does_not_start(tmp_path: Path) -> None:
    code, told = tried(tmp_path, docker='[ "$1" != info ]', dockerd="exit 1")
    assert code == 3
    assert "dockerd" in told


def test_an_engine_of_our_own_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    state = tmp_path / ".cache" / "headrace-containers"
    state.mkdir(parents=True)
    with (state / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, told = tried(tmp_path, docker='[ "$1" != info ]', dockerd="sleep 60")
    assert code == 3
    assert "another run" in told or "root" in told


def test_an_engine_that_cannot_build(tmp_path: Path) -> None:
    code, told = tried(tmp_path, docker='[ "$1" = info ]')
    assert code == 3
    assert "BuildKit" in told


def test_an_engine_that_runs_no_containers(tmp_path: Path) -> None:
    code, told = tried(tmp_path, docker='[ "$1" != run ] || { echo no cgroups >&2; exit 125; }')
    assert code == 3
    assert "no cgroups" in told


def test_an_engine_whose_containers_reach_no_package_index(tmp_path: Path) -> None:
    code, told = tried(tmp_path, docker='case "$*" in *"pip download"*) echo no route >&2; exit 1;; esac')
    assert code == 3
    assert "no package index: no route" in told
