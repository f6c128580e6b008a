"""A model's past survives what happens to its files, and nothing that repeats itself hides what was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.core.identity import Resolved
from headrace.supervisor.rollout.history import History, Memory

VERSION = Resolved(uri="models:/a@p", name="a", version="1", source="models:/m-1")


def test_entries_and_memory_are_there_after_a_restart(tmp_path: Path) -> None:
    history = History(tmp_path, "r", VERSION.uri, "a")
    history.add("serving", "a/1", "the registry points at it", replaced=None)
    history.remember(Memory(served=[VERSION]))
    again = History(tmp_path, "r", VERSION.uri, "a")
    assert [(e["event"], e["version"]) for e in again.last()] == [("serving", "a/1")]
    assert again.recall().served == [VERSION]


@pytest.mark.parametrize(
    "garbage",
    [b'{"a": "\xff\xfe"}', b"[" * 100_000, b"5", b"null", b"{}", b'{"at": "noon"}', b'{"at'],
    ids=["bytes", "deep", "number", "null", "empty", "kind", "half"],
)
def test_lines_that_are_no_entries_are_left_out(tmp_path: Path, garbage: bytes) -> None:
    history = History(tmp_path, "r", VERSION.uri, "a")
    history.add("serving", "a/1", "first")
    (file,) = (tmp_path / "history").glob("*.jsonl")
    file.write_bytes(file.read_bytes() + garbage)
    history.add("serving", "a/2", "second")
    assert [e["version"] for e in history.last()] == ["a/1", "a/2"]


@pytest.mark.parametrize(
    "garbage", [b'{"served": "\xff"}', b"[" * 100_000, b"5", b""], ids=["bytes", "deep", "number", "empty"]
)
def test_a_memory_that_cannot_be_read_is_empty(tmp_path: Path, garbage: bytes) -> None:
    history = History(tmp_path, "r", VERSION.uri, "a")
    history.remember(Memory(served=[VERSION]))
    (file,) = (tmp_path / "history").glob("*.json")
    file.write_bytes(garbage)
    assert history.recall() == Memory()


def test_two_uris_served_by_one_name_have_a_past_each(tmp_path: Path) -> None:
    production, staging = (History(tmp_path, "r", f"models:/a@{alias}", "a") for alias in ("production", "staging"))
    staging.add("serving", "a/2", "the registry points at it")
    staging.remember(Memory(served=[VERSION], held=VERSION))
    assert production.last() == []
    assert production.recall() == Memory()


def test_what_fails_again_and_again_is_one_entry(tmp_path: Path) -> None:
    history = History(tmp_path, "r", "models:/mood@p", "mood")
    history.add("serving", "mood/1", "the registry points at it", replaced=None)
    for _ in range(100):
        history.add("failed", "mood/2", "it does not load")
    history.add("failed", "mood/2", "another reason")
    history.of_alias("dark").add("failed", "mood/2", "another reason")
    entries = history.last()
    assert [(e["event"], e["version"], e.get("times", 1)) for e in entries] == [
        ("serving", "mood/1", 1),
        ("failed", "mood/2", 100),
        ("failed", "mood/2", 1),
        ("failed", "mood/2", 1),
    ]
    assert entries[1]["first_at"] <= entries[1]["at"]


def test_every_start_is_an_entry(tmp_path: Path) -> None:
    for _ in range(3):
        History(tmp_path, "r", "models:/mood@p", "mood").add("serving", "mood/1", "the registry points at it")
    assert len(History(tmp_path, "r", "models:/mood@p", "mood").last()) == 3
    assert len(History(tmp_path, "r", "models:/mood@p", "mood").last(2)) == 2


@pytest.mark.parametrize("damage", ["directory", "dangling link", "no folder", "file for the folder"])
def test_whatever_stands_in_the_place_of_its_files_the_past_is_kept_from_then_on(tmp_path: Path, damage: str) -> None:
    history = History(tmp_path, "r", VERSION.uri, "a")
    history.add("serving", "a/1", "before")
    history.remember(Memory(served=[VERSION]))
    folder = tmp_path / "history"
    files = list(folder.iterdir())
    assert len(files) == 2
    for path in files:
        path.unlink()
        if damage == "directory":
            (path / "inner").mkdir(parents=True)
        elif damage == "dangling link":
            path.symlink_to(folder / "elsewhere" / "nowhere")
    if damage in {"no folder", "file for the folder"}:
        folder.rmdir()
    if damage == "file for the folder":
        folder.write_text("x", encoding="utf-8")
        again = History(tmp_path, "r", VERSION.uri, "a")  # what serves does not need it
        again.add("serving", "a/2", "lost")
        assert (again.last(), again.recall()) == ([], Memory())
        return
    assert (history.last(), history.recall()) == ([], Memory())
    history.add("serving", "a/2", "after")
    history.remember(Memory(served=[VERSION]))
    again = History(tmp_path, "r", VERSION.uri, "a")
    assert [e["version"] for e in again.last()] == ["a/2"]
    assert again.recall().served == [VERSION]


def test_two_aliases_whose_names_fold_into_one_have_a_memory_each(tmp_path: Path) -> None:
    history = History(tmp_path, "r", VERSION.uri, "a")
    for alias in ("\u00e4", "\u00f6", "-"):
        history.of_alias(alias).remember(Memory(served=[VERSION]))
    assert len(list((tmp_path / "history").glob("*@*.json"))) == 3
