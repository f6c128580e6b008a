"""Models that are made in processes of their own: what goes wrong there is told, and nothing is left running."""

import io
import multiprocessing
from pathlib import Path

import pytest
from rich.console import Console

from news.aside import make
from news.errors import NewsError
from news.progress import Progress


class Killer(Progress):
    """Kills whoever begins a step."""

    def begun(self, title: str) -> None:
        super().begun(title)
        for process in multiprocessing.active_children():
            process.kill()


def test_what_cannot_be_made_says_why_and_ends_the_others(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    progress = Progress(Console(file=io.StringIO()), steps=8)
    with pytest.raises(NewsError, match="file"):
        next(make(["sentiment", "classification"], tmp_path / "file", progress))
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_told_with_what_may_have_killed_it(tmp_path: Path) -> None:
    with pytest.raises(NewsError, match=r"^sentiment could not be made: .* signal 9; is there enough memory\?$"):
        next(make(["sentiment"], tmp_path, Killer(Console(file=io.StringIO()), steps=4)))
    assert multiprocessing.active_children() == []
