"""A cache that somebody or some disk has damaged heals by itself, and the log says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.serving import ask, serving

BODY = {"inputs": ["good great happy"]}


@pytest.mark.parametrize("damage", ["directories for files", "files for directories"])
def test_a_start_with_a_damaged_cache(damage: str, registry: str, tmp_path: Path) -> None:
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
    digests = [path for path in (home / "models").iterdir() if path.is_dir()]
    assert len(digests) == 1
    if damage == "directories for files":
        files = [
            path for folder in ("models", "versions", "resolutions", "history") for path in (home / folder).iterdir()
        ]
        for path in [path for path in files if path.is_file()]:
            path.unlink()
            (path / "inner").mkdir(parents=True)
    else:
        shutil.rmtree(digests[0])
        digests[0].write_text("x", encoding="utf-8")
    with serving(tmp_path, document) as one:
        assert ask(f"{one.url('moody')}/invocations", BODY).status == 200
        assert [e for e in one.events if e["event"] == "output" and "cache repaired: " in e["line"]]
        assert one.stop() == 0
    assert digests[0].is_dir()
