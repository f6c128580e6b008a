"""The store keeps whole, verified copies, and never half of one."""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.core.errors import ModelLoadError, UsageError
from headrace.core.identity import Resolved
from headrace.registry.store import Store

VERSION = Resolved(uri="models:/a@p", name="a", version="1", source="models:/m-1")


def writes(files: dict[str, str]) -> Callable[[Path], Path]:
    def download(directory: Path) -> Path:
        for name, text in files.items():
            path = directory / "model" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return directory / "model"

    return download


MODEL = {"MLmodel": "flavors: {}", "data/model.bin": "weights"}


def test_a_version_is_found_again_by_another_process(tmp_path: Path) -> None:
    stored = Store(tmp_path, "r").add(VERSION, writes(MODEL))
    assert Path(stored.path, "data/model.bin").read_text(encoding="utf-8") == "weights"
    assert Store(tmp_path, "r").find(VERSION) == stored
    assert Store(tmp_path, "another registry").find(VERSION) is None


def test_what_mlflow_writes_into_a_directory_is_not_content(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    one = store.add(VERSION, writes(MODEL))
    two = store.add(VERSION, writes({**MODEL, "registered_model_meta": "x"}))
    assert one.digest == two.digest


def compiled(folder: Path) -> Path:
    """What Python writes beside a model's code while a worker loads it."""
    cache = folder / "code" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "model.cpython-311.pyc").write_bytes(b"anything")
    return cache


def test_what_python_has_compiled_of_a_models_code_is_no_damage_and_never_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", "r")
    found = store.add(VERSION, writes(MODEL))
    looks: list[Callable[[], bool]] = [lambda: store.find(VERSION) == found, lambda: store.is_whole(found)]
    for whole in looks:
        cache = compiled(Path(found.path))
        assert whole()
        assert not cache.exists(), "Python would run what is in there instead of the verified code"
    elsewhere, link = tmp_path / "elsewhere", Path(found.path) / "__pycache__"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    assert store.is_whole(found)
    assert (link.is_symlink(), elsewhere.exists()) == (False, True)


def test_compiled_code_that_was_logged_with_a_model_is_not_content(tmp_path: Path) -> None:
    def download(directory: Path) -> Path:
        compiled(directory / "model")
        return writes(MODEL)(directory)

    store = Store(tmp_path, "r")
    found = store.add(VERSION, download)
    assert found.digest == store.add(VERSION, writes(MODEL)).digest
    assert not list(Path(found.path).rglob("*.pyc"))


@pytest.mark.parametrize("harm", ["change", "add", "remove"])
def test_a_copy_that_is_not_what_it_was_is_not_used(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path, "r")
    found = store.add(VERSION, writes(MODEL))
    assert store.is_whole(found)
    path = Path(found.path)
    if harm == "change":
        (path / "data/model.bin").write_text("wrong!!", encoding="utf-8")
    elif harm == "add":
        (path / "extra.py").write_text("", encoding="utf-8")
    else:
        (path / "data/model.bin").unlink()
    assert store.find(VERSION) is None
    assert not store.is_whole(found)
    repaired = store.add(VERSION, writes(MODEL))
    assert Path(repaired.path, "data/model.bin").read_text(encoding="utf-8") == "weights"
    assert store.find(VERSION) == repaired


def test_a_broken_download_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")

    def breaks(directory: Path) -> Path:
        (directory / "half").write_text("x", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.add(VERSION, breaks)
    assert list((tmp_path / "models").iterdir()) == []
    assert store.find(VERSION) is None


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no MLmodel file"):
        Store(tmp_path, "r").add(VERSION, writes({"readme": ""}))


def test_a_link_out_of_the_model_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s", encoding="utf-8")

    def links(directory: Path) -> Path:
        made = writes(MODEL)(directory)
        (made / "data/link").symlink_to(secret)
        return made

    with pytest.raises(ModelLoadError, match="link to outside"):
        Store(tmp_path / "home", "r").add(VERSION, links)


def test_a_directory_given_by_path_is_read_anew_each_time(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    by_path = Resolved(uri="./model", name=None, version=None, source="/somewhere/model")
    first = store.add(by_path, writes(MODEL))
    assert store.find(by_path) is None
    assert store.add(by_path, writes({**MODEL, "data/model.bin": "new"})).digest != first.digest


def test_the_last_resolution_is_kept(tmp_path: Path) -> None:
    Store(tmp_path, "r").remember(VERSION)
    assert Store(tmp_path, "r").last(VERSION.uri) == VERSION
    assert Store(tmp_path, "r").last("models:/b@p") is None
    assert Store(tmp_path, "other").last(VERSION.uri) is None


@pytest.mark.parametrize("kept", ["models", "versions", "resolutions"])
@pytest.mark.parametrize(
    "garbage", [b"", b'{"a": "\xff\xfe"}', b"[" * 100_000, None], ids=["empty", "bytes", "deep", "dir"]
)
def test_what_cannot_be_read_is_as_good_as_nothing(tmp_path: Path, kept: str, garbage: bytes | None) -> None:
    store = Store(tmp_path, "r")
    store.add(VERSION, writes(MODEL))
    store.remember(VERSION)
    (file,) = (tmp_path / kept).glob("*.json")
    if garbage is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(garbage)
    if kept == "resolutions":
        assert store.last(VERSION.uri) is None
    else:
        assert store.find(VERSION) is None


def test_a_copy_that_links_to_elsewhere_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    path = Path(store.add(VERSION, writes(MODEL)).path)
    (path / "more.bin").symlink_to("/etc/hostname")
    assert store.find(VERSION) is None


def test_what_a_killed_process_had_half_fetched_is_swept_and_what_is_being_fetched_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    left = tmp_path / "models" / "incoming-left"
    (left / "model").mkdir(parents=True)
    soon_s = left.stat().st_mtime + 3600.0

    def download(directory: Path) -> Path:
        Store(tmp_path, "r").sweep(soon_s)
        return writes(MODEL)(directory)

    store.sweep(left.stat().st_mtime)
    assert left.exists(), "it may have been made in this moment"
    assert store.find(VERSION) is None
    assert store.add(VERSION, download) == store.find(VERSION)
    assert not left.exists()
    assert not list((tmp_path / "models").glob("incoming-*"))


def test_the_caches_are_private(tmp_path: Path) -> None:
    Store(tmp_path, "r")
    for name in ("models", "versions", "resolutions"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


def test_many_that_bring_the_same_content_at_once_all_find_it_whole(tmp_path: Path) -> None:
    together = threading.Barrier(6)
    told: list[str] = []

    def download(directory: Path) -> Path:
        made = writes(MODEL)(directory)
        together.wait(60)
        return made

    def add(home: Path, number: int) -> str:
        version = Resolved(uri="models:/a@p", name="a", version=str(number), source="models:/m-1")
        stored = Store(home, "r", told.append).add(version, download)
        assert Path(stored.path, "data/model.bin").read_text(encoding="utf-8") == "weights"
        return stored.digest

    with ThreadPoolExecutor(6) as pool:
        for attempt in range(30):
            home = tmp_path / str(attempt)
            digests = set(pool.map(add, [home] * 6, range(6)))
            assert len(digests) == 1
            assert {p.name for p in (home / "models").iterdir()} == {*digests, *(f"{d}.json" for d in digests)}
    assert told == [], "a copy that another has just brought is not a damaged one"


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"name": "\xff"}', b"[]"])
def test_what_is_damaged_counts_as_not_there(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path, "r")
    store.remember(VERSION)
    (kept,) = (tmp_path / "resolutions").iterdir()
    assert store.last(VERSION.uri) == VERSION
    kept.write_bytes(content)
    assert store.last(VERSION.uri) is None


def test_a_home_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"/home/models cannot be made .*Not a directory.*HEADRACE_HOME"):
        Store(tmp_path / "home", "r")


def a_directory(path: Path) -> None:
    path.mkdir()


def full_directory(path: Path) -> None:
    path.mkdir()
    (path / "a").mkdir()
    (path / "a" / "b").write_text("x", encoding="utf-8")
    (path / "a").chmod(0)
    path.chmod(0)


def a_file(path: Path) -> None:
    path.write_text("x", encoding="utf-8")


def unreadable_file(path: Path) -> None:
    path.write_text("x", encoding="utf-8")
    path.chmod(0)


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_out(path: Path) -> None:
    outside = next(folder for folder in path.parents if folder.name == "home").with_name("outside")
    outside.mkdir(exist_ok=True)
    (outside / "kept").write_text("x", encoding="utf-8")
    path.symlink_to(outside)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def nothing(path: Path) -> None:
    assert not path.exists()


DAMAGES = (
    a_directory,
    full_directory,
    a_file,
    unreadable_file,
    link_to_nowhere,
    link_to_itself,
    link_out,
    pipe,
    nothing,
)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("place", ["models/*.json", "models/*[!n]", "models/*/MLmodel", "versions/*", "resolutions/*"])
def test_whatever_stands_in_a_place_of_the_cache_it_is_made_anew(
    tmp_path: Path, place: str, damage: Callable[[Path], None]
) -> None:
    home, told = tmp_path / "home", list[str]()
    store = Store(home, "r", told.append)
    first = store.add(VERSION, writes(MODEL))
    store.remember(VERSION)
    (path,) = home.glob(place)
    remove(path)
    damage(path)
    if place != "resolutions/*":
        assert store.find(VERSION) is None
    else:
        assert store.last(VERSION.uri) is None
    again = store.find(VERSION) or store.add(VERSION, writes(MODEL))
    store.remember(VERSION)
    assert again == first == store.find(VERSION)
    assert store.last(VERSION.uri) == VERSION
    assert Path(again.path, "data/model.bin").read_text(encoding="utf-8") == "weights"
    is_empty = place == "models/*[!n]" and damage is a_directory  # nothing is lost with it
    if damage is not nothing and not is_empty and (place.startswith("models/*") and not place.endswith("json")):
        assert told
    if damage is link_out:
        assert (tmp_path / "outside" / "kept").exists(), "what a link points to is not ours"


def test_a_cache_that_is_removed_while_it_is_used_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "home", "r")
    first = store.add(VERSION, writes(MODEL))
    shutil.rmtree(tmp_path / "home")
    assert store.find(VERSION) is None
    assert store.add(VERSION, writes(MODEL)) == first
    store.remember(VERSION)
    assert store.last(VERSION.uri) == VERSION
