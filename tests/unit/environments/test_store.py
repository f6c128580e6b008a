"""The store of environments: what counts as whole, what is in use, and what may be removed."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.core.environments.environment import Spec
from headrace.core.environments.mismatch import Package
from headrace.core.environments.requirements import Requirements
from headrace.environments.store import Environment, EnvironmentStore, installed_names

# Another process that uses an environment until its input ends.
USES = """
import pathlib, sys
from headrace.environments.store import EnvironmentStore
EnvironmentStore(pathlib.Path(sys.argv[1])).use(sys.argv[2])
print("used", flush=True)
sys.stdin.read()
"""

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def install(store: EnvironmentStore, digest: str, name: str, version: str) -> Path:
    """Put into an environment what says that this is installed."""
    folder = store.path(digest) / "lib/python3.12/site-packages" / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return folder


def whole(store: EnvironmentStore, digest: str, size_bytes: int = 1000) -> Environment:
    """An environment that is complete, and as small as can be."""
    python = store.path(digest) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    install(store, digest, "six", "1.0")
    environment = Environment(
        digest=digest, spec=Spec(python="3.12", requirements=Requirements()), python="3.12.1", interpreter="python",
        markers={}, packages={"six": Package("1.0")}, built_s=0.0, took_s=0.0, size_bytes=size_bytes,
        installed_names=installed_names(store.path(digest)),
    )  # fmt: skip
    store.complete(environment)
    return environment


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"digest": 1}', b'{"digest": "\xff"}', b'{"digest": "aaa', b"\x00" * 500]
)
def test_a_marker_that_says_nothing_counts_as_none(store: EnvironmentStore, content: bytes) -> None:
    whole(store, A)
    whole(store, B)
    (store.path(A) / "headrace.json").write_bytes(content)
    assert store.find(A) is None
    assert [e.digest for e in store.all()] == [B]
    assert store.unfinished() == [A]
    with store.building(A) as path:
        assert not path.exists()


def test_what_somebody_has_changed_is_told_as_it_is(store: EnvironmentStore) -> None:
    environment = whole(store, A)
    assert store.find(A) == environment
    six = store.path(A) / "lib/python3.12/site-packages/six-1.0.dist-info"
    six.rename(store.root / "away")
    install(store, A, "six", "1.1")
    install(store, A, "Other_Package", "2.0")
    found = store.find(A)
    assert found is not None
    assert found.changed
    assert found.packages == {"six": Package("1.1"), "other-package": Package("2.0")}


@pytest.fixture
def used_elsewhere(tmp_path: Path) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Has another process use an environment; gives what ends that process."""
    users = []

    def use(digest: str) -> Callable[[], None]:
        command = [sys.executable, "-c", USES, str(tmp_path), digest]
        user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        users.append(user)
        assert user.stdout is not None
        assert user.stdout.readline() == b"used\n"

        def end() -> None:
            user.kill()
            user.wait()

        return end

    yield use
    for user in users:
        with user:
            user.kill()


def used_ago(store: EnvironmentStore, digest: str, seconds: float) -> None:
    """Have it look as if it was last used so long ago."""
    path = store.root / f"{digest}.use"
    path.touch()
    then_s = path.stat().st_mtime - seconds
    os.utime(path, (then_s, then_s))


def test_what_was_used_as_often_as_released_may_be_removed(store: EnvironmentStore) -> None:
    whole(store, A)
    other = EnvironmentStore(store.root.parent)
    store.use(A)
    store.use(A)
    store.release(A)
    assert store.in_use(A)
    assert not store.remove(A)
    assert not other.remove(A)
    used_ago(store, A, 9000)
    store.release(A)
    assert not store.in_use(A)
    assert store.used_s(A) > (store.path(A) / "headrace.json").stat().st_mtime - 1, "its last use has just ended"
    assert other.remove(A)
    assert store.all() == []


def test_pruning_by_age_spares_what_a_process_uses_however_long_it_has(
    store: EnvironmentStore, used_elsewhere: Callable[[str], Callable[[], None]]
) -> None:
    whole(store, A)
    end = used_elsewhere(A)
    used_ago(store, A, 9000)
    for dry_run in (True, False):
        assert store.prune(max_age_s=800, max_bytes=None, dry_run=dry_run) == []
    end()
    for dry_run in (True, False):
        assert [e.digest for e in store.prune(max_age_s=800, max_bytes=None, dry_run=dry_run)] == [A]
    assert not store.path(A).exists()


def test_what_is_in_use_counts_first_when_there_is_too_much(
    store: EnvironmentStore, used_elsewhere: Callable[[str], Callable[[], None]]
) -> None:
    for digest, ago_s in ((A, 900), (B, 600), (C, 300)):
        whole(store, digest)
        used_ago(store, digest, ago_s)
    used_elsewhere(A)
    used_ago(store, A, 900)
    assert [e.digest for e in store.all()] == [A, C, B]
    for dry_run in (True, False):
        assert [e.digest for e in store.prune(max_age_s=None, max_bytes=2000, dry_run=dry_run)] == [B]
    for dry_run in (True, False):
        assert [e.digest for e in store.prune(max_age_s=None, max_bytes=0, dry_run=dry_run)] == [C]
    assert [e.digest for e in store.all()] == [A]


@pytest.mark.parametrize("damage", ["file", "dangling link", "link", "directory", "lock"])
def test_whatever_stands_in_the_place_of_an_environment_it_can_be_built(tmp_path: Path, damage: str) -> None:
    store = EnvironmentStore(tmp_path / "home")
    store.root.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x", encoding="utf-8")
    path = store.path(A)
    if damage == "file":
        path.write_text("x", encoding="utf-8")
    elif damage == "dangling link":
        path.symlink_to("/nowhere/at/all")
    elif damage == "link":
        path.symlink_to(outside)
    elif damage == "directory":
        (path / "bin" / "python").mkdir(parents=True)
    else:
        for kind in ("lock", "use"):
            (store.root / f"{A}.{kind}").mkdir()
    with store.building(A) as place:
        assert not os.path.lexists(place)
        store.complete(whole(store, A))
    store.use(A)
    assert store.find(A) is not None
    assert (outside / "kept").exists()
