"""A cache that somebody or some disk has damaged heals by itself, and the log says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import ask, serving

BODY = {"inputs": ["good great happy"]}


def directories_for_files(home: Path) -> None:
    folders = ("models", "versions", "resolutions", "history")
    for path in [path for folder in folders for path in (home / folder).iterdir() if path.is_file()]:
        path.unlink()
        (path / "inner").mkdir(parents=True)


def files_for_directories(home: Path) -> None:
    for path in [path for path in (home / "models").iterdir() if path.is_dir()]:
        shutil.rmtree(path)
        path.write_text("x", encoding="utf-8")


@pytest.mark.slow
def test_starts_with_a_damaged_cache(registry: str, tmp_path: Path) -> None:
    model = {"uri": "models:/moody@production", "port": 0, "environment": "local"}
    document: dict[str, Any] = {
        "registry": {"tracking_uri": registry},
        "admin": {"port": 0},
        "models": {"moody": model},
    }
    with serving(tmp_path, document) as one:
        assert ask(f"{one.url('moody')}/invocations", BODY).status == 200
        assert one.stop() == 0
    home = tmp_path / "home"
    (digest,) = [path for path in (home / "models").iterdir() if path.is_dir()]
    for damage in (directories_for_files, files_for_directories):
        damage(home)
        with serving(tmp_path, document) as one:
            assert ask(f"{one.url('moody')}/invocations", BODY).status == 200
            assert [e for e in one.events if e["event"] == "output" and "cache repaired: " in e["line"]], damage
            assert one.stop() == 0
        assert digest.is_dir()
